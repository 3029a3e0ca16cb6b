"""result.json: the figures of a run, a section a command."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dim_lightning.errors import InputError
from dim_lightning.run.folder import RESULT, write_atomically


def read_result(run_dir: Path) -> dict[str, dict[str, Any]]:
    """Section -> name -> figure, as far as the run has come; empty before its first epoch.

    Raises:
        InputError: the file is no JSON.
    """
    path = run_dir / RESULT
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not readable as JSON ({error}); run test again") from error


def update_result(run_dir: Path, section: str, values: Mapping[str, Any]) -> None:
    """Sets figures of one section; those of other names and sections stay.

    Args:
        run_dir: the run's folder.
        section: the command that found them, "fit" or "test".
        values: name -> number, text, list or nested mapping. Accuracies are fractions in [0, 1].
    """
    result = read_result(run_dir)
    result.setdefault(section, {}).update(_plain(values))
    write_atomically(run_dir / RESULT, json.dumps(result, indent=2, allow_nan=False) + "\n")


def forget(run_dir: Path, section: str) -> None:
    """Takes a section away, whose figures are those of another state of the run."""
    result = read_result(run_dir)
    result.pop(section, None)
    write_atomically(run_dir / RESULT, json.dumps(result, indent=2, allow_nan=False) + "\n")


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
