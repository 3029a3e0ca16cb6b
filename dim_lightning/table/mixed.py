"""Rows whose runs were not trained on the same pictures, or not trained and tested alike."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dim_lightning.run.environment import known_pictures, mixed_pictures_note
from dim_lightning.run.own_code import codes_of, mixed_code_note
from dim_lightning.run.report import OTHER_CODE, OTHER_SETTINGS
from dim_lightning.run.result import read_result
from dim_lightning.table.runs import Cell, State

Found = Sequence[tuple[Cell, State]]
_TESTED = {
    OTHER_CODE: "by code changed after its training, the file of",
    OTHER_SETTINGS: "with other settings than in its training:",
}


def mixed_pictures(found: Found) -> list[str]:
    """Rows whose runs were not trained on the same pictures, as far as that is known."""
    rows: dict[str, dict[str, Mapping[str, Any] | None]] = {}
    for cell, run in _done(found):
        rows.setdefault(cell.row.name, {})[str(cell.seed)] = known_pictures(run)
    return [note for name, row in rows.items() for note in mixed_pictures_note(name, "seeds", row)]


def mixed_code(found: Found) -> list[str]:
    """Rows whose own classes or functions were changed between or in runs."""
    rows: dict[str, dict[str, list[dict[str, str]]]] = {}
    for cell, run in _done(found):
        rows.setdefault(cell.row.name, {})[str(cell.seed)] = codes_of(run)
    return [note for name, codes in rows.items() for note in mixed_code_note(name, "seeds", codes)]


def other_tests(found: Found) -> list[str]:
    """Rows that were tested by other code, or with other settings, than they were trained."""
    tested: dict[str, list[str]] = {}
    for cell, run in _done(found):
        test = read_result(run).get("test", {})
        for name, how in _TESTED.items():
            if test.get(name):
                said = f"{cell.row.name} was tested {how} {test[name]}"
                tested.setdefault(said, []).append(str(cell.seed))
    return [f"{said}: seeds {', '.join(seeds)}" for said, seeds in tested.items()]


def _done(found: Found) -> list[tuple[Cell, Path]]:
    """Those that are trained and tested."""
    return [(cell, state.run) for cell, state in found if state.run and not state.missing]
