"""What is known of each trial: trials/<n>/trial.json, written whole or not at all.

These files are the state of a sweep: one that is killed goes on from them. A trial whose folder is
deleted is run again.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dim_lightning.errors import InputError
from dim_lightning.run.folder import CONFIG, METRICS, newest_run, read_json
from dim_lightning.run.metrics import Point as Logged
from dim_lightning.run.metrics import read_metrics
from dim_lightning.run.settings import changes, flat_settings
from dim_lightning.sweep.definition import Definition
from dim_lightning.sweep.search import Point
from dim_lightning.writing import write_atomically

SWEEP = "sweep.json"
TRIALS = "trials"
ENDED = ("finished", "stopped", "failed")
_RECORD = "trial.json"
_SAME = ("method", "metric", "parameters", "command", "program", "early_terminate")


@dataclass
class Trial:
    """One trial.

    Attributes:
        number: from 1.
        parameters: by their full names.
        point: their coordinates in the search.
        status: running, finished, stopped (early), failed or interrupted.
        history: the metric, as it was logged.
        error: why it failed.
        seconds: how long it ran.
        run: name of its run's folder, once that is known: somebody may begin others beside it.
    """

    number: int
    parameters: dict[str, Any]
    point: Point
    status: str = "running"
    history: list[float] = field(default_factory=list)
    error: str | None = None
    seconds: float = 0.0
    run: str | None = None

    @property
    def value(self) -> float | None:
        """The last value of the metric, which is what a sweep optimises.

        None if the trial failed, or if the value is no finite number.
        """
        known = self.history[-1:] if self.status != "failed" else []
        return next((value for value in known if math.isfinite(value)), None)


def trial_folder(output: Path, number: int) -> Path:
    """Where the files of a trial lie."""
    return output / TRIALS / str(number)


def run_folder(output: Path, trial: Trial) -> Path | None:
    """The run of a trial, the newest if none is known to be its own; None before there is one."""
    folder = trial_folder(output, trial.number)
    if trial.run is not None and (folder / trial.run / CONFIG).is_file():
        return folder / trial.run
    return newest_run(folder)


def write_trial(output: Path, trial: Trial) -> None:
    """Keeps `trial`."""
    folder = trial_folder(output, trial.number)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / _RECORD, json.dumps(asdict(trial), indent=2) + "\n")


def read_trials(output: Path) -> dict[int, Trial]:
    """Number -> trial, of all that were ever started.

    Raises:
        InputError: a record is damaged.
    """
    trials = {}
    for path in (output / TRIALS).glob(f"*/{_RECORD}"):
        try:
            trial = Trial(**json.loads(path.read_text("utf-8")))
            if str(trial.number) != path.parent.name:
                raise ValueError(f"its number is {trial.number!r}")
        except (ValueError, TypeError) as error:
            raise InputError(
                f"{path} is no record of a trial ({error}); delete {path.parent} to run it again"
            ) from error
        trials[trial.number] = trial
    return dict(sorted(trials.items()))


def history(output: Path, trial: Trial, metric: str) -> list[float]:
    """What the trial's run has logged of the metric so far."""
    return [point.value for point in logged(output, trial).get(metric, [])]


def logged(output: Path, trial: Trial) -> dict[str, list[Logged]]:
    """All that the trial's run has logged so far, by its keys."""
    folder = run_folder(output, trial)
    return {} if folder is None or not (folder / METRICS).is_file() else read_metrics(folder)


def open_sweep(
    output: Path, definition: Definition, seed: int | None, training: Mapping[str, Any] | None
) -> int:
    """The seed of the sweep in `output`: the one given, or that of the sweep begun there.

    Args:
        output: the sweep's folder.
        definition: the sweep.
        seed: as asked for.
        training: the settings that all trials share; None where they are not known.

    Raises:
        InputError: the folder holds another sweep, a damaged one, or something else.
    """
    path = output / SWEEP
    is_new = not path.is_file()
    if is_new and any(not p.name.startswith(".") for p in output.iterdir()):
        raise InputError(f"{output} holds other files than a sweep's; give another --output")
    known = read_json(path, "bring it back, or give another --output")
    seed = known.get("seed", 0) if seed is None else seed
    same = {key: definition.content.get(key) for key in _SAME}
    asked = json.loads(json.dumps({"seed": seed, **same, "training": training}))
    if is_new:
        write_atomically(path, json.dumps(asked, indent=2) + "\n")
        return seed
    other = changes(flat_settings(asked), flat_settings(known))
    if other:
        raise InputError(
            f"{output} holds another sweep: {other}; give another --output, or the file, seed, "
            "configuration and version of dim_lightning that it was begun with"
        )
    return seed
