"""A data set in shards, in place of a source of pictures."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dim_lightning.data.cache import make_cache_dir
from dim_lightning.data.contents import Contents, hash_of
from dim_lightning.data.shards.layout import META, SPLITS, Layout, read_layout
from dim_lightning.data.shards.split import ShardedSplit
from dim_lightning.data.shards.store import Store
from dim_lightning.data.splits import Shares, Splits, check_sizes
from dim_lightning.errors import InputError, check_least

_MB = 2**20
# in the name of an option of fsspec's
_SECRET = re.compile(
    r"(^|_)(key|secret|token|password|passwd|credentials?)$|authorization|connection_string",
    re.IGNORECASE,
)
_NO_SECRETS = ("anon", "cloud", "google_default", "browser")  # tokens that gcsfs knows


class Stream:
    """Pictures that `python -m dim_lightning shard` has put into shards, read as they are needed.

    In a local folder or in object storage. The splits are those made when the shards were. Each
    process has its own shards; training goes through them in an order drawn from the seed and the
    epoch, reads ahead, and holds a bounded number of them in memory.
    """

    def __init__(
        self,
        path: str,
        window_mb: int = 256,
        keep_mb: int = 2000,
        storage_options: dict[str, Any] | None = None,
    ) -> None:
        """Say where the shards lie.

        Args:
            path: the folder, or its URL: s3://, gs://, https://, hf:// and whatever else fsspec
                knows.
            window_mb: pixels that are mixed with one another in training, in each process. Twice
                as many are held in memory. The order of training depends on it.
            keep_mb: of shards in object storage, so many are copied to data.cache_dir when they are
                first read: validation and test first, then training. The rest is read anew in each
                epoch.
            storage_options: what fsspec is told, e.g. {"anon": true}; a run's config.yaml has it,
                so credentials belong into the environment.

        Raises:
            InputError: a number is out of its range, or there are credentials in URL or options.
        """
        _check_no_credentials(path, storage_options or {})
        check_least("data.source.init_args.window_mb", window_mb, 1)
        check_least("data.source.init_args.keep_mb", keep_mb, 0)
        self.path = path
        self.window_mb = window_mb
        self.keep_mb = keep_mb
        self.storage_options = storage_options

    def splits(self, image_size: int, shares: Shares, cache_dir: Path) -> Splits:
        """The splits, of which nothing but their description is read.

        Args:
            image_size: height and width in pixels that are asked for.
            shares: the sharing out of the training part that is asked for.
            cache_dir: folder of copies of what lies in object storage.

        Raises:
            InputError: there are no shards, or they were made with other settings.
        """
        store = Store(self.path, self.storage_options)
        layout = read_layout(store)
        _check(layout, image_size, shares, store.path)
        sizes = {name: sum(shard.rows for shard in layout.shards[name]) for name in SPLITS}
        check_sizes(sum(sizes.values()), sizes)
        if store.is_remote and self.keep_mb:
            make_cache_dir(cache_dir)
            store.keep(frozenset(self._kept(layout)), cache_dir / _copies(store, layout))
        return Splits(
            **{name: self._joined(store, layout, [name]) for name in SPLITS},
            own_test=layout.own_test,
            joined=partial(self._joined, store, layout),
            class_names=layout.class_names,
            origin=store.path,
            contents=partial(_contents, layout, sizes),
        )

    def _joined(self, store: Store, layout: Layout, names: Sequence[str]) -> ShardedSplit:
        shards = [shard for name in names for shard in layout.shards[name]]
        return ShardedSplit(store, layout, shards, self.window_mb * _MB)

    def _kept(self, layout: Layout) -> Iterator[str]:
        """Names of the shards of which there is room for a copy."""
        room = self.keep_mb * _MB
        for shard in (shard for name in ("val", "test", "train") for shard in layout.shards[name]):
            room -= shard.rows * 3 * layout.image_size**2
            if room < 0:
                return
            yield shard.name


def _check_no_credentials(path: str, options: Mapping[str, Any]) -> None:
    """Refuses what would stand in files and on pages that people show to others.

    Raises:
        InputError: there is a password in the URL, or an option that holds a secret by its name.
    """
    url = urlsplit(path)
    is_secret = url.password or (url.username and url.scheme in ("http", "https"))
    found = ["path"] if is_secret else list(_secrets(options, "storage_options"))
    if found:
        raise InputError(
            f"data.source.init_args.{found[0]} holds credentials, which config.yaml, the page and "
            "loggers would show; expected them in the environment, in the variables that the "
            "storage's library reads, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "HF_TOKEN; a run that has them goes on with other storage_options"
        )


def _secrets(options: Mapping[str, Any], name: str) -> Iterator[str]:
    """Names of the options that hold one, and do not only say where it is."""
    for key, value in options.items():
        if isinstance(value, Mapping):
            yield from _secrets(value, f"{name}.{key}")
        elif isinstance(value, str) and _SECRET.search(str(key)) and not _is_harmless(value):
            yield f"{name}.{key}"


def _is_harmless(token: str) -> bool:
    """Whether it only says where a secret is."""
    return token in _NO_SECRETS or os.path.isfile(token)  # noqa: PTH113  # it may be too long


def _contents(layout: Layout, sizes: dict[str, int]) -> Contents:
    """Known by the pictures and, as an epoch's order depends on them, the sizes of the shards.

    The plan would differ where the same were made in another place.
    """
    shards = (shard for name in SPLITS for shard in layout.shards[name])
    return Contents(sizes, hash_of([layout.contents, *(f"{s.name} {s.rows}" for s in shards)]))


def _copies(store: Store, layout: Layout) -> str:
    """The folder of copies of these very shards."""
    key = hashlib.sha256((store.path + layout.to_json()).encode()).hexdigest()[:12]
    name = re.sub(r"[^\w.-]", "_", str(layout.name))  # whoever made the shards has chosen it
    return f"{name}-{layout.image_size}px-shards-{key}"


def _check(layout: Layout, image_size: int, shares: Shares, path: str) -> None:
    """Look at whether the shards are what is asked for.

    Raises:
        InputError: a setting differs.
    """
    made, asked = layout.shares._asdict(), shares._asdict()
    if layout.own_test:
        made.pop("test_fraction")  # nothing was set aside
    for name, value in {"image_size": layout.image_size, **made}.items():
        wanted = {"image_size": image_size, **asked}[name]
        if value != wanted:
            raise InputError(
                f"the shards in {path} were made with data.{name} {value} ({META}), and data."
                f"{name} is {wanted}; expected the same; set data.{name} to {value}, or convert "
                "anew"
            )
