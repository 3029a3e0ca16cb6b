"""Where shards lie: in a folder or in object storage, and copies of some of them on the disk."""

import errno
import sys
from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

import pyarrow as pa

from dim_lightning.errors import InputError, printable
from dim_lightning.extras import installation
from dim_lightning.writing import disk_error, write_atomically

SETTING = "data.cache_dir"
# seconds before another attempt to read from object storage, which outlast a short outage
WAITS = (0.5, 2.0, 8.0, 30.0)
_LONG = 5  # seconds: longer waits are told
_FULL = (errno.ENOSPC, errno.EDQUOT)
T = TypeVar("T")


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
        self._is_full = False  # the disk of the copies
        self._ended = Event()

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
        copy = self._copies / name
        if name in self._kept and copy.is_file():
            return _mapped(copy)
        if name not in self._kept or self._is_full:
            return pa.py_buffer(self._fetch(name))
        return self._copied(name)

    def part(self, name: str, read: Callable[[Any], T]) -> T:
        """What `read` makes of a file; of one that is not copied no more is fetched than it reads.

        Args:
            name: of the file.
            read: is given the file, open.

        Raises:
            InputError: as in `read`.
        """
        if self.is_remote and (name not in self._kept or self._is_full):
            system, root = self._system
            try:
                with system.open(f"{root}/{name}") as file:
                    return read(file)
            except Exception:  # of a server that serves whole files, or of any kind
                pass  # what is wrong is found out with the whole file
        return read(pa.BufferReader(self.read(name)))

    def renew(self, name: str) -> bool:
        """Have the copy of a file fetched anew; False of a file that is not copied.

        Raises:
            InputError: as in `read`.
        """
        if not (self.is_remote and name in self._kept):
            return False
        (self._copies / name).unlink(missing_ok=True)  # where the disk is full there will be none
        self._copied(name)
        return True

    def end_waits(self) -> None:
        """Ends the waiting for storage that fails: nobody waits for what is read by now."""
        self._ended.set()

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
        """Without the file system and the event: both belong to this process."""
        own = ("_system", "_ended")
        return {name: value for name, value in vars(self).items() if name not in own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._ended = Event()

    def _fetch(self, name: str) -> bytes:
        """The bytes of a file in object storage, asked for again where the network fails."""
        system, root = self._system
        self._ended.clear()
        for wait in (*WAITS, None):
            try:
                return system.cat_file(f"{root}/{name}")
            except FileNotFoundError as error:
                raise MissingFileError(f"{self.path}/{name}") from error
            except Exception as error:  # each kind of storage has errors of its own
                said = f"{self.path}/{name} cannot be read ({error!r})"
                if wait is not None and wait > _LONG:
                    sys.stderr.write(f"{printable(said)}; trying again in {wait:g} s\n")
                is_final = wait is None or isinstance(error, PermissionError)
                if is_final or self._ended.wait(wait):
                    raise InputError(
                        f"{said}; expected storage that can be reached and read; see to the "
                        "network, the address and the credentials"
                    ) from error
        raise AssertionError

    def _copied(self, name: str) -> pa.Buffer:
        """The bytes of a file, which are copied; where the disk is full, no more copies are made.

        Raises:
            InputError: as in `read`.
        """
        content, path = self._fetch(name), self._copies / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content)
        except OSError as error:
            if error.errno not in _FULL:
                raise disk_error(error, path.parent, SETTING) from error
            self._is_full = True
            why = printable(f"{path.parent} has no space for more copies of {self.path}")
            sys.stderr.write(
                f"{why}, which is read from there; free some, or lower "
                "data.source.init_args.keep_mb\n"
            )
            return pa.py_buffer(content)
        return _mapped(path)


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
