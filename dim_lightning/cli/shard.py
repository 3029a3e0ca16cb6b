"""`shard`: the pictures of a source as shards, for data beyond memory."""

import inspect
import shlex
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ActionConfigFile

from dim_lightning.cli.ending import StoppedError
from dim_lightning.cli.overview import PROGRAM
from dim_lightning.cli.parser import MODE, Parser, check_files
from dim_lightning.cli.words import config_files
from dim_lightning.data import Source
from dim_lightning.data.checks import check_fraction
from dim_lightning.data.datamodule import DEFAULT_SOURCE
from dim_lightning.data.decoding import MAX_UNREADABLE
from dim_lightning.data.shards import convert
from dim_lightning.data.shards.layout import Layout
from dim_lightning.data.splits import Shares
from dim_lightning.errors import InputError, check_least
from dim_lightning.run.environment import full_command
from dim_lightning.run.settings import read_yaml

_MB = 2**20
_MOST_MB = 1024  # a file is read whole, and a column of Parquet ends at twice that
_DESCRIPTION = (
    "Writes the pictures of any source to shards (Parquet files), to be streamed with "
    "--data.source Stream --data.source.path OUTPUT. Interrupted, it goes on with the same command."
)


class _Pictures:
    """The settings of a config's `data` on which shards depend."""

    def __init__(
        self,
        source: Source = DEFAULT_SOURCE,
        root: str = "data",
        image_size: int = 32,
        validation_fraction: float = 0.1,
        test_fraction: float = 0.2,
        split_seed: int = 0,
        max_unreadable: float = MAX_UNREADABLE,
    ) -> None:
        """Choose the pictures.

        Args:
            source: the data set, e.g. CIFAR10, TinyImageNet, PictureFolder.
            root: folder in which data sets are looked for, and into which they are downloaded.
            image_size: height and width in pixels, to which every picture is brought.
            validation_fraction: share of the training images that validation takes.
            test_fraction: share set aside for testing where the source has no test part.
            split_seed: chooses these shares.
            max_unreadable: share of the pictures, in [0, 1), at which conversion ends with an
                error, as too many cannot be read; fewer are left out.

        Raises:
            InputError: a number is out of its range.
        """
        check_least("data.image_size", image_size, 1, "a size in pixels")
        check_fraction("validation_fraction", validation_fraction)
        check_fraction("test_fraction", test_fraction)
        check_fraction("max_unreadable", max_unreadable, zero=True)
        check_least("data.split_seed", split_seed, 0, "a seed")
        self.source = source
        self.root = Path(root).expanduser()
        self.image_size = image_size
        self.shares = Shares(validation_fraction, test_fraction, split_seed)
        self.max_unreadable = max_unreadable


def shard(arguments: list[str]) -> int:
    """Converts and says how the shards are used.

    Raises:
        InputError: see `convert`.
        StoppedError: somebody stopped it.
    """
    parser = _parser()
    config = parser.parse_args(_with_pictures_alone(arguments))
    if not 0 < config.shard_mb <= _MOST_MB:
        raise InputError(
            f"--shard_mb is {config.shard_mb}; expected more than 0 and at most {_MOST_MB}"
        )
    data, output = parser.instantiate_classes(config).data, Path(config.OUTPUT)
    found, shard_bytes = data.source.find(data.root), int(config.shard_mb * _MB)
    try:
        layout = convert(
            found, data.image_size, data.shares, output, shard_bytes, data.max_unreadable
        )
    except KeyboardInterrupt as stop:
        raise StoppedError(stop, full_command(["shard", *arguments])) from stop
    print(_closing(layout, output))  # noqa: T201
    return 0


def _parser() -> Parser:
    mode: dict[str, Any] = dict(MODE)
    parser = Parser(prog=f"{PROGRAM} shard", description=_DESCRIPTION, **mode)
    parser.add_argument("--config", action=ActionConfigFile, help="a run's configuration")
    parser.add_argument("OUTPUT", type=str, help="the folder to make")
    parser.add_argument("--shard_mb", type=float, default=32.0, help="pixels of a file")
    parser.add_class_arguments(_Pictures, "data")
    return parser


def _with_pictures_alone(words: list[str]) -> list[str]:
    """The command line, each --config FILE replaced by what its `data` says of the pictures."""
    check_files(words, ("data",))
    known = inspect.signature(_Pictures).parameters
    result = list(words)
    for place, path in config_files(words).items():
        data: dict[str, Any] = read_yaml(path).get("data") or {}
        text = yaml.safe_dump({"data": {key: data[key] for key in data if key in known}})
        option = "--config=" if words[place].startswith("--config=") else ""
        result[place] = option + text
    return result


def _closing(layout: Layout, output: Path) -> str:
    """What was written, and how to use it."""
    counts = ", ".join(
        f"{sum(shard.rows for shard in shards):,} {split} images in {len(shards)} "
        f"file{'s' * (len(shards) != 1)}"
        for split, shards in layout.shards.items()
    )
    use = f"--data.source Stream --data.source.path {shlex.quote(str(output))}"
    return f"{output}: {counts}\n\nto train on them, add  {use}"
