"""`table`: the runs that a table file lists, and the table that they make."""

import functools
from argparse import ArgumentTypeError
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dim_lightning.cli.ending import StoppedError
from dim_lightning.cli.overview import PROGRAM
from dim_lightning.cli.plain_parser import PlainParser
from dim_lightning.cli.resolved import Resolved
from dim_lightning.cli.table_job import Job, job_of, named, setting
from dim_lightning.cli.words import as_path
from dim_lightning.data import ImageDataModule
from dim_lightning.data.sources.listing import first_few
from dim_lightning.errors import InputError, check_least
from dim_lightning.run.environment import full_command, now
from dim_lightning.run.folder import CONFIG, alone_in
from dim_lightning.run.settings import flat_settings
from dim_lightning.table.cell import Cell
from dim_lightning.table.commands import next_run, words_of
from dim_lightning.table.definition import Table, read_table
from dim_lightning.table.figures import (
    check_columns,
    check_labels,
    check_layers,
    lines_of,
    protocols,
)
from dim_lightning.table.mixed import mixed_code, mixed_pictures, other_tests
from dim_lightning.table.notes import About
from dim_lightning.table.report import markdown, write_report
from dim_lightning.table.runner import Runner
from dim_lightning.table.runs import State, is_of, missing_of, state_of
from dim_lightning.writing import explained

_DESCRIPTION = (
    "Trains and tests what a table file lists and is not there yet, and writes table.md, table.csv "
    "and table.html. Stopped or killed, it goes on with the same command."
)
_HOW_TO_COUNT = (
    "The seeds of a row have the same settings. With the former ones among its overrides, or "
    "without the --set that changed them, such a run counts again; else it stays where it is and "
    "its seed is trained anew. To have both, make a second row and move the run to the folder of "
    "that row."
)
_FAILED = 1


def table(arguments: list[str]) -> int:
    """Runs what is missing and writes the table; 1 if a run failed.

    Raises:
        InputError: the table file or the command line asks for what there is not, or for runs that
            there may be with pictures in another place.
        StoppedError: somebody stopped it.
    """
    options = _parser().parse_args(arguments)
    check_least("--jobs", options.jobs, 1)
    asked = read_table(options.file, dict(map(setting, options.set)))
    job = job_of(asked, options, full_command(["table", *arguments]), _look)
    found = _found(job)
    check_columns(job.table, found)
    for note in [*_notes(found), *_renamed(job, found)]:
        print(f"warning: {note}")  # noqa: T201
    if _notes(found):
        print(_HOW_TO_COUNT)  # noqa: T201
    if options.report:
        print(_report(job, {}, shown=True))  # noqa: T201
        return 0
    open_cells = [cell for cell, state in found if state.missing and cell in job.todo]
    data = _check_building(job, open_cells)
    if options.dry:
        lines = [line for cell in open_cells for line in _planned(cell)]
        print("\n".join(lines) or "nothing is missing")  # noqa: T201
        return 0
    _check_not_moved(cell for cell, state in found if state.may_count and cell in job.todo)
    if all(state.missing for _, state in found):  # later the tests themselves tell
        _check_labels(job.table, data)
    return _run(job, options.jobs)


def _check_not_moved(cells: Iterable[Cell]) -> None:
    """Looks at whether what would be trained anew, in hours perhaps, is there already.

    Raises:
        InputError: it may be.
    """
    found = [str(cell) for cell in cells]
    if found:
        raise InputError(
            f"{first_few(found)} would be trained anew, as the pictures of the runs there are lay "
            "elsewhere; if they were only moved, run the commands above first; to train on other "
            "pictures, give another --runs_dir"
        )


def _parser() -> PlainParser:
    parser = PlainParser(prog=f"{PROGRAM} table", description=_DESCRIPTION)
    add = parser.add_argument
    add("file", type=Path, metavar="FILE", help="the table file")
    add("--runs_dir", type=as_path, default=Path("runs"), help="runs are in <runs_dir>/<runs>")
    add("--output", type=as_path, help="folder to write into; <runs_dir>/<name>")
    add("--jobs", type=int, default=1, help="runs at once; 1")
    add("--only", metavar="ROW,ROW", help="run these rows alone, by name or folder")
    add("--seeds", type=_whole_numbers, metavar="N,N", help="run these seeds, not the file's")
    a_setting = "a setting of all rows; may be given again"
    add("--set", action="append", default=[], metavar="KEY=VALUE", help=a_setting)
    add("--dry", action="store_true", help="only show the commands that would be run")
    add("--report", action="store_true", help="only write the table, of the runs there are")
    return parser


def _whole_numbers(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError as error:
        raise ArgumentTypeError(f"expected whole numbers such as 0,1, not {text}") from error


def _check_building(job: Job, cells: list[Cell]) -> list[ImageDataModule]:
    """Builds each row that is to run once, so that none ends in the night; the data of each."""
    asked, parts = job.table, {}
    for row in {cell.row.folder: cell.row for cell in cells}.values():
        with named(asked, f"row {row.name} ({row.config})"):
            parts[row.folder] = job.commands[row.folder].parts()
    for name, command in job.others.items() if parts else ():  # the data are built as well
        with named(asked, f"transfer.{name}"):
            command.parts()
    if parts and parts.keys() == job.commands.keys():  # others' encoders may have another layer
        check_layers(asked, {name: found.layers for name, found in parts.items()})
    return [found.data for found in parts.values()]


def _check_labels(asked: Table, data: list[ImageDataModule]) -> None:
    """Finds and decodes the pictures, which the runs would do first, and looks for labels."""
    labelled = []
    for module in data:
        with suppress(InputError):  # of one row, whose run says it while the others go on
            module.prepare_data()
            module.setup("fit")
            labelled.append(module.labelled)
    check_labels(asked, labelled)


def _run(job: Job, jobs: int) -> int:
    def tell(line: str) -> None:
        print(line, flush=True)  # noqa: T201

    with explained(job.runs_dir, "--runs_dir"):
        job.runs_dir.mkdir(parents=True, exist_ok=True)
    refusal = f"another `table` is at work in {job.runs_dir}; wait for it, or end it first"
    with explained(job.runs_dir, "--runs_dir"), alone_in(job.runs_dir, refusal):
        runner = Runner(job.todo, jobs, _look, tell, functools.partial(_report, job))
        try:
            runner.run()
        except KeyboardInterrupt as stop:
            _report(job, runner.failures)
            raise StoppedError(stop, job.command) from stop
        tell(_report(job, runner.failures, shown=True))
    try:
        check_columns(job.table, _found(job))
    except InputError as error:
        tell(f"warning: {error}")
        return _FAILED
    return _FAILED if runner.failures else 0


def _found(job: Job) -> list[tuple[Cell, State]]:
    return [(cell, _look(cell)) for cell in job.cells]


def _look(cell: Cell) -> State:
    return state_of(cell, _read)


def _read(run: Path) -> Mapping[str, Any]:
    return _stored(run / CONFIG, (run / CONFIG).stat().st_mtime_ns)


@functools.cache
def _stored(path: Path, changed: int) -> Mapping[str, Any]:
    """The settings of a run, with the defaults of those that it was too early to know.

    Args:
        path: its config.yaml.
        changed: when that file was; after another change it is read anew.
    """
    return flat_settings(Resolved(["fit", "--config", str(path)]).settings)


def _notes(found: list[tuple[Cell, State]]) -> list[str]:
    """Runs that do not count, of the cells that have none which does and is done."""
    return [note for _, state in found if state.missing for note in state.outdated]


def _renamed(job: Job, found: list[tuple[Cell, State]]) -> list[str]:
    """Runs in folders of no row, with the settings of a row that has none: it may be renamed."""
    rows = {cell.row.folder for cell in job.cells}
    configs = job.runs_dir.glob(f"*/seed*/*/{CONFIG}")
    others = [path.parent for path in configs if path.parents[2].name not in rows]
    return [
        f"{run} has the settings of {cell}, which is not run; if the row was renamed, rename "
        f"{run.parents[1]} to {cell.row.folder}"
        for cell, state in found
        if state.run is None
        for run in others
        if is_of(cell, run, _read)
    ]


def _report(job: Job, failures: Mapping[str, str], shown: bool = False) -> str:
    """Writes the table; what to show of it."""
    found = _found(job)
    lines = lines_of(job.table, found, failures)
    mixed = [*mixed_pictures(found), *mixed_code(found), *other_tests(found, job.table.columns)]
    notes = [*_notes(found), *mixed]
    about = About(job.command, now(), protocols(found), notes)
    with explained(job.output, "--output"):
        files = write_report(job.output, job.table, lines, about)
    return markdown(job.table, lines, about) + "\n" + "\n".join(map(str, files)) if shown else ""


def _planned(cell: Cell) -> list[str]:
    """The commands that a cell misses, each as if those before had ended well."""
    state = _look(cell)
    if state.is_running:
        return [f"# {cell}: {state.text}"]
    run = state.run or next_run(cell)
    commands = [words_of(cell, each, run) for each in missing_of(cell, state.run)]
    return [f"# {cell}: {state.text}", *map(full_command, commands)]
