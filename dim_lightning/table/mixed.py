"""Rows whose runs were not trained on the same pictures, or not trained and tested alike."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dim_lightning.run.compared import OF_TRANSFERS
from dim_lightning.run.environment import mixed_pictures_note
from dim_lightning.run.own_code import mixed_code_note
from dim_lightning.run.report import OTHER_CODE, OTHER_SETTINGS
from dim_lightning.run.result import TRANSFER, read_result, transfers
from dim_lightning.table.cell import Cell
from dim_lightning.table.runs import State

Found = Sequence[tuple[Cell, State]]
_TESTED = {
    OTHER_CODE: "by code changed after its training, the file of",
    OTHER_SETTINGS: "with other settings than in its training:",
}


def mixed_pictures(found: Found) -> list[str]:
    """Rows whose runs were not trained on the same pictures, as far as that is known."""
    rows = _by_seed(found).items()
    return [note for name, runs in rows for note in mixed_pictures_note(name, "seeds", runs)]


def mixed_code(found: Found) -> list[str]:
    """Rows whose own classes or functions were changed between or in runs."""
    rows = _by_seed(found).items()
    return [note for name, runs in rows for note in mixed_code_note(name, "seeds", runs)]


def other_tests(found: Found, columns: Iterable[str] = ()) -> list[str]:
    """Rows that were tested by other code, or with other settings, than they were trained.

    And other data sets in the columns that were not the same, or not measured in the same way.
    """
    names = dict.fromkeys(key.split("/")[1] for key in columns if key.startswith(TRANSFER))
    tested: dict[str, list[str]] = {}
    kinds: dict[tuple[str, str], dict[str, str]] = {}
    for cell, run in _done(found):
        result = read_result(run)
        tests = {"tested": result.get("test", {})}
        others = {name: test for name, test in transfers(result).items() if name in names}
        for which, test in {**tests, **{f"tested on {n}": t for n, t in others.items()}}.items():
            for name, how in _TESTED.items():
                if test.get(name):
                    said = f"{cell.row.name} was {which} {how} {test[name]}"
                    tested.setdefault(said, []).append(str(cell.seed))
        for name, test in others.items():
            for what, value in _way_of(test).items():
                kinds.setdefault((name, what), {}).setdefault(value, str(cell))
    notes = [f"{said}: seeds {', '.join(seeds)}" for said, seeds in tested.items()]
    return notes + [
        f"{what} of {name} are not the same in all tests on it: those of {' and '.join(cells)} "
        "differ"
        for (name, what), cells in ((of, list(each.values())) for of, each in kinds.items())
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
