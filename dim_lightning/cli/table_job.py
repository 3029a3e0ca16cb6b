"""What a table file and the command line ask for, as `fit` would take it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
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
from dim_lightning.table.definition import Row, Table, chosen
from dim_lightning.table.floors import check_floors
from dim_lightning.table.runs import State, check_devices
from dim_lightning.table.transfers import Transfer, source_of
from dim_lightning.table.values import as_seeds


class Job(NamedTuple):
    """What the command line asks for.

    Attributes:
        table: as its file has it, each row with all seeds that are shown.
        cells: all that is shown: each row with the seeds of the file, those that are to be run, and
            others that have a run which counts; the first of every row before the second of any.
        todo: those of them that are to be run, unless they are done.
        commands: the training of each row, by its folder.
        others: that of the first row on each of the other data sets that is tested on, by its name.
    """

    table: Table
    cells: list[Cell]
    todo: list[Cell]
    commands: Mapping[str, Resolved]
    others: Mapping[str, Resolved]
    runs_dir: Path
    output: Path
    command: str


def job_of(asked: Table, options: Any, command: str, look: Callable[[Cell], State]) -> Job:
    """The rows of a table file and their seeds, each looked at as `fit` looks at it.

    Args:
        asked: the table file.
        options: of the command line.
        command: that gives the same again.
        look: how far a cell is.

    Raises:
        InputError: `fit` would refuse a row, a floor has rows that differ, or there is no row or
            seed of those that are to be run.
    """
    runs_dir = options.runs_dir / asked.runs
    seeds = None if options.seeds is None else as_seeds(options.seeds, "--seeds")
    to_run = {row.folder: seeds or row.seeds for row in chosen(asked, options.only)}
    commands = {row.folder: _command(asked, row) for row in asked.rows if row.config is not None}
    rows, cells = [], []
    others: dict[str, Resolved] = {}
    for row in asked.rows:
        if row.config is None:
            rows.append(row)
            continue
        first = Cell(row, row.seeds[0], runs_dir, flat_settings(commands[row.folder].settings))
        own = _other_data(asked, first)
        others = others or own
        transfers = {
            name: Transfer(asked.transfers[name], source_of(other.settings))
            for name, other in own.items()
        }
        first = first._replace(transfers=transfers)
        cells.append(_cells(first, to_run.get(row.folder, ()), look))
        rows.append(cells[-1][0].row)
    shown = [c for group in zip_longest(*cells) for c in group if c is not None]
    check_floors(asked, shown)
    todo = [cell for cell in shown if cell.seed in to_run.get(cell.row.folder, ())]
    output = options.output or options.runs_dir / asked.name
    table = asked._replace(rows=tuple(rows))
    return Job(table, shown, todo, commands, others, runs_dir, output, command)


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


def _cells(first: Cell, to_run: Sequence[int], look: Callable[[Cell], State]) -> list[Cell]:
    """All of a row that is shown.

    Args:
        first: with the first of the seeds of the file.
        to_run: the seeds that are to be run.
        look: how far a cell is.
    """

    def with_seed(seed: int) -> Cell:
        return first._replace(seed=seed, settings={**first.settings, "seed_everything": seed})

    names = [path.name.removeprefix("seed") for path in first.folder.parent.glob("seed*")]
    others = {int(name) for name in names if name.isdecimal()} - {*first.row.seeds, *to_run}
    there = {seed for seed in others if look(with_seed(seed)).run}
    seeds = dict.fromkeys([*first.row.seeds, *sorted({*to_run, *there})])
    row = first.row._replace(seeds=tuple(seeds))
    return [with_seed(seed)._replace(row=row) for seed in seeds]
