"""What a table file and the command line ask for, as `fit` would take it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from dim_lightning.cli.resolved import Resolved
from dim_lightning.errors import InputError
from dim_lightning.run.settings import flat_settings
from dim_lightning.table.cell import Cell
from dim_lightning.table.commands import as_options, settings_words
from dim_lightning.table.definition import Row, Table
from dim_lightning.table.floors import check_floors
from dim_lightning.table.runs import check_devices
from dim_lightning.table.transfers import Transfer, source_of


class Job(NamedTuple):
    """What the command line asks for.

    Attributes:
        commands: the training of each row, by its folder.
        others: of each row, one on each of the other data sets that is tested on, by its name.
    """

    table: Table
    cells: list[Cell]
    commands: Mapping[str, Resolved]
    others: list[dict[str, Resolved]]
    runs_dir: Path
    output: Path
    command: str


def job_of(asked: Table, options: Any, command: str) -> Job:
    """The rows of a table file and their seeds, each looked at as `fit` looks at it.

    Args:
        asked: the table file.
        options: of the command line.
        command: that gives the same again.

    Raises:
        InputError: `fit` would refuse a row, or a floor has rows that differ.
    """
    runs_dir = options.runs_dir / asked.runs
    commands = {row.folder: _command(asked, row) for row in asked.rows if row.config is not None}
    rows = [row for row in asked.rows if row.folder in commands]
    cells = [_cells(row, runs_dir, flat_settings(commands[row.folder].settings)) for row in rows]
    others = [_other_data(asked, row_cells[0]) for row_cells in cells]
    for row_cells, found in zip(cells, others, strict=True):
        transfers = {
            name: Transfer(asked.transfers[name], source_of(command.settings))
            for name, command in found.items()
        }
        row_cells[:] = [cell._replace(transfers=transfers) for cell in row_cells]
    # the first seed of every row before the second of any
    ordered = [cell for group in zip_longest(*cells) for cell in group if cell is not None]
    check_floors(asked, ordered)
    output = options.output or options.runs_dir / asked.name
    return Job(asked, ordered, commands, others, runs_dir, output, command)


def setting(text: str) -> tuple[str, Any]:
    """Key and value of a `--set key=value`.

    Raises:
        InputError: it has another form.
    """
    key, sign, value = text.partition("=")
    if not (key and sign):
        raise InputError(f"--set is {text!r}; expected key=value, such as trainer.max_epochs=10")
    try:
        return key.lstrip("-"), yaml.safe_load(value)
    except yaml.YAMLError:
        return key.lstrip("-"), value


@contextmanager
def named(asked: Table, what: str) -> Iterator[None]:
    """Complaints name the part of the table file."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{asked.path}: {what}: {error}") from error


def _command(asked: Table, row: Row) -> Resolved:
    """The training of a row's first seed, looked at as `fit` looks at it."""
    with named(asked, f"row {row.name} ({row.config})"):
        command = Resolved(settings_words(Cell(row, row.seeds[0], Path(), {})))
        check_devices(flat_settings(command.settings))
    return command


def _other_data(asked: Table, cell: Cell) -> dict[str, Resolved]:
    """A row's training, with the pictures of each of the other data sets in place of its own."""
    found = {}
    for name, settings in asked.transfers.items():
        with named(asked, f"transfer.{name}"):
            found[name] = Resolved([*settings_words(cell), *as_options(settings)])
            if source_of(found[name].settings) == source_of(cell.settings):
                raise InputError(
                    f"data.source is that of row {cell.row.name}; expected another one"
                )
    return found


def _cells(row: Row, runs_dir: Path, settings: Mapping[str, Any]) -> list[Cell]:
    return [Cell(row, seed, runs_dir, {**settings, "seed_everything": seed}) for seed in row.seeds]
