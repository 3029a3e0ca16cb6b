"""Writing into folders that may be full, read-only or somebody else's at the same time."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from filelock import Timeout

from dim_lightning.errors import InputError
from dim_lightning.writing import explained, file_lock, is_without_locks, reach_disk


def check_space(folder: Path, needed: int, setting: str) -> None:
    """Look at the space that is left in `folder`.

    Args:
        folder: where something will be written.
        needed: how much, in bytes.
        setting: what chooses the folder.

    Raises:
        InputError: there is too little.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        sizes = f"{needed / 1e6:,.0f} MB needed, {free / 1e6:,.0f} MB free"
        raise InputError(
            f"cannot write {folder}: too little space, {sizes}; free some space or point {setting} "
            "to another disk"
        )


@contextmanager
def locked(path: Path, setting: str) -> Iterator[None]:
    """Hold the file `path` as a lock between processes, waiting for it if need be.

    Raises:
        InputError: the lock's folder cannot be written.
    """
    lock = file_lock(path)
    with explained(path.parent, setting):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            sys.stderr.write(f"waiting for another process that holds {path}\n")
            lock.acquire()
        except (NotImplementedError, OSError) as error:
            if not is_without_locks(error):
                raise
            sys.stderr.write(
                f"{path.parent} lies on a disk without locks: of two commands that write the same "
                "there, start the second when the first is done\n"
            )
    try:
        yield
    finally:
        lock.release()


@contextmanager
def folder_when_done(path: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `path` if all goes well and is removed if not.

    Beside `path`, so that one renaming puts it in place: `path` is whole or is not there. Only for
    the holder of a lock on `path`: what a killed process left behind is removed first.
    """
    partial = path.with_name(f"{path.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    try:
        yield partial
        if path.exists():
            shutil.rmtree(path)  # spoilt, or it would have been used
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def lasting_file(path: Path) -> Iterator[BinaryIO]:
    """A new file to fill; it has reached the disk in the end, so that no renaming comes first."""
    with path.open("wb") as file:
        yield file
        file.flush()
        reach_disk(file.fileno())
