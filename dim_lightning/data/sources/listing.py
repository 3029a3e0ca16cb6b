"""Which pictures lie in a folder."""

import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from dim_lightning.data.sources.source import Part
from dim_lightning.errors import InputError

SUFFIXES = (
    *(".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png"),
    *(".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"),
)
# Marks a folder as a cache (https://bford.info/cachedir): ours may lie among somebody's pictures.
CACHE_TAG = "CACHEDIR.TAG"
# What is in the folder of a cache, of a run or of a comparison, whose drawings are no data either
_OURS = ((CACHE_TAG,), ("config.yaml", "environment.json"), ("comparison.csv", "comparison.png"))
SHOWN = 5  # names in a message
# Folders of these beginnings hold no pictures of anybody's: hidden ones, macOS's in archives, and
# the thumbnails that a Synology disk station lays beside pictures.
_OTHERS_OWN = (".", "__MACOSX", "@eaDir")


def is_picture(name: str) -> bool:
    """Whether a file of this name is a picture, by its suffix; hidden files are not."""
    return not name.startswith(".") and name.lower().endswith(SUFFIXES)


def subfolders(folder: Path) -> list[Path]:
    """The folders in `folder` by name, without hidden ones, caches and runs."""
    with _scanned(folder) as entries:
        found = [
            Path(entry.path)
            for entry in entries
            if not entry.name.startswith(_OTHERS_OWN) and _is_folder(entry)
        ]
    return sorted(path for path in found if not _is_ours(path))


def _is_ours(folder: Path) -> bool:
    return any(all((folder / name).exists() for name in names) for names in _OURS)


def _keeps_ours(folder: Path) -> bool:
    """Whether it is where caches or runs lie, such as data/ and runs/; a table's are deep down."""
    return any(_is_ours(path.parent) for name, *_ in _OURS for path in folder.rglob(name))


@contextmanager
def _scanned(folder: Path) -> Iterator[Iterator["os.DirEntry[str]"]]:
    """What lies in a folder, as the system has it, which knows files from folders without a look.

    Raises:
        InputError: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            yield entries
    except OSError as error:
        raise InputError(
            f"{folder} cannot be read ({error.strerror}); expected folders of pictures that are "
            "readable; make it so, or choose a folder of pictures without it"
        ) from error


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    # Of a link to itself an entry raises an error, a Path does not.
    return Path(entry.path).is_dir() if entry.is_symlink() else entry.is_dir()


def pictures_in(folder: Path) -> list[str]:
    """Paths of the pictures that lie directly in `folder`, by name."""
    with _scanned(folder) as entries:
        found = [e.path for e in entries if is_picture(e.name) and not _is_folder(e)]
    return sorted(found)


def pictures_below(folder: Path) -> list[str]:
    """Paths of the pictures in `folder` and all folders below it, in a fixed order."""
    return [path for each in _folders(folder) for path in pictures_in(each)]


def _folders(folder: Path) -> Iterator[Path]:
    """The folder and all below it, links too, each once: links may lead upwards, or to one place.

    Those that are no links come first, so that a link to one of them changes nothing.
    """
    seen: set[str] = set()
    links: deque[tuple[Path, tuple[str, ...]]] = deque([(folder, ())])
    while links:
        yield from _walk(*links.popleft(), seen, links)


def _walk(
    folder: Path,
    above: tuple[str, ...],
    seen: set[str],
    links: deque[tuple[Path, tuple[str, ...]]],
) -> Iterator[Path]:
    """The folder and all below it, but for links, which are put aside.

    Args:
        folder: the first one.
        above: real paths of those in which it lies.
        seen: real paths of those that came before.
        links: where links go, with the real paths of the folders in which they lie.
    """
    real = os.path.realpath(folder)
    if real in seen or any(Path(each).is_relative_to(real) for each in above):
        return
    seen.add(real)
    yield folder
    for below in subfolders(folder):
        if below.is_symlink():
            links.append((below, (*above, real)))
        else:
            yield from _walk(below, (*above, real), seen, links)


def others_below(folder: Path) -> str:
    """How many files in `folder` and below are no pictures, by their suffix; "" if none."""
    counts = Counter(Path(name).suffix.lower() for name in _others(folder))
    ordered = counts.most_common()
    return first_few([f"{count:,} {suffix or 'without a suffix'}" for suffix, count in ordered])


def _others(folder: Path) -> Iterator[str]:
    """Names of the files that `pictures_below` passes by; hidden ones are nobody's pictures."""
    for each in _folders(folder):
        with _scanned(each) as entries:
            files = [entry.name for entry in entries if not _is_folder(entry)]
        yield from (name for name in files if not (name.startswith(".") or is_picture(name)))


def class_part(classes: dict[str, list[str]], names: list[str]) -> Part:
    """The pictures of each class, in the order of `names`, which gives the labels."""
    counts = [len(classes.get(name, [])) for name in names]
    paths = [path for name in names for path in classes.get(name, [])]
    return Part(paths, np.repeat(np.arange(len(names), dtype=np.int64), counts))


def class_folders(folders: list[Path], otherwise: str = "") -> dict[str, list[str]]:
    """The pictures of each class folder, by the folder's name.

    Args:
        folders: of the classes.
        otherwise: what else than to fill or remove empty ones is to be done, for the message.

    Raises:
        InputError: a class folder without pictures.
    """
    found = {folder: pictures_below(folder) for folder in folders}
    # whoever works in the folder of the pictures has caches and runs beside the classes
    classes = {f.name: paths for f, paths in found.items() if paths or not _keeps_ours(f)}
    empty = [name for name, paths in classes.items() if not paths]
    if empty:
        raise InputError(
            f"no pictures in {len(empty)} of the {len(classes)} class folders of "
            f"{folders[0].parent}: {first_few(empty)}; expected picture files in each; "
            f"fill or remove the empty ones{otherwise}"
        )
    return classes


def first_few(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def as_text(path: str) -> str:
    r"""The path, bytes of it that are no UTF-8 spelt out (\udcff), so that it can be written."""
    return path.encode("utf-8", "backslashreplace").decode()


def stamps(paths: Iterable[str]) -> Iterator[tuple[str, int, int]]:
    """Path, size in bytes and time of the last change (ns) of each file; -1 where it has none."""
    for path in paths:
        try:
            status = os.stat(path)  # noqa: PTH116  # a hundred thousand of them: a Path is slow
        except OSError:  # such as a link to nothing: unreadable, like any broken picture
            yield path, -1, -1
        else:
            yield path, status.st_size, status.st_mtime_ns
