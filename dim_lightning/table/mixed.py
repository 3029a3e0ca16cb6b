"""Rows whose runs were not trained on the same pictures, or not trained and tested alike."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dim_lightning.run.compared import OF_TRANSFERS
from dim_lightning.run.environment import mixed_pictures_note
from dim_lightning.run.own_code import mixed_code_note
from dim_lightning.run.report import OTHER_CODE, OTHER_SETTINGS
from dim_lightning.run.result import TRANSFER, read_result, transfers
from dim_lightning.table.cell import Cell
from dim_lightning.table.runs import Found

_TESTED = {
    OTHER_CODE: "by code changed after its training, the file of",
    OTHER_SETTINGS: "with other settings than in its training:",
}


class _Test(NamedTuple):
    """What a test says of itself; `name` is that of the other data set, '' where it is of none."""

    cell: Cell
    name: str
    content: Mapping[str, Any]


def mixed_pictures(found: Found) -> list[str]:
    """Rows whose runs were not trained on the same pictures, as far as that is known."""
    rows = _by_seed(found).items()
    return [note for name, runs in rows for note in mixed_pictures_note(name, "seeds", runs)]


def mixed_code(found: Found) -> list[str]:
    """Rows whose own classes or functions were changed between or in runs."""
    rows = _by_seed(found).items()
    return [note for name, runs in rows for note in mixed_code_note(name, "seeds", runs)]


def other_tests(found: Found, columns: Iterable[str] = ()) -> list[str]:
    """What makes tests hard to compare, those on other data sets in the columns among them."""
    names = {key.split("/")[1] for key in columns if key.startswith(TRANSFER)}
    tests = []
    for cell, run in _done(found):
        result = read_result(run)
        tests.append(_Test(cell, "", result.get("test", {})))
        others = transfers(result).items()
        tests += [_Test(cell, name, test) for name, test in others if name in names]
    return [*_tested_otherwise(tests), *_not_alike(tests)]


def _tested_otherwise(tests: Iterable[_Test]) -> list[str]:
    """Rows that were tested by other code, or with other settings, than they were trained."""
    seeds: dict[str, list[str]] = {}
    for cell, name, test in tests:
        which = f"tested on {name}" if name else "tested"
        for key, how in _TESTED.items():
            if test.get(key):
                said = f"{cell.row.name} was {which} {how} {test[key]}"
                seeds.setdefault(said, []).append(str(cell.seed))
    return [f"{said}: seeds {', '.join(each)}" for said, each in seeds.items()]


def _not_alike(tests: Iterable[_Test]) -> list[str]:
    """Other data sets that were not the same in all tests, or not measured in the same way."""
    first: dict[tuple[str, str], dict[str, str]] = {}
    for cell, name, test in tests:
        for what, value in _way_of(test).items() if name else ():
            first.setdefault((name, what), {}).setdefault(value, str(cell))
    return [
        f"{what} of {name} are not the same in all tests on it: those of "
        f"{' and '.join(cells.values())} differ"
        for (name, what), cells in first.items()
        if len(cells) > 1
    ]


def _way_of(test: Mapping[str, Any]) -> dict[str, str]:
    """On what, and how, another data set was measured, as far as figures do not say it."""
    told = {what: str(test.get(key)) for key, what in OF_TRANSFERS.items()}
    settings = test.get("settings", {})
    probe = {key: settings.get(key) for key in ("mlp_epochs", "mlp_protocol", "repeats", "seed")}
    return told | {"the settings": str(probe)}


def _by_seed(found: Found) -> dict[str, dict[str, Path]]:
    """Row -> seed -> run, of those that are done."""
    rows: dict[str, dict[str, Path]] = {}
    for cell, run in _done(found):
        rows.setdefault(cell.row.name, {})[str(cell.seed)] = run
    return rows


def _done(found: Found) -> list[tuple[Cell, Path]]:
    """Those that are trained and tested."""
    return [(cell, state.run) for cell, state in found if state.run and state.is_tested]
