"""result.json: the figures of a run, a section a command."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dim_lightning.errors import InputError
from dim_lightning.run.folder import RESULT, read_json
from dim_lightning.writing import file_lock, write_atomically

TRANSFER = "transfer/"  # what sections and figures of other data sets begin with
TRANSFER_NAME = r"[\w.-]+"  # what other data sets may be called
SOURCE = "source"  # in such a section: the settings of data.source
_LOCK = f".{RESULT}.lock"
_ADVICE = "remove it and run test again"
_PATIENCE = 10.0  # seconds; it is held for milliseconds


def read_result(run_dir: Path) -> dict[str, dict[str, Any]]:
    """Section -> name -> figure, as far as the run has come; empty before its first epoch.

    Raises:
        InputError: the file is no JSON, or of something else.
    """
    content = read_json(run_dir / RESULT, _ADVICE)
    if not all(isinstance(each, dict) for each in content.values()):
        raise InputError(
            f"{run_dir / RESULT} holds {content!r:.40}; expected sections, each of names and "
            f"figures; {_ADVICE}"
        )
    return content


def test_section(transfer: str | None) -> str:
    """The section of a test, of the run's own pictures or of another data set's.

    Args:
        transfer: the name of the other data set; None for the run's own pictures.
    """
    return "test" if transfer is None else f"{TRANSFER}{transfer}"


def transfers(result: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Name of another data set -> the section of its test.

    Args:
        result: the sections of result.json.
    """
    return {
        section.removeprefix(TRANSFER): values
        for section, values in result.items()
        if section.startswith(TRANSFER)
    }


def noted(run_dir: Path, section: str, name: str, text: str) -> dict[str, str | None]:
    """A note to set beside figures; None in place of one that is there and no longer true."""
    was_noted = name in read_result(run_dir).get(section, {})
    return {name: text or None} if text or was_noted else {}


def update_result(run_dir: Path, section: str, values: Mapping[str, Any]) -> None:
    """Sets figures of one section; those of other names and sections stay.

    Args:
        run_dir: the run's folder.
        section: the command that found them, "fit" or "validate", or from `test_section`.
        values: name -> number, text, list or nested mapping. Accuracies are fractions in [0, 1].
    """
    change_result(run_dir, section, lambda before: {**before, **values})


def change_result(
    run_dir: Path, section: str, change: Callable[[dict[str, Any]], Mapping[str, Any]]
) -> None:
    """Puts what `change` makes of a section in its place; of two processes the second waits.

    Args:
        run_dir: the run's folder.
        section: as for `update_result`.
        change: section as it is, empty if there is none -> section as it is to be.
    """
    with _alone(run_dir):
        result = read_result(run_dir)
        result[section] = _plain(change(result.get(section, {})))
        write_atomically(run_dir / RESULT, json.dumps(result, indent=2, allow_nan=False) + "\n")


@contextmanager
def _alone(run_dir: Path) -> Iterator[None]:
    lock = file_lock(run_dir / _LOCK)
    # a file system without locks, or a process that stands still with it: figures are kept anyway
    with suppress(NotImplementedError, OSError):
        lock.acquire(timeout=_PATIENCE)
    try:
        yield
    finally:
        lock.release()


def _plain(value: Any) -> Any:
    """`value` in the types of JSON, which knows no NaN: null then."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # tensors and NumPy
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
