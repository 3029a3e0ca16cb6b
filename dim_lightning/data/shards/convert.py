"""From a source of pictures to shards."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from dim_lightning.data.contents import hash_of_parts
from dim_lightning.data.copies import Copies
from dim_lightning.data.decoding import (
    MAX_UNREADABLE,
    Unreadable,
    any_readable,
    decoded,
    say_passed_by,
)
from dim_lightning.data.disk import check_space, lasting_file, locked
from dim_lightning.data.progress import progress
from dim_lightning.data.shards.card import CARD, card
from dim_lightning.data.shards.layout import FORMAT, META, SPLITS, Layout, Shard, shard_name
from dim_lightning.data.sources.checked import read_parts
from dim_lightning.data.sources.listing import as_text
from dim_lightning.data.sources.source import Found, Part, Parts
from dim_lightning.data.splits import Shares, check_labels, check_sizes
from dim_lightning.errors import InputError
from dim_lightning.writing import explained

PLAN = "plan"  # says of what an unfinished conversion is
_DEALING = 2  # another number where rows come to other shards: nothing goes on across that
SETTING = "OUTPUT"
_UNREADABLE = b"dim_lightning.unreadable"
_ADVICE = (
    "set data.max_unreadable higher, with which the same command goes on; with pictures mended or "
    "removed a conversion begins anew"
)


class _Planned(NamedTuple):
    """A shard to be: these rows of a part."""

    split: str
    name: str
    part: Part
    rows: np.ndarray


class _Written(NamedTuple):
    """A shard that is there."""

    rows: int
    unreadable: list[str]


def convert(
    found: Found,
    size: int,
    shares: Shares,
    output: Path,
    shard_bytes: int,
    max_unreadable: float = MAX_UNREADABLE,
) -> Layout:
    """Write a data set to shards; what is known of them.

    Parquet files of decoded pictures, the training images in a random order. They are written
    beside `output`, whole or not at all each, and the folder is renamed when all are there. After
    an interruption the same call goes on; shards that are there are not decoded again, but for
    those of which pictures could not be read that now can. Labels are part of the shards.

    Args:
        found: the data set.
        size: height and width in pixels, to which every picture is brought.
        shares: how its training part is shared out.
        output: the folder to make.
        shard_bytes: size of a file.
        max_unreadable: share of the pictures, in [0, 1), at which too many are unreadable. With a
            higher one, a conversion that has met them goes on.

    Raises:
        InputError: `output` is there or cannot be written, what was begun is of other pictures,
            pictures are unreadable or too few, or a split has no labels where others have some.
    """
    _check_free(output)
    parts = read_parts(found)
    say_passed_by(found)
    made_of = [*found.fingerprint, *(found.labels or ())]
    key = (FORMAT, _DEALING, size, tuple(shares), shard_bytes, made_of)
    plan = hashlib.sha256(repr(key).encode()).hexdigest()
    partial = output.with_name(f"{output.name}.partial")
    with (
        locked(output.with_name(f".{output.name}.lock"), SETTING),
        explained(output.parent, SETTING),
    ):
        _check_free(output)
        _begin(partial, plan)
        layout = _fill(partial, plan, found, parts, size, shares, shard_bytes, max_unreadable)
        _write_text(partial / CARD, card(layout))
        _write_text(partial / META, layout.to_json())
        partial.rename(output)
        (output / PLAN).unlink()  # the last: what lies in a folder without it counts for nothing
    return layout


def _check_free(output: Path) -> None:
    if output.exists() or output.is_symlink():
        raise InputError(
            f"{output} is there already; expected a folder to be made; remove it, or give another "
            f"{SETTING}"
        )


def _begin(partial: Path, plan: str) -> None:
    """The folder to fill, with what an interrupted conversion of the same plan left in it.

    Raises:
        InputError: there are shards of another plan, perhaps of hours.
    """
    partial.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        if (partial / PLAN).read_text("utf-8") == plan:
            return
    there = len(list(partial.glob("*.parquet")))
    if there:
        raise InputError(
            f"{partial.absolute()} holds {there} shard{'s' * (there != 1)} of other pictures, "
            "labels or settings, or of another version; expected those of this conversion, to go "
            "on with; bring the former ones back, or remove that folder to begin anew"
        )
    for path in partial.glob(".*.parquet"):
        path.unlink()
    _write_text(partial / PLAN, plan)


def _fill(
    folder: Path,
    plan: str,
    found: Found,
    parts: Parts,
    size: int,
    shares: Shares,
    shard_bytes: int,
    max_unreadable: float,
) -> Layout:
    per_shard = max(1, shard_bytes // (3 * size**2))
    planned = [shard for split in SPLITS for shard in _planned(split, parts, shares, per_shard)]
    total = sum(len(shard.rows) for shard in planned)
    listed = folder.absolute().with_suffix(".unreadable.txt")
    unreadable = Unreadable(total, max_unreadable, found.origin, listed, _ADVICE)
    copies = Copies({shard.split: shard.part for shard in planned})
    there = {s.name: w for s in planned if (w := _there(folder / s.name, s, size, copies))}
    done = sum(len(shard.rows) for shard in planned if shard.name in there)
    unreadable.add([name for each in there.values() for name in each.unreadable], done)
    check_space(folder, (total - done) * 3 * size**2, SETTING)
    what = f"converting {found.origin} at {size}x{size} to {len(planned)} shards"
    with progress(what, total, unit="pictures", done=done) as advance:
        for shard in planned:
            if shard.name not in there:
                path = folder / shard.name
                there[shard.name] = _write(path, shard, size, unreadable, copies, advance)
    unreadable.say(folder.absolute().with_suffix(""))  # as it will be called
    copies.say(found.origin, size)
    return _layout(plan, found, parts, size, shares, planned, there)


def _planned(split: str, parts: Parts, shares: Shares, per_shard: int) -> Iterator[_Planned]:
    """The shards of a split, equal in size but for one picture.

    Raises:
        InputError: there are too few pictures, or none with a label where others have some.
    """
    own_test = None if parts.test is None else len(parts.test.labels)
    rows = shares.rows(len(parts.train.labels), own_test)[split]
    part = parts.test if split == "test" and parts.test is not None else parts.train
    check_sizes(len(parts.train.labels), {split: len(rows)})
    check_labels(parts.class_names, {split: part.labels[rows]})
    if split == "train":  # so that any shard is a random choice of the images
        rows = np.random.default_rng((shares.split_seed, FORMAT)).permutation(rows)
    count = -(-len(rows) // per_shard)
    for number, some in enumerate(np.array_split(rows, count)):
        yield _Planned(split, shard_name(split, number, count), part, some)


def _write(
    path: Path,
    shard: _Planned,
    size: int,
    unreadable: Unreadable,
    copies: Copies,
    advance: Callable[[int], object],
) -> _Written:
    """Decode the pictures of a shard into a file that is whole or is not there."""
    kept: list[int] = []
    pixels: list[bytes] = []
    before = len(unreadable.names)
    for window in decoded(shard.part, shard.rows.tolist(), size, unreadable, advance):
        kept += [row for row, _ in window]
        pixels += [np.ascontiguousarray(picture).tobytes() for _, picture in window]
    for row, content in zip(kept, pixels, strict=True):
        copies.add(shard.split, row, content)
    table = _table(shard.part, kept, pixels)
    left_out = unreadable.names[before:]
    table = table.replace_schema_metadata({_UNREADABLE: json.dumps(left_out)})
    passing = path.with_name(f".{path.name}")
    with lasting_file(passing) as file:
        # Decoded pictures hardly shrink, repeat in nothing, and have no order.
        parquet.write_table(
            table, file, compression="none", use_dictionary=False, write_statistics=False
        )
    passing.replace(path)
    return _Written(len(kept), left_out)


def _table(part: Part, rows: list[int], pixels: list[bytes]) -> pa.Table:
    """Pictures with all that is known of them."""
    pictures = (part.pictures[row] for row in rows)
    paths = [as_text(each) if isinstance(each, str) else None for each in pictures]
    return pa.table(
        {
            "pixels": pa.array(pixels, pa.binary()),
            "label": pa.array(part.labels[rows], pa.int64()),
            "path": pa.array(paths, pa.string()),
            "row": pa.array(rows, pa.int64()),
        }
    )


def _there(path: Path, shard: _Planned, size: int, copies: Copies) -> _Written | None:
    """What an interrupted conversion has written, None if there is more to write.

    Pictures that could not be read may be readable by now: of a disk that was away.
    """
    try:
        metadata = parquet.read_metadata(path)
    except (OSError, pa.ArrowException):
        return None
    written = _Written(metadata.num_rows, json.loads(metadata.metadata[_UNREADABLE]))
    if written.unreadable:
        kept = parquet.read_table(path, columns=["row"])["row"].to_numpy()
        left_out = np.setdiff1d(shard.rows, kept).tolist()
        if any_readable(shard.part, left_out, size):
            return None
    if copies.named:
        try:
            kept = parquet.read_table(path, columns=["row", "pixels"])
        except (OSError, pa.ArrowException):
            return None
        for row, pixels in zip(kept["row"].to_pylist(), kept["pixels"], strict=True):
            copies.add(shard.split, row, memoryview(pixels.as_buffer()))
    return written


def _layout(
    plan: str,
    found: Found,
    parts: Parts,
    size: int,
    shares: Shares,
    planned: list[_Planned],
    there: dict[str, _Written],
) -> Layout:
    return Layout(
        name=found.name,
        origin=found.origin,
        image_size=size,
        class_names=parts.class_names,
        shares=shares,
        own_test=parts.test is not None,
        named=parts.train.named,
        shards={
            split: [Shard(s.name, there[s.name].rows) for s in planned if s.split == split]
            for split in SPLITS
        },
        unreadable=[name for s in planned for name in there[s.name].unreadable],
        plan=plan,
        contents=found.contents or hash_of_parts(parts),
    )


def _write_text(path: Path, text: str) -> None:
    with lasting_file(path) as file:
        file.write(as_text(text).encode())
