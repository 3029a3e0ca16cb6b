"""`sweep`: a sweep file of W&B, run on this machine."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dim_lightning.cli.ending import StoppedError
from dim_lightning.cli.overview import PROGRAM
from dim_lightning.cli.plain_parser import PlainParser
from dim_lightning.cli.words import as_path
from dim_lightning.errors import InputError, check_least
from dim_lightning.run.environment import full_command
from dim_lightning.run.folder import alone_in, new_numbered_folder
from dim_lightning.run.settings import WHERE, belongs
from dim_lightning.sweep.command import FIT, filled_command, place_of_fit
from dim_lightning.sweep.definition import Definition, read_definition
from dim_lightning.sweep.record import Trial, open_sweep
from dim_lightning.sweep.report import (
    CSV,
    PAGE,
    best_commands,
    line,
    notes,
    table,
    write_report,
)
from dim_lightning.sweep.runner import Runner, number_of_trials
from dim_lightning.sweep.search import grid_point, import_optuna, random_point, values_at
from dim_lightning.writing import explained

_DESCRIPTION = (
    "Runs a sweep file of Weights & Biases on this machine, without the service. A sweep that was "
    "stopped or killed goes on with the same command and --output FOLDER."
)

_PLACE = ("runs_dir", "experiment")
_LATER = "evaluation"  # of a test


def sweep(arguments: list[str]) -> int:
    """Runs the sweep and says what was found and where it lies.

    Raises:
        InputError: the file asks for what cannot be done, or every trial failed.
        StoppedError: somebody stopped it.
    """
    options = _parser().parse_args(arguments)
    check_least("--workers", options.workers, 1)
    check_least("--count", options.count, 1)
    definition = read_definition(options.file)
    count = number_of_trials(definition, options.count)
    if definition.method == "bayes":
        import_optuna()
    training = _checked_training(definition, options.file)
    output = _output(options.output, definition.name, options.file)
    refusal = f"another sweep is at work in {output}; wait for it, or give another --output"
    with explained(output, "--output"), alone_in(output, refusal):
        seed = open_sweep(output, definition, options.seed, training)
        place = [] if options.output else ["--output", str(output)]
        again = full_command(["sweep", *arguments, *place])
        runner = Runner(definition, output, seed, count, options.workers, options.retry_failed)
        return _run(runner, again)


def _parser() -> PlainParser:
    parser = PlainParser(prog=f"{PROGRAM} sweep", description=_DESCRIPTION)
    parser.add_argument("file", type=Path, metavar="FILE", help="the sweep file")
    parser.add_argument("--workers", type=int, default=1, help="trials at once; 1")
    parser.add_argument("--count", type=int, help="trials in all; run_cap, or the whole grid")
    parser.add_argument(
        "--retry_failed", action="store_true", help="run trials again that failed before"
    )
    parser.add_argument(
        "--output", type=as_path, help="folder to write into, or to go on in; sweeps/<name>/<n>"
    )
    parser.add_argument("--seed", type=int, help="seed of the search; 0")
    return parser


def _checked_training(definition: Definition, file: Path) -> dict[str, Any] | None:
    """The settings that all trials share, once `fit` knows them; a wrong name fails every trial.

    Raises:
        InputError: it does not; other programs are not asked.
    """
    try:
        return _shared(definition)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error


def _shared(definition: Definition) -> dict[str, Any] | None:
    """The settings of `fit` on which the figures of every trial depend; None of other programs."""
    grid, parameters = definition.method == "grid", definition.parameters
    # any point serves, if it is always the same
    point = grid_point(parameters, 1) if grid else random_point(parameters, 0, 1)
    values = values_at(parameters, point, grid)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "arguments.json"
        file.write_text(json.dumps(values), "utf-8")
        words = filled_command(definition.command, definition.program, values, file)
        place = place_of_fit(words)
        if place is None:
            return None
        from dim_lightning.cli.resolved import Resolved

        settings = Resolved(words[place + len(FIT) - 1 :]).settings
    # classes stay, as their arguments do, which are known beside them alone
    differing = [name for name in parameters if not name.endswith(".class_path")]
    return _without(settings, (*differing, *WHERE, *_PLACE, _LATER))


def _without(settings: Mapping[str, Any], groups: tuple[str, ...], of: str = "") -> dict[str, Any]:
    """Nested settings but those of the groups."""
    return {
        name: _without(value, groups, f"{of}{name}.") if isinstance(value, Mapping) else value
        for name, value in settings.items()
        if not belongs(f"{of}{name}", groups)
    }


def _run(runner: Runner, again: str) -> int:
    definition, output, count = runner.definition, runner.output, runner.count

    def tell(trial: Trial) -> None:
        print(line(definition, trial, count), flush=True)  # noqa: T201
        write_report(output, definition, list(runner.trials.values()))

    print(f"{output}: {count} trials, {definition.method}", flush=True)  # noqa: T201
    try:
        trials = runner.run(tell)
    except (KeyboardInterrupt, InputError) as end:
        write_report(output, definition, list(runner.trials.values()))
        if isinstance(end, KeyboardInterrupt):
            raise StoppedError(end, again) from end
        raise
    write_report(output, definition, trials)
    lines = ["", table(definition, trials), *notes(output, definition, trials), ""]
    print("\n".join(lines))  # noqa: T201
    print(f"table  {output / CSV}\npage   {output / PAGE}")  # noqa: T201
    for title, command in best_commands(output, definition, trials).items():
        print(f"{title}:  {command}")  # noqa: T201
    left = [str(trial.number) for trial in trials if trial.status == "interrupted"]
    if left:
        print(f"interrupted: {', '.join(left)}; to go on: {again}")  # noqa: T201
    if all(trial.status == "failed" for trial in trials):
        raise InputError(f"all {len(trials)} trials failed; the last said:\n{trials[-1].error}")
    return 0


def _output(asked: Path | None, name: str, file: Path) -> Path:
    """The folder to write into; of a name that leads out of sweeps/ none is made."""
    if asked is None:
        place = Path(name)
        if place.is_absolute() or ".." in place.parts or not name.isprintable():
            raise InputError(
                f"{file}: name is {name!r}, which names no folder below sweeps/; expected a name "
                "such as digits; change it, or give --output"
            )
        return new_numbered_folder(Path("sweeps") / place)
    with explained(asked, "--output"):
        asked.mkdir(parents=True, exist_ok=True)
    return asked
