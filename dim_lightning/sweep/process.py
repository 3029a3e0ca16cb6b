"""One trial at work: a process of its own, which outlives a sweep that is killed."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from dim_lightning.errors import InputError
from dim_lightning.run.folder import LAST_CHECKPOINT, write_atomically
from dim_lightning.run.result import read_result
from dim_lightning.sweep.command import filled_command, parameters_json
from dim_lightning.sweep.definition import Definition
from dim_lightning.sweep.record import (
    TRIALS,
    Trial,
    history,
    run_folder,
    trial_folder,
    write_trial,
)

OUTPUT = "output.txt"
_ARGUMENTS, _LOCK = "arguments.json", ".lock"
_PATIENCE = 60.0
_LAST_LINES = 5


class Process:
    """The process of a trial, started here or found at work.

    The trial holds a lock on a file of its folder. So a sweep that goes on after kill -9 knows
    whether a trial of its predecessor is still running, waits for it and takes its result.

    Args:
        output: the sweep's folder.
        definition: the sweep.
        trial: the trial.
        workers: how many run at once, which share the cores.
    """

    def __init__(self, output: Path, definition: Definition, trial: Trial, workers: int = 1):
        self.output = output
        self.definition = definition
        self.trial = trial
        self.workers = workers
        self.stopped = False
        self._child: subprocess.Popen | None = None
        self._asked_to_end: float | None = None
        self._start = time.monotonic()
        self._before = trial.seconds

    def start(self) -> None:
        """Starts the trial, or lets it go on from its last checkpoint.

        Raises:
            InputError: there is no such program.
        """
        folder = trial_folder(self.output, self.trial.number)
        self.trial.status = "running"
        write_trial(self.output, self.trial)
        command = self._command(folder)
        lock = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with (folder / OUTPUT).open("ab") as output:
                self._child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=self._environment(),
                    pass_fds=(lock,),
                    start_new_session=True,  # Ctrl-C reaches the sweep alone, which ends its trials
                )
        except (FileNotFoundError, PermissionError) as error:
            raise InputError(f"the command {command} cannot be started: {error}") from error
        finally:
            os.close(lock)  # the trial has it now
        self.trial.process = self._child.pid
        write_trial(self.output, self.trial)

    def running(self) -> bool:
        """Whether the trial is at work; one that does not end when asked to is killed."""
        if self._asked_to_end and time.monotonic() - self._asked_to_end > _PATIENCE:
            self._signal(signal.SIGKILL)
        if self._child is not None:
            return self._child.poll() is None
        return is_at_work(self.output, self.trial.number)

    def end(self) -> None:
        """Asks the trial to end; it saves its state first."""
        if self._asked_to_end is None:
            self._asked_to_end = time.monotonic()
            self._signal(signal.SIGTERM)

    def stop_early(self) -> None:
        """Ends a trial that is not worth going on with."""
        self.stopped = True
        self.end()

    def record(self) -> Trial:
        """The trial with how it ended, kept."""
        trial, metric = self.trial, self.definition.metric
        trial.seconds = round(self._before + time.monotonic() - self._start, 1)
        trial.history = history(self.output, trial.number, metric)
        trial.process = None
        trial.status = self._status()
        if trial.status == "finished" and not trial.history:
            trial.status = "failed"
            trial.error = f"it logged no {metric}; expected a key of its metrics.csv"
        elif trial.status == "failed":
            trial.error = self._last_lines()
        write_trial(self.output, trial)
        return trial

    def _status(self) -> str:
        done = self._fit_status() if self._child is None else self._child.returncode
        if done in (0, "completed"):
            return "finished"
        if self.stopped:
            return "stopped"
        if self._asked_to_end is not None:
            return "interrupted"
        return "interrupted" if done in ("running", "interrupted", None) else "failed"

    def _fit_status(self) -> str | None:
        """How a trial that was found at work ended, by its own account."""
        folder = run_folder(self.output, self.trial.number)
        status = read_result(folder).get("fit", {}).get("status") if folder else None
        # killed before its first epoch, or while it was training
        return str(status) if status else None

    def _command(self, folder: Path) -> list[str]:
        run = run_folder(self.output, self.trial.number)
        if run is not None and (run / LAST_CHECKPOINT).is_file():
            return [sys.executable, "-m", "dim_lightning", "fit", "--resume", str(run)]
        arguments = folder / _ARGUMENTS
        write_atomically(arguments, parameters_json(self.trial.parameters) + "\n")
        definition = self.definition
        words = (definition.command, definition.program, self.trial.parameters, arguments)
        return [*filled_command(*words), *self._place()]

    def _place(self) -> Sequence[str]:
        """Where the run lies, and that it logs to nobody but its metrics.csv."""
        place = {"runs_dir": self.output.absolute() / TRIALS, "experiment": self.trial.number}
        options = [word for key, value in place.items() for word in (f"--{key}", str(value))]
        return [*options, "--trainer.logger", "null"]

    def _environment(self) -> dict[str, str]:
        """Several trials share the cores; each would take them all."""
        if self.workers == 1 or "OMP_NUM_THREADS" in os.environ:
            return dict(os.environ)
        threads = max(1, (os.cpu_count() or 1) // self.workers)
        return {**os.environ, "OMP_NUM_THREADS": str(threads)}

    def _signal(self, number: int) -> None:
        if self.trial.process is not None:
            with suppress(ProcessLookupError):
                # its helpers die with it; all together only when it does not listen
                kill = os.killpg if number == signal.SIGKILL else os.kill
                kill(self.trial.process, number)

    def _last_lines(self) -> str:
        path = trial_folder(self.output, self.trial.number) / OUTPUT
        text = path.read_text(errors="replace") if path.is_file() else ""
        lines = [line for line in text.splitlines() if line.strip()]
        code = self._child.returncode if self._child is not None else None
        return "\n".join(lines[-_LAST_LINES:]) or f"it ended with code {code} and said nothing"


def is_at_work(output: Path, number: int) -> bool:
    """Whether a process works on the trial, whoever started it."""
    path = trial_folder(output, number) / _LOCK
    if not path.is_file():
        return False
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
