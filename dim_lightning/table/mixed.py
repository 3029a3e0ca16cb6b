"""Rows whose runs were not trained on the same pictures, or not by the same code."""

from collections.abc import Sequence
from pathlib import Path

from dim_lightning.run.environment import known_pictures, num_pictures
from dim_lightning.run.own_code import codes_of, mixed_code_note
from dim_lightning.run.report import OTHER_CODE
from dim_lightning.run.result import read_result
from dim_lightning.table.runs import Cell, State

Found = Sequence[tuple[Cell, State]]


def mixed_pictures(found: Found) -> list[str]:
    """Rows whose runs were not trained on the same pictures, as far as that is known."""
    kinds: dict[str, dict[str, tuple[int, list[str]]]] = {}
    for cell, run in _done(found):
        pictures = known_pictures(run)
        if pictures is not None:
            of_row = kinds.setdefault(cell.row.name, {})
            kind = of_row.setdefault(pictures["sha256"], (num_pictures(pictures), []))
            kind[1].append(str(cell.seed))
    return [
        f"{name} was not trained on the same pictures with all seeds, by their names or number: "
        + "; ".join(f"{number:,} with {', '.join(seeds)}" for number, seeds in found_.values())
        for name, found_ in kinds.items()
        if len(found_) > 1
    ]


def mixed_code(found: Found) -> list[str]:
    """Rows whose own classes or functions were changed between or in runs, or before a test."""
    rows: dict[str, dict[str, list[dict[str, str]]]] = {}
    tested: dict[tuple[str, str], list[str]] = {}
    for cell, run in _done(found):
        rows.setdefault(cell.row.name, {})[str(cell.seed)] = codes_of(run)
        changed = read_result(run).get("test", {}).get(OTHER_CODE)
        if changed:
            tested.setdefault((cell.row.name, changed), []).append(str(cell.seed))
    notes = [note for name, codes in rows.items() for note in mixed_code_note(name, "seeds", codes)]
    return notes + [
        f"{name} was tested by code changed after its training, the file of {changed}: seeds "
        + ", ".join(seeds)
        for (name, changed), seeds in tested.items()
    ]


def _done(found: Found) -> list[tuple[Cell, Path]]:
    """Those that are trained and tested."""
    return [(cell, state.run) for cell, state in found if state.run and not state.missing]
