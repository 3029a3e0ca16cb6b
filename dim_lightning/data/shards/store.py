"""Where shards lie: in a folder or in object storage, and copies of some of them on the disk."""

import secrets
import time
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from dim_lightning.data.disk import lasting_file
from dim_lightning.errors import InputError
from dim_lightning.extras import installation
from dim_lightning.writing import explained

SETTING = "data.cache_dir"
WAITS = (0.5, 2.0)  # seconds before another attempt to read from object storage


class MissingFileError(InputError):
    """A file of the folder of shards is not there."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path} is not there; expected all files of the folder of shards; copy it whole, or "
            "convert anew"
        )


class Store:
    """The files of a folder, read whole.

    Attributes:
        path: the folder, or its URL.
        is_remote: whether it is read through fsspec.
    """

    def __init__(self, path: str, options: Mapping[str, Any] | None = None) -> None:
        """Say where.

        Args:
            path: a folder, or any URL that fsspec knows (s3://, gs://, https://, hf://, ...).
            options: what fsspec is told about it, e.g. {"endpoint_url": ...} or {"anon": True}.
        """
        path = path.removeprefix("file://")
        self.is_remote = "://" in path or "::" in path
        self.path = path.rstrip("/") if self.is_remote else str(Path(path).expanduser().absolute())
        self._options = dict(options or {})
        self._kept: frozenset[str] = frozenset()
        self._copies = Path()

    def keep(self, names: Collection[str], folder: Path) -> None:
        """Have copies of these files made in `folder`, each when it is first read."""
        self._kept, self._copies = frozenset(names), folder

    def read(self, name: str) -> pa.Buffer:
        """The bytes of a file; of one on the disk mapped into memory and not read.

        Raises:
            MissingFileError: it is not there.
            InputError: it cannot be read, or a copy cannot be written.
        """
        if not self.is_remote:
            return _mapped(Path(self.path) / name)
        if name not in self._kept:
            return pa.py_buffer(self._fetch(name))
        copy = self._copies / name
        if not copy.is_file():
            self._copy(name, copy)
        return _mapped(copy)

    def renew(self, name: str) -> bool:
        """Have the copy of a file fetched anew; False of a file that is not copied.

        Raises:
            InputError: as in `read`.
        """
        if not (self.is_remote and name in self._kept):
            return False
        self._copy(name, self._copies / name)
        return True

    @cached_property
    def _system(self) -> tuple[Any, str]:
        """The file system of fsspec, and the folder in it."""
        import fsspec

        try:
            system, root = fsspec.core.url_to_fs(self.path, **self._options)
        except (ImportError, ValueError) as error:
            raise InputError(
                f"{self.path} cannot be opened ({error}); expected a folder or a URL whose library "
                f"is there; install the common ones with {installation('stream')}, or "
                "set data.source.init_args.path"
            ) from error
        return system, root.rstrip("/")

    def __getstate__(self) -> dict[str, Any]:
        """Without the file system: its connections belong to this process."""
        return {name: value for name, value in vars(self).items() if name != "_system"}

    def _fetch(self, name: str) -> bytes:
        """The bytes of a file in object storage, asked for again where the network fails."""
        system, root = self._system
        for wait in (*WAITS, None):
            try:
                return system.cat_file(f"{root}/{name}")
            except FileNotFoundError as error:
                raise MissingFileError(f"{self.path}/{name}") from error
            except Exception as error:  # each kind of storage has errors of its own
                if wait is None:
                    raise InputError(
                        f"{self.path}/{name} cannot be read ({error!r}); expected storage that "
                        "can be reached and read; see to the network, the address and the "
                        "credentials"
                    ) from error
                time.sleep(wait)
        raise AssertionError

    def _copy(self, name: str, path: Path) -> None:
        content = self._fetch(name)
        with explained(path.parent, SETTING):
            path.parent.mkdir(parents=True, exist_ok=True)
            # Of this process alone, and with the rights of any new file: caches are shared.
            passing = path.with_name(f".{name}.{secrets.token_hex(4)}")
            try:
                with lasting_file(passing) as file:
                    file.write(content)
                passing.replace(path)
            finally:
                passing.unlink(missing_ok=True)


def _mapped(path: Path) -> pa.Buffer:
    try:
        with pa.memory_map(str(path)) as file:
            return file.read_buffer()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingFileError(str(path)) from error
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error}); expected a readable file; see to the disk"
        ) from error
