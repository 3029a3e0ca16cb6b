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
from dim_lightning.cli.words import as_path, config_files
from dim_lightning.data import ImageDataModule, Stream
from dim_lightning.data.shards import convert
from dim_lightning.data.shards.layout import Layout
from dim_lightning.errors import InputError
from dim_lightning.run.environment import full_command
from dim_lightning.run.settings import read_yaml

_MB = 2**20
_MOST_MB = 1024  # a file is read whole, and a column of Parquet ends at twice that
_SETTINGS = (  # those of `data` on which shards depend
    "source",
    "root",
    "image_size",
    "validation_fraction",
    "test_fraction",
    "split_seed",
    "max_unreadable",
)
_DESCRIPTION = (
    "Writes the pictures of any source to shards (Parquet files), to be streamed with "
    "--data.source Stream --data.source.path OUTPUT. Interrupted, it goes on with the same command."
)


def shard(arguments: list[str]) -> int:
    """Converts and says how the shards are used.

    Raises:
        InputError: a setting is out of its range, the source is a Stream, or see `convert`.
        StoppedError: somebody stopped it.
    """
    parser = _parser()
    config = parser.parse_args(_with_pictures_alone(arguments))
    if not 0 < config.shard_mb <= _MOST_MB:
        raise InputError(
            f"--shard_mb is {config.shard_mb}; expected more than 0 and at most {_MOST_MB}"
        )
    data, output = parser.instantiate(config).data, as_path(config.OUTPUT)
    if isinstance(data.source, Stream):
        raise InputError(
            "data.source is a Stream, which reads shards; expected a source of pictures, such as "
            "PictureFolder; set data.source"
        )
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
    parser.add_argument("--shard_mb", type=float, default=32.0, help="MB of pixels in a file")
    known = inspect.signature(ImageDataModule).parameters
    others: set[str | int] = {name for name in known if name not in _SETTINGS}
    parser.add_class_arguments(ImageDataModule, "data", skip=others)
    return parser


def _with_pictures_alone(words: list[str]) -> list[str]:
    """The command line, each --config FILE replaced by what its `data` says of the pictures."""
    check_files(words, ("data",))
    result = list(words)
    for place, path in config_files(words).items():
        data: dict[str, Any] = read_yaml(path).get("data") or {}
        text = yaml.safe_dump({"data": {key: data[key] for key in _SETTINGS if key in data}})
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
