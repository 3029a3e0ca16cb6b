"""Where a run lies: numbered folders that never overwrite one another."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import filelock

from dim_lightning.errors import InputError
from dim_lightning.writing import explained, file_lock, is_without_locks

CONFIG = "config.yaml"
ENVIRONMENT = "environment.json"
METRICS = "metrics.csv"
CHECKPOINTS = "checkpoints"
LAST_CHECKPOINT = f"{CHECKPOINTS}/last.ckpt"
PREVIOUS_CHECKPOINT = f"{CHECKPOINTS}/previous.ckpt"
KEPT_CHECKPOINTS = f"{CHECKPOINTS}/kept"  # those of a ModelCheckpoint
PICTURES = "pictures"
RESULT = "result.json"
SUMMARY = "summary.html"

_LOCK = ".lock"
# the names that write_atomically gives to what is not in its place yet
_LEFTOVER = re.compile(r"\..+\.(ckpt|csv|html|json|png|yaml)\.\w{8}(\.kept)?")
_NAME = re.compile(r"[\w+=,-][\w.+=,-]*(/[\w+=,-][\w.+=,-]*)*")


def numbered_folders(parent: Path) -> list[Path]:
    """The folders `parent`/<n>, by their number; what else lies there is passed by."""
    found = [path for path in parent.glob("*") if path.name.isdecimal()]
    return sorted(found, key=lambda path: int(path.name))


def new_numbered_folder(parent: Path) -> Path:
    """A folder `parent`/<n> of its own, n one above the largest there.

    `mkdir` decides the race: of two processes that ask at once each gets another number.

    Raises:
        InputError: the folder cannot be written.
    """
    with explained(parent):
        parent.mkdir(parents=True, exist_ok=True)
        number = next_number(parent)
        while True:
            try:
                (parent / str(number)).mkdir()
            except FileExistsError:
                number += 1
            else:
                return parent / str(number)


def newest_run(parent: Path) -> Path | None:
    """The one of the largest number; None before there is one."""
    runs = [path for path in numbered_folders(parent) if (path / CONFIG).is_file()]
    return runs[-1] if runs else None


def next_number(parent: Path) -> int:
    """One above the largest there."""
    return max((int(path.name) for path in numbered_folders(parent)), default=0) + 1


def new_run_folder(runs_dir: Path, experiment: str) -> Path:
    """The folder `runs_dir`/`experiment`/<n> of a new run.

    Raises:
        InputError: the name is no plain name, or the folder cannot be written.
    """
    if not _NAME.fullmatch(experiment):
        raise InputError(
            f"experiment is {experiment!r}; expected a plain name such as digits or "
            "cifar10/local, of letters, digits and -_.+=,"
        )
    return new_numbered_folder(runs_dir / experiment)


def remove_unused_folder(folder: Path) -> None:
    """Takes a run folder that never came to train away again, and its empty parent."""
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    folder.rmdir()
    with suppress(OSError):  # other runs of this name
        folder.parent.rmdir()


def existing_run_folder(path: Path) -> Path:
    """`path`, if it is the folder of a run.

    Raises:
        InputError: there is no such folder, or it holds no run.
    """
    if (path / CONFIG).is_file():
        return path
    if not path.is_dir():
        raise InputError(f"there is no run folder {path}; {_runs_nearby(path.parent)}")
    raise InputError(f"{path} is not a run folder: it holds no {CONFIG}; {_runs_nearby(path)}")


@contextmanager
def alone_in(folder: Path, refusal: str | None = None) -> Iterator[None]:
    """Keeps a second process from working in the folder; the lock ends with the process.

    Args:
        folder: of a run, or of anything else that one process at a time may fill.
        refusal: what to say to the second one; that another trains there if None.

    Raises:
        InputError: somebody works there.
    """
    lock = file_lock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise InputError(
            refusal or f"another process trains in {folder}; wait for it, or end it first"
        ) from error
    except (NotImplementedError, OSError) as error:
        if not is_without_locks(error):
            raise
    try:
        yield
    finally:
        lock.release()


def remove_leftovers(run_dir: Path) -> None:
    """Removes what writes that were killed left beside their files."""
    for name in ("", CHECKPOINTS, KEPT_CHECKPOINTS, PICTURES):
        for path in (run_dir / name).glob(".*"):
            if _LEFTOVER.fullmatch(path.name):
                path.unlink(missing_ok=True)


def read_json(path: Path, advice: str) -> dict[str, Any]:
    """The names and values that a file holds; empty if there is no file.

    Args:
        path: the file.
        advice: what to do where it is damaged.

    Raises:
        InputError: it is no JSON, or of something else.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not readable as JSON ({error}); {advice}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds {content!r:.40}; expected names and values; {advice}")
    return content


def _runs_nearby(folder: Path) -> str:
    """Some run folders under `folder`, newest first, as advice."""
    found = sorted(folder.glob(f"*/{CONFIG}")) + sorted(folder.glob(f"*/*/{CONFIG}"))
    newest = sorted(found, key=lambda config: config.stat().st_mtime, reverse=True)[:3]
    if newest:
        return "runs here: " + ", ".join(str(config.parent) for config in newest)
    return "expected a folder that fit made, such as runs/digits/1"
