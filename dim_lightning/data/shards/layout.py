"""What lies where in a folder of shards, and what is known of it."""

import json
import re
from typing import Any, NamedTuple

from dim_lightning.data.shards.store import MissingFileError, Store
from dim_lightning.data.splits import Shares
from dim_lightning.errors import InputError

FORMAT = 1  # to be raised whenever the shards could no longer be read by what reads them now
META = "dim_lightning.json"
SPLITS = ("train", "val", "test")
NAME = re.compile(r"[a-z]+-\d+-of-\d+\.parquet")  # no path leads out of the folder


class Shard(NamedTuple):
    """A file of pictures.

    Attributes:
        name: of the file, in the folder of shards.
        rows: how many pictures it holds.
    """

    name: str
    rows: int


class Layout(NamedTuple):
    """A data set in shards.

    Attributes:
        name: of the data set, e.g. "cifar10".
        origin: where it came from, for people to read.
        image_size: height and width of the pictures, in pixels.
        class_names: name of each class, None where unlabelled.
        shares: how the training part of the source was shared out.
        own_test: whether the source had a test part of its own.
        named: whether the pictures were files, so that each has a path.
        shards: the files of each split, in order.
        unreadable: pictures of the source that were left out, and why.
        plan: hash of the pictures and the settings it was made of; of some others it is another.
        contents: hash of the pictures it was made of, wherever they lay.
    """

    name: str
    origin: str
    image_size: int
    class_names: list[str] | None
    shares: Shares
    own_test: bool
    named: bool
    shards: dict[str, list[Shard]]
    unreadable: list[str]
    plan: str
    contents: str

    def to_json(self) -> str:
        """The text of META."""
        content = {**self._asdict(), "format": FORMAT, "shares": self.shares._asdict()}
        content["shards"] = {
            split: {shard.name: shard.rows for shard in shards}
            for split, shards in self.shards.items()
        }
        return json.dumps(content, indent=1)


def shard_name(split: str, number: int, count: int) -> str:
    """The file of one of `count` shards of a split."""
    return f"{split}-{number:05}-of-{count:05}.parquet"


def read_layout(store: Store) -> Layout:
    """What is known of the shards in `store`.

    Raises:
        InputError: there are none, they are unfinished, or of another format.
    """
    made = "`python -m dim_lightning shard` writes"
    try:
        content = json.loads(bytes(store.read(META)))
        if content["format"] == FORMAT:
            return _layout(content)
    except MissingFileError as error:
        raise InputError(
            f"there is no {META} in {store.path}; expected a folder of shards as {made}; "
            "set data.source.init_args.path"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{META} in {store.path} is damaged ({error!r}); expected what {made}; convert anew"
        ) from error
    raise InputError(
        f"the shards in {store.path} have format {content['format']!r}; expected {FORMAT}; "
        "convert anew"
    )


def _layout(content: dict[str, Any]) -> Layout:
    shards = {
        split: [Shard(name, int(rows)) for name, rows in files.items()]
        for split, files in content["shards"].items()
    }
    strange = {s.name for each in shards.values() for s in each if not NAME.fullmatch(s.name)}
    if set(shards) != set(SPLITS) or strange:
        raise ValueError(f"splits {sorted(shards)}, files {sorted(strange)}")
    known = {field: content[field] for field in Layout._fields}
    return Layout(**known | {"shares": Shares(**content["shares"]), "shards": shards})
