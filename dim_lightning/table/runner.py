"""Runs what a table misses, each command a process of its own."""

import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from dim_lightning.errors import InputError
from dim_lightning.run.child import Child, is_at_work
from dim_lightning.run.environment import full_command
from dim_lightning.run.report import OTHER_PICTURES, duration, reason_to_repeat
from dim_lightning.run.result import TRANSFER, read_result
from dim_lightning.table.cell import Cell
from dim_lightning.table.commands import words_of
from dim_lightning.table.runs import State

_POLL_SECONDS = 0.2
_RENEW_SECONDS = 60.0

_UNLABELLED = (
    "; pictures without labels have no accuracies, only what evaluation.decoder_epochs, "
    "mine_epochs and ndm_epochs measure"
)
_CHANGED = "; if code or a configuration was changed since this table began, start it again"
_OTHER_PICTURES = (
    "; bring the former pictures back, or move the run elsewhere, and its seed is trained anew"
)


class _Work(NamedTuple):
    """A command at work; `missing` is '' where a predecessor had started it."""

    cell: Cell
    child: Child
    missing: str
    start: float


class Runner:
    """A table at work.

    Args:
        cells: its rows and seeds, in the order in which they are to be run.
        jobs: how many at once.
        look: how far a cell is.
        tell: called with a line to show.
        renew: called with the failures when there may be something new to report.

    Attributes:
        failures: what failed, and how.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        jobs: int,
        look: Callable[[Cell], State],
        tell: Callable[[str], None],
        renew: Callable[[Mapping[str, str]], object],
    ):
        self.failures: dict[str, str] = {}
        self._waiting = deque(cells)
        self._jobs = jobs
        self._look = look
        self._tell = tell
        self._renew = renew
        self._renewed = time.monotonic()
        self._at_work: list[_Work] = []
        self._tried: set[tuple[Path, str]] = set()

    def run(self) -> None:
        """Runs to the end; whatever ends it before, what is at work is asked to end and awaited."""
        try:
            for cell in list(self._waiting):
                if is_at_work(cell.folder):
                    self._adopt(cell)
            while self._step():
                time.sleep(_POLL_SECONDS)
        finally:
            self._end_all()

    def _adopt(self, cell: Cell) -> None:
        """Takes over what was started by a predecessor that was killed."""
        self._waiting.remove(cell)
        child = self._placed(cell, "").child
        self._tell(f"{cell}: process {child.pid} is at work on it already; waits for it")

    def _step(self) -> bool:
        """Takes what has ended and starts what comes next; whether to go on."""
        for work in list(self._at_work):
            if not work.child.running():
                self._at_work.remove(work)
                self._ended(work)
                self._report()
        while self._waiting and len(self._at_work) < self._jobs:
            self._start(self._waiting.popleft())
        if time.monotonic() - self._renewed > _RENEW_SECONDS:
            self._report()
        return bool(self._at_work or self._waiting)

    def _start(self, cell: Cell) -> None:
        state = self._look(cell)
        if not state.missing:
            return
        if (cell.folder, state.missing) in self._tried:
            said = f"it ended without an error, yet it is {state.text}{_advice(state)}"
            if state.outdated:
                said += f"; {state.outdated[-1]}{_CHANGED}"
            self._fail(cell, state.missing, said)
            return
        self._tried.add((cell.folder, state.missing))
        cell.folder.mkdir(parents=True, exist_ok=True)
        words = words_of(cell, state.missing, state.run)
        work = self._placed(cell, state.missing)
        self._tell(f"{cell}: {full_command(words)}")
        work.child.start([sys.executable, "-m", "dim_lightning", *words], self._jobs)

    def _placed(self, cell: Cell, missing: str) -> _Work:
        """A command among those at work."""
        child = Child(cell.folder, [work.child.place for work in self._at_work])
        work = _Work(cell, child, missing, time.monotonic())
        self._at_work.append(work)
        return work

    def _ended(self, work: _Work) -> None:
        code = work.child.code
        if code:
            self._fail(work.cell, work.missing, work.child.last_lines())
            return
        if work.missing:
            seconds = time.monotonic() - work.start
            self._tell(f"{work.cell}: {work.missing} ended after {duration(seconds)}")
        self._waiting.appendleft(work.cell)

    def _fail(self, cell: Cell, missing: str, said: str) -> None:
        self.failures[str(cell)] = said
        lines = "".join(f"\n  {line}" for line in said.splitlines())
        self._tell(f"{cell}: {missing} failed:{lines}")

    def _report(self) -> None:
        self._renewed = time.monotonic()
        try:
            self._renew(self.failures)
        except InputError as error:  # of the table's own place: trainings go on without it
            self._tell(f"warning: the table is not renewed: {error}")

    def _end_all(self) -> None:
        """Ends what is at work and waits for it."""
        for work in self._at_work:
            self._tell(f"{work.cell}: is asked to end, and saves its state first")
            work.child.end()
        while any(work.child.running() for work in self._at_work):
            time.sleep(_POLL_SECONDS)
        self._at_work = []


def _advice(state: State) -> str:
    """What to do where a test was made and yet is missing."""
    if state.missing.startswith(TRANSFER):
        return _UNLABELLED
    if state.missing != "test" or state.run is None:
        return ""
    result = read_result(state.run)
    if result.get("test", {}).get(OTHER_PICTURES):
        return _OTHER_PICTURES
    return "" if reason_to_repeat(result) else _UNLABELLED
