"""Starts, watches and records trials until there are enough."""

import time
from collections.abc import Callable
from pathlib import Path

from dim_lightning.errors import InputError
from dim_lightning.run.child import is_at_work
from dim_lightning.sweep.definition import Definition
from dim_lightning.sweep.process import Process
from dim_lightning.sweep.record import ENDED, Trial, history, read_trials, trial_folder
from dim_lightning.sweep.search import (
    Past,
    Point,
    bayes_point,
    grid_point,
    grid_size,
    random_point,
    values_at,
)
from dim_lightning.sweep.stopping import should_stop

_POLL_SECONDS = 0.2
_LOOK_SECONDS = 2.0


def number_of_trials(definition: Definition, count: int | None) -> int:
    """How many trials the sweep has: --count, run_cap, and what the grid holds.

    Raises:
        InputError: nothing limits it.
    """
    limits = [limit for limit in (count, definition.run_cap) if limit is not None]
    if definition.method == "grid":
        limits.append(grid_size(definition.parameters))
    if not limits:
        raise InputError(
            f"a sweep of method {definition.method} has no end of its own; give --count, or "
            "run_cap in the file"
        )
    return min(limits)


class Runner:
    """A sweep at work in its folder.

    Args:
        definition: the sweep.
        output: its folder; trials that ended there are kept, others are gone on with.
        seed: of the draws.
        count: how many trials there are to be in the end.
        workers: how many run at once.
        tell: called with every trial that starts or ends.
    """

    def __init__(
        self,
        definition: Definition,
        output: Path,
        seed: int,
        count: int,
        workers: int,
        tell: Callable[[Trial], None],
    ):
        self.definition = definition
        self.output = output
        self.seed = seed
        self.count = count
        self.workers = workers
        self.tell = tell
        self.trials = read_trials(output)
        self._at_work: dict[int, Process] = {}
        self._looked = 0.0

    def run(self) -> list[Trial]:
        """Runs to the end; whatever ends it before, no trial is left at work.

        Raises:
            InputError: the disk is full, say.
        """
        try:
            for number, trial in self.trials.items():
                if is_at_work(trial_folder(self.output, number)):
                    self._at_work[number] = self._process(trial)
            while self._step():
                time.sleep(_POLL_SECONDS)
        finally:
            self._end_all()
        return list(self.trials.values())

    def _step(self) -> bool:
        """Takes what has ended, ends what is not worth it, starts the next; whether to go on."""
        for number, process in list(self._at_work.items()):
            if not process.child.running():
                del self._at_work[number]
                self.tell(process.record())
        if time.monotonic() - self._looked > _LOOK_SECONDS:
            self._looked = time.monotonic()
            self._stop_early()
        while len(self._at_work) < self.workers:
            trial = self._next()
            if trial is None:
                break
            self._start(trial)
        return bool(self._at_work)

    def _start(self, trial: Trial) -> None:
        self.trials[trial.number] = trial
        process = self._process(trial)
        self._at_work[trial.number] = process
        process.start()
        self.tell(trial)

    def _process(self, trial: Trial) -> Process:
        taken = [process.child.place for process in self._at_work.values()]
        return Process(self.output, self.definition, trial, self.workers, taken)

    def _next(self) -> Trial | None:
        """The first trial that has not ended: one that was interrupted, or a new one."""
        for number in range(1, self.count + 1):
            known = self.trials.get(number)
            if known is None:
                point = self._point(number)
                grid = self.definition.method == "grid"
                return Trial(number, values_at(self.definition.parameters, point, grid), point)
            if known.status not in ENDED and number not in self._at_work:
                return known
        return None

    def _point(self, number: int) -> Point:
        parameters = self.definition.parameters
        if self.definition.method == "grid":
            return grid_point(parameters, number)
        if self.definition.method == "random":
            return random_point(parameters, self.seed, number)
        past = [Past(t.point, t.value, t.status in ENDED) for t in self.trials.values()]
        return bayes_point(parameters, self.seed, number, past, self.definition.maximise)

    def _stop_early(self) -> None:
        rule = self.definition.early_terminate
        if rule is None:
            return
        metric = self.definition.metric
        for number in self._at_work:
            self.trials[number].history = history(self.output, number, metric)
        histories = [trial.history for trial in self.trials.values()]
        for number, process in self._at_work.items():
            own = self.trials[number].history
            if should_stop(rule, own, histories, self.definition.maximise):
                process.stop_early()

    def _end_all(self) -> None:
        """Ends what is at work and waits for it."""
        for process in self._at_work.values():
            process.child.end()
        while any(process.child.running() for process in self._at_work.values()):
            time.sleep(_POLL_SECONDS)
        for process in self._at_work.values():
            process.record()
        self._at_work = {}
