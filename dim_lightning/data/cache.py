"""Pictures decoded once, to arrays that are mapped into memory from then on."""

import hashlib
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dim_lightning.data.copies import Copies
from dim_lightning.data.decoding import MAX_UNREADABLE, Unreadable, decoded, say_passed_by
from dim_lightning.data.disk import check_space, folder_when_done, lasting_file, locked
from dim_lightning.data.progress import progress
from dim_lightning.data.sources.checked import read_parts
from dim_lightning.data.sources.listing import CACHE_TAG
from dim_lightning.data.sources.source import Found, Part
from dim_lightning.errors import InputError
from dim_lightning.writing import explained

FORMAT = 2  # to be raised whenever the same pictures would be stored in another way
SETTING = "data.cache_dir"
META = "meta.json"


class Cached(NamedTuple):
    """A decoded data set on the disk.

    Attributes:
        folder: holds for each part <part>.npy, uint8 [n, size, size, 3], <part>_labels.npy, int64
            [n], and <part>_names.json, the files' paths if they were files.
        parts: number of pictures of each part; "train", and "test" if the data set has one.
        class_names: name of each class, None where unlabelled.
        origin: where it was found, for people to read.
        contents: hash of the pictures, if the source gives one.
        labels: those of each part, int64 [n], if the source gives them apart from the pictures.
    """

    folder: Path
    parts: dict[str, int]
    class_names: list[str] | None
    origin: str
    contents: str | None = None
    labels: dict[str, np.ndarray] | None = None

    def labels_of(self, part: str) -> np.ndarray:
        """The labels of a part, int64 [n], -1 where there is none."""
        if self.labels is not None:
            return self.labels[part]
        return np.load(self.folder / f"{part}_labels.npy")


def cached(
    found: Found, size: int, cache_dir: Path, max_unreadable: float = MAX_UNREADABLE
) -> Cached:
    """The data set decoded to `size` x `size`, at once if that was done before.

    The folder's name says what it was made from and how. A change in the source, in the size or in
    the format gives another name, so that what is found is right. Several processes may ask at
    once: one decodes, the others wait for it. It decodes beside and renames, so a process that is
    stopped leaves no half of a cache; what was cut short by a full disk is found out by its size.

    Args:
        found: the data set.
        size: height and width in pixels.
        cache_dir: folder of all caches.
        max_unreadable: share of the pictures, in [0, 1), at which too many are unreadable.

    Raises:
        InputError: too many pictures are unreadable, or `cache_dir` cannot be written.
    """
    folder = cache_dir / f"{found.name}-{size}px-{_key(found, size)}"
    ready = _open(folder)  # without the lock: works in a read-only folder too
    if ready:
        return _of(ready, found)
    make_cache_dir(cache_dir)
    with locked(cache_dir / f".{folder.name}.lock", SETTING):
        ready = _open(folder)  # another process may have come first
        if ready is None:
            _build(found, size, folder, max_unreadable)
            ready = _open(folder)
    if ready is None:
        raise InputError(f"{folder} cannot be read back; expected what was just written; remove it")
    return _of(ready, found)


def _of(ready: Cached, found: Found) -> Cached:
    """With what the source says of the pictures now, which the cache does not hold."""
    ready = ready._replace(contents=found.contents)
    if found.labels is None:
        return ready
    parts, labels = read_parts(found), {}
    for name, part in parts.given.items():
        known = dict(zip(part.pictures, part.labels, strict=True))
        names = json.loads((ready.folder / f"{name}_names.json").read_text("utf-8"))
        labels[name] = np.array([known[each] for each in names], np.int64)
    return ready._replace(class_names=parts.class_names, labels=labels)


def _key(found: Found, size: int) -> str:
    """Hash of (FORMAT, size, fingerprint), item by item: of millions of files it is long."""
    digest = hashlib.sha256(f"({FORMAT}, {size}, [".encode())
    for position, item in enumerate(found.fingerprint):
        digest.update(f"{', ' if position else ''}{item!r}".encode())
    digest.update(b"])")
    return digest.hexdigest()[:12]


def make_cache_dir(cache_dir: Path) -> None:
    """Make the folder and mark it as a cache, so that nobody takes it for a class of pictures."""
    with explained(cache_dir, SETTING):
        if not cache_dir.exists():
            cache_dir.mkdir(parents=True, exist_ok=True)
            signature = "Signature: 8a477f597d28d172789f06886806bc55\n"
            (cache_dir / CACHE_TAG).write_text(signature, "utf-8")


def _open(folder: Path) -> Cached | None:
    """The cache in `folder`; None if there is none, or if it is damaged."""
    try:
        meta = json.loads((folder / META).read_text("utf-8"))
        for part, count in meta["parts"].items():
            images = np.load(folder / f"{part}.npy", mmap_mode="r")  # raises if the file is short
            labels = np.load(folder / f"{part}_labels.npy")
            if not len(images) == len(labels) == count:
                raise ValueError(part)
        return Cached(folder, meta["parts"], meta["class_names"], meta["origin"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError):
        sys.stderr.write(f"{folder} is damaged; decoding the pictures again\n")
        return None


def _build(found: Found, size: int, folder: Path, max_unreadable: float) -> None:
    """Decode the data set into `folder`, which is not there until it is whole."""
    parts = read_parts(found)
    say_passed_by(found)
    given, class_names = parts.given, parts.class_names
    if found.labels is not None:
        given = {name: _unlabelled(part) for name, part in given.items()}
        class_names = None
    total = sum(len(part.labels) for part in given.values())
    listed = folder.absolute().with_name(f"{found.name}-{size}px.unreadable.txt")
    unreadable = Unreadable(total, max_unreadable, found.origin, listed)
    what = f"decoding {found.origin} once to {size}x{size}, into {folder.absolute()}"
    with explained(folder.parent, SETTING):
        check_space(folder.parent, total * size * size * 3, SETTING)
        with folder_when_done(folder) as partial, progress(what, total, unit="pictures") as advance:
            counts, copies = {}, Copies(given)
            for name, part in given.items():
                pixels = decoded(part, range(len(part.labels)), size, unreadable, advance)
                counts[name] = _write(partial, name, part, size, pixels, copies)
            unreadable.say(folder.absolute())
            copies.say(found.origin, size)
            meta = {
                "origin": found.origin,
                "class_names": class_names,
                "parts": counts,
                "unreadable": unreadable.names,
            }
            with lasting_file(partial / META) as file:
                file.write(json.dumps(meta, indent=1).encode())
    if found.contents is None:  # else other content is another data set
        _name_older(folder, found.origin)


def _unlabelled(part: Part) -> Part:
    return part._replace(labels=np.full(len(part.labels), -1, np.int64))


def _write(
    folder: Path,
    name: str,
    part: Part,
    size: int,
    windows: Iterator[list[tuple[int, np.ndarray]]],
    copies: Copies,
) -> int:
    """Write the pictures of one part, of which copies are noted; how many there are.

    Written as a stream and not through a memory map, where a full disk would kill the process.
    """
    kept: list[int] = []
    with lasting_file(folder / f"{name}.npy") as file:
        _header(file, len(part.labels), size)
        for window in windows:
            for position, pixels in window:
                content = np.ascontiguousarray(pixels).reshape(-1).data
                file.write(content)
                copies.add(name, position, content)
                kept.append(position)
        file.seek(0)
        _header(file, len(kept), size)  # as long as the first one: numpy leaves room for the count
    with lasting_file(folder / f"{name}_labels.npy") as file:
        np.save(file, part.labels[kept])
    if part.named:
        with lasting_file(folder / f"{name}_names.json") as file:
            file.write(json.dumps([part.pictures[position] for position in kept]).encode())
    return len(kept)


def _header(file: Any, count: int, size: int) -> None:
    shape = (count, size, size, 3)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _name_older(folder: Path, origin: str) -> None:
    """Tell of caches of the same pictures as they were before: they fill the disk."""
    stem = folder.name.rpartition("-")[0]
    for other in folder.parent.glob(f"{stem}-*/{META}"):
        if other.parent == folder:
            continue
        with suppress(OSError, ValueError):  # being removed, or damaged: nothing to tell
            if json.loads(other.read_text("utf-8"))["origin"] == origin:
                sys.stderr.write(
                    f"{other.parent} is an older state of {origin}: remove it if unused\n"
                )
