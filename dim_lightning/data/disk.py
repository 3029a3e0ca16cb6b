"""Writing into folders that may be full, read-only or somebody else's at the same time."""

import errno
import glob
import os
import shutil
import socket
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

    Beside `path`, so that one renaming puts it in place: `path` is whole or is not there. What lies
    there now is spoilt, and removed; what another process puts there meanwhile, as it may where
    locks do not hold, stays in place of this one's.

    What a killed process of this host has left behind is removed first. Each process fills a folder
    of its own, so that those of several hosts do not spoil each other's.
    """
    stem = f"{path.name}.{socket.gethostname()}-"
    for left in path.parent.glob(f"{glob.escape(stem)}*.partial"):
        if not _is_running(left.name.removeprefix(stem).removesuffix(".partial")):
            shutil.rmtree(left, ignore_errors=True)
    partial = path.with_name(f"{stem}{os.getpid()}.partial")
    partial.mkdir(parents=True)
    if path.exists():
        shutil.rmtree(path)
    try:
        yield partial
        try:
            partial.rename(path)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # systems differ
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _is_running(number: str) -> bool:
    """Whether this is the number of another process that runs on this host."""
    if not number.isdigit() or int(number) == os.getpid():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        pass
    return True


@contextmanager
def lasting_file(path: Path) -> Iterator[BinaryIO]:
    """A new file to fill; it has reached the disk in the end, so that no renaming comes first."""
    with path.open("wb") as file:
        yield file
        file.flush()
        reach_disk(file.fileno())
