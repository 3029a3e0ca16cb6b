"""Rows whose runs were not trained on the same pictures, or not by the same code."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from dim_lightning.run.environment import known_pictures, num_pictures
from dim_lightning.run.own_code import changed_code, codes_of
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
    """Rows whose own classes or functions were changed between or within their runs."""
    rows: dict[str, dict[str, list[dict[str, str]]]] = {}
    for cell, run in _done(found):
        rows.setdefault(cell.row.name, {})[str(cell.seed)] = codes_of(run)
    return [note for name, codes in rows.items() for note in _code_note(name, codes)]


def _code_note(row: str, codes: Mapping[str, Sequence[Mapping[str, str]]]) -> list[str]:
    """What to say of a row, given what was kept of the run of each seed; nothing if all agree."""
    names = changed_code(code for starts in codes.values() for code in starts)
    kinds: dict[tuple[object, ...], list[str]] = {}
    for seed, starts in codes.items():
        kind = dict.fromkeys(tuple(code.get(name) for name in names) for code in starts)
        if kind:
            kinds.setdefault(tuple(kind), []).append(seed)
    seeds = [", ".join(own) + " (as it went on)" * (len(kind) > 1) for kind, own in kinds.items()]
    said = f"{row} was not all trained by the same code, as the file of {', '.join(names)} changed"
    return [f"{said}: seeds {'; '.join(seeds)}"] if names else []


def _done(found: Found) -> list[tuple[Cell, Path]]:
    """Those that are trained and tested."""
    return [(cell, state.run) for cell, state in found if state.run and not state.missing]
