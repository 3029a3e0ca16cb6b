"""Writing to a disk: files that are whole or not there, locks, and what its errors mean."""

import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from dim_lightning.errors import InputError

DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
_UMASK = os.umask(0o077)  # which cannot be asked for otherwise; it is put back at once
os.umask(_UMASK)

_ANOTHER_DISK = "free some space or point {setting} to another disk"
_ANOTHER_FOLDER = "point {setting} to a folder you can write to"
_REASONS = {
    errno.ENOSPC: ("the disk is full", _ANOTHER_DISK),
    errno.EDQUOT: ("your disk quota is used up", _ANOTHER_DISK),
    errno.EFBIG: ("a file became larger than the disk or a limit allows", _ANOTHER_DISK),
    errno.EROFS: ("the file system is read-only", _ANOTHER_FOLDER),
    errno.EACCES: ("you may not write there", _ANOTHER_FOLDER),
    errno.EPERM: ("you may not write there", _ANOTHER_FOLDER),
    errno.ENOTDIR: ("a part of that path is a file, not a folder", "choose another {setting}"),
    errno.EEXIST: ("a file of that name is in the way", "choose another {setting}"),
    errno.ENAMETOOLONG: ("that name is too long", "choose a shorter one"),
}


def disk_reason(error: OSError, setting: str) -> tuple[str, str]:
    """Why a write failed, and what to do; `setting` is what chooses the place."""
    other = error.strerror or str(error), "choose another {setting}"
    reason, advice = _REASONS.get(error.errno or 0, other)
    return reason, advice.replace("{setting}", setting)


def reach_disk(file: int) -> None:
    """Waits until what was written to a file, by its descriptor, has reached the disk."""
    whole: int | None = getattr(fcntl, "F_FULLFSYNC", None)
    if whole is not None:  # on macOS, where fsync ends at the cache of the disk
        try:
            fcntl.fcntl(file, whole)
        except OSError:  # of a disk that does not know it
            pass
        else:
            return
    os.fsync(file)


def sync_folder(folder: Path) -> None:
    """Makes a rename last; not every system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            reach_disk(handle)
        finally:
            os.close(handle)


def write_atomically(path: Path, content: str | bytes, kept: Path | None = None) -> None:
    """Writes a file beside its place and renames it: nobody ever sees half of it.

    It has reached the disk when this returns, so it outlives the machine as well.

    Args:
        path: the file.
        content: of it.
        kept: the name under which the file that was there stays.
    """
    data = content.encode() if isinstance(content, str) else content
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            reach_disk(file.fileno())
        make_readable(Path(name))
        if kept is not None and path.is_file():
            _keep(path, kept, Path(f"{name}.kept"))
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def make_readable(path: Path) -> None:
    """Gives a file the rights of any new one: 0600, as mkstemp's, would hide it from others.

    A disk that knows no such rights, as exFAT, may refuse.
    """
    with suppress(OSError):
        path.chmod(0o666 & ~_UMASK)


def _keep(path: Path, kept: Path, passing: Path) -> None:
    """Gives the file a second name, so that it has one at every moment."""
    try:
        os.link(path, passing)
    except OSError:  # a file system without hard links
        path.replace(kept)
        return
    passing.replace(kept)
    passing.unlink(missing_ok=True)  # it stays where both were names of one file already


def file_lock(path: Path) -> FileLock:
    """A lock between processes, which ends with the process that holds it.

    On a disk without locks it cannot be acquired (`is_without_locks`). Where the system has no
    word for them, filelock would otherwise take the file itself for a lock, which outlives a
    process that is killed: its run could not go on from another host.
    """
    return FileLock(path, fallback_to_soft=False)


def is_without_locks(error: Exception) -> bool:
    """Whether a file cannot be locked as its disk has no locks, such as NFS without its service."""
    return isinstance(error, NotImplementedError) or getattr(error, "errno", None) in _NO_LOCKS


def disk_error(
    error: OSError, path: Path | str | None = None, setting: str = "runs_dir"
) -> InputError:
    """What a failed write means to the user, and what to do about it.

    Args:
        error: what the operating system said.
        path: what was being written; the error's own file name if None.
        setting: what chooses the place.
    """
    where = path if path is not None else error.filename or "the run folder"
    reason, advice = disk_reason(error, setting)
    return InputError(f"cannot write {where}: {reason}; {advice}")


@contextmanager
def explained(path: Path, setting: str = "runs_dir") -> Iterator[None]:
    """Turns an operating system's error into an `InputError` that names `path`.

    Args:
        path: what is written.
        setting: what chooses the place.

    Raises:
        InputError: what could not be written, why, and what to do.
    """
    try:
        yield
    except OSError as error:
        raise disk_error(error, path, setting) from error
