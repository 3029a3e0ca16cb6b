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
# Trials that fail one after the other, each this soon, have one cause, such as a full disk.
_MOST_FAILURES, _SOON = 5, 60.0  # seconds


def number_of_trials(definition: Definition, count: int | None) -> int:
    """How many trials the sweep has: --count or else run_cap, and no more than the grid holds.

    Raises:
        InputError: nothing limits it.
    """
    asked = definition.run_cap if count is None else count
    limits = [] if asked is None else [asked]
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
        retry_failed: whether trials are run again that failed before.
    """

    def __init__(
        self,
        definition: Definition,
        output: Path,
        seed: int,
        count: int,
        workers: int,
        retry_failed: bool = False,
    ):
        self.definition = definition
        self.output = output
        self.seed = seed
        self.count = count
        self.workers = workers
        self.trials = read_trials(output)
        failed = {number for number, trial in self.trials.items() if trial.status == "failed"}
        self._to_retry = failed if retry_failed else set()
        self._begun: set[int] = set()
        self._failures = 0  # at once, one after the other
        self._at_work: dict[int, Process] = {}
        self._looked = 0.0

    def run(self, tell: Callable[[Trial], None]) -> list[Trial]:
        """Runs to the end; whatever ends it before, no trial is left at work.

        Args:
            tell: called with every trial that starts or ends.

        Raises:
            InputError: the disk is full, say, no trial logs the metric, or several fail at once.
        """
        try:
            for number, trial in self.trials.items():
                if is_at_work(trial_folder(self.output, number)):
                    self._at_work[number] = self._process(trial)
            while self._step(tell):
                time.sleep(_POLL_SECONDS)
        finally:
            self._end_all()
        return list(self.trials.values())

    def _step(self, tell: Callable[[Trial], None]) -> bool:
        """Takes what has ended, ends what is not worth it, starts the next; whether to go on."""
        for number, process in list(self._at_work.items()):
            if not process.child.running():
                del self._at_work[number]
                tell(process.record())
                self._check(process)
        if time.monotonic() - self._looked > _LOOK_SECONDS:
            self._looked = time.monotonic()
            self._stop_early()
        while len(self._at_work) < self.workers:
            trial = self._next()
            if trial is None:
                break
            self._start(trial)
            tell(trial)
        return bool(self._at_work)

    def _check(self, process: Process) -> None:
        """Looks at whether the next trials can be expected to do better than this one.

        Raises:
            InputError: it logged no metric, as all so far, or several failed at once.
        """
        trial = process.trial
        if process.lacks_metric and not self._is_logged():
            raise InputError(f"trial {trial.number}: {trial.error}; set metric.name")
        at_once = trial.status == "failed" and process.lasted < _SOON
        self._failures = self._failures + 1 if at_once else 0
        if self._failures == _MOST_FAILURES:
            raise InputError(
                f"{_MOST_FAILURES} trials failed at once, one after the other; when their cause is "
                f"mended, the same command with --output {self.output} goes on with the others, "
                f"and with these too if --retry_failed is added; the last said:\n{trial.error}"
            )

    def _is_logged(self) -> bool:
        """Whether any trial has logged the metric, be it one at work."""
        metric = self.definition.metric
        at_work = (self.trials[number] for number in self._at_work)
        return any(each.history for each in self.trials.values()) or any(
            history(self.output, each, metric) for each in at_work
        )

    def _start(self, trial: Trial) -> None:
        self.trials[trial.number] = trial
        self._begun.add(trial.number)
        process = self._process(trial)
        self._at_work[trial.number] = process
        process.start()

    def _process(self, trial: Trial) -> Process:
        taken = [process.child.place for process in self._at_work.values()]
        return Process(self.output, self.definition, trial, self.workers, taken)

    def _next(self) -> Trial | None:
        """The first trial to run: one that was interrupted or is to be retried, or a new one.

        One that somebody ended after it was begun here waits until the sweep is resumed.
        """
        for number in range(1, self.count + 1):
            known = self.trials.get(number)
            if known is None:
                point = self._point(number)
                grid = self.definition.method == "grid"
                return Trial(number, values_at(self.definition.parameters, point, grid), point)
            is_open = known.status not in ENDED or number in self._to_retry
            if is_open and number not in self._begun | self._at_work.keys():
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
            self.trials[number].history = history(self.output, self.trials[number], metric)
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
