"""Floors: which tests measure one, and whether these would give the same.

The test of a row measures the floors beside its own figures, unless `evaluation.floors` is false.
Raw pixels are those of its pictures, the random encoder is its own encoder untrained: rows that
differ in these have other floors.
"""

from collections.abc import Sequence

from dim_lightning.errors import InputError
from dim_lightning.run.settings import WHERE, belongs, differing
from dim_lightning.table.cell import Cell
from dim_lightning.table.definition import Row, Table

_SETTING = "evaluation.floors"
NOT_ASKED_FOR = f"not measured: {_SETTING} is false"
_PIXELS = (
    "data.source",
    "data.image_size",
    "data.validation_fraction",
    "data.test_fraction",
    "data.split_seed",
    "evaluation.seed",
    "evaluation.mlp_epochs",
    "evaluation.mlp_protocol",
    "evaluation.repeats",
    "evaluation.few_labels",
)
_DECISIVE = {"pixels": _PIXELS, "random": ("model.encoder", *_PIXELS)}


def measures_floor(row: Row, cell: Cell) -> bool:
    """Whether the floor `row` is to be had of the test of a cell."""
    return row.of in (None, cell.row.folder) and bool(cell.settings.get(_SETTING, True))


def check_floors(table: Table, cells: Sequence[Cell]) -> None:
    """Looks at whether it is clear which floor a row means.

    Args:
        table: from its file.
        cells: every row and seed.

    Raises:
        InputError: the rows that it may be of have others, and it does not say which it is of.
    """
    for row in table.rows:
        known = [cell for cell in cells if row.floor and measures_floor(row, cell)]
        for cell in known[1:]:
            _check_same(table, row, known[0], cell)


def _check_same(table: Table, row: Row, first: Cell, other: Cell) -> None:
    one, another = (_decisive(row, cell) for cell in (first, other))
    for key, value, other_value in differing(one, another):
        raise InputError(
            f"{table.path}: row {row.name}: {first.row.name} and {other.row.name} have other "
            f"floors: {key} is {value} in the first and {other_value} in the second; expected the "
            f"name of one of them; add `of: {first.row.name}`, and a row for each other floor"
        )


def _decisive(row: Row, cell: Cell) -> dict[str, object]:
    """The settings on which the floor depends."""
    groups = _DECISIVE[row.floor or ""]
    return {k: v for k, v in cell.settings.items() if belongs(k, groups) and not belongs(k, WHERE)}
