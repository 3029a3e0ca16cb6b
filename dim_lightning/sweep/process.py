"""One trial at work: a process of its own, which outlives a sweep that is killed."""

import json
import signal
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from dim_lightning.errors import nearest
from dim_lightning.run.child import Child
from dim_lightning.run.folder import LAST_CHECKPOINT
from dim_lightning.run.result import read_result
from dim_lightning.sweep.command import FIT, filled_command, place_of_fit
from dim_lightning.sweep.definition import Definition
from dim_lightning.sweep.record import (
    TRIALS,
    Trial,
    history,
    logged,
    run_folder,
    trial_folder,
    write_trial,
)
from dim_lightning.writing import write_atomically

_ARGUMENTS = "arguments.json"
# by its own account, or by the code after a signal of somebody else's, handled or not
_INTERRUPTED = ("running", "interrupted", None, 130, 143, -signal.SIGINT, -signal.SIGTERM)


class Process:
    """The process of a trial, started here or found at work.

    A sweep that goes on after kill -9 knows whether a trial of its predecessor is still running,
    waits for it and takes its result.

    Attributes:
        lacks_metric: whether it has ended well and logged nothing of that name.

    Args:
        output: the sweep's folder.
        definition: the sweep.
        trial: the trial.
        workers: how many run at once, which share cores and GPUs.
        taken: the places of the others at work, see `Child`.
    """

    def __init__(
        self,
        output: Path,
        definition: Definition,
        trial: Trial,
        workers: int,
        taken: Collection[int],
    ):
        self.output = output
        self.definition = definition
        self.trial = trial
        self.workers = workers
        self.stopped = False
        self.lacks_metric = False
        self.child = Child(trial_folder(output, trial.number), taken)
        self._start = time.monotonic()
        self._before = trial.seconds

    def start(self) -> None:
        """Starts the trial, or lets it go on from its last checkpoint.

        Raises:
            InputError: there is no such program.
        """
        self.trial.status, self.trial.error = "running", None
        run = self._state()
        if run is None:  # the new one is not known yet, and has logged nothing
            self.trial.run, self.trial.history = None, []
        write_trial(self.output, self.trial)
        self.child.start(self._command(self.child.folder, run), self.workers)

    def stop_early(self) -> None:
        """Ends a trial that is not worth going on with."""
        self.stopped = True
        self.child.end()

    def record(self) -> Trial:
        """The trial with how it ended, kept."""
        trial, metric = self.trial, self.definition.metric
        trial.seconds = round(self._before + self.lasted, 1)
        trial.history = history(self.output, trial, metric)
        trial.status = self._status()
        run = run_folder(self.output, trial)
        trial.run = None if run is None else run.name
        self.lacks_metric = trial.status == "finished" and not trial.history
        if self.lacks_metric:
            known = nearest(metric, logged(self.output, trial), "its metrics.csv")
            trial.status = "failed"
            trial.error = f"it logged no {metric}, metric.name of the sweep; {known}"
        elif trial.status == "failed":
            trial.error = self.child.last_lines()
        write_trial(self.output, trial)
        return trial

    @property
    def lasted(self) -> float:
        """Seconds since it was started here, or found."""
        return time.monotonic() - self._start

    def _status(self) -> str:
        done = self._fit_status() if self.child.code is None else self.child.code
        if done in (0, "completed"):
            return "finished"
        if self.stopped:
            return "stopped"
        if self.child.asked_to_end:
            return "interrupted"
        return "interrupted" if done in _INTERRUPTED else "failed"

    def _fit_status(self) -> str | None:
        """How a trial that was found at work ended, by its own account."""
        folder = run_folder(self.output, self.trial)
        status = read_result(folder).get("fit", {}).get("status") if folder else None
        # killed before its first epoch, or while it was training
        return str(status) if status else None

    def _command(self, folder: Path, run: Path | None) -> list[str]:
        """What to start: a new run, or one that goes on from its state."""
        arguments = folder / _ARGUMENTS
        definition, values = self.definition, self.trial.parameters
        write_atomically(arguments, json.dumps(values) + "\n")
        words = filled_command(definition.command, definition.program, values, arguments)
        if run is not None:
            place = place_of_fit(words)  # what stands before it may set variables
            before = [sys.executable, *FIT] if place is None else words[: place + len(FIT)]
            return [*before, "--resume", str(run)]
        return [*words, *self._place()]

    def _state(self) -> Path | None:
        """The run whose state there is to go on from."""
        run = run_folder(self.output, self.trial)
        return run if run is not None and (run / LAST_CHECKPOINT).is_file() else None

    def _place(self) -> Sequence[str]:
        """Where the run lies, and that it logs to nobody but its metrics.csv."""
        runs_dir, number = str(self.output.absolute() / TRIALS), str(self.trial.number)
        own = ["--runs_dir", runs_dir, "--experiment", number]
        return [*own, "--trainer.logger", "null"]
