"""Keeps the state of training between two steps, and ends it there when a signal asks for it."""

import signal
import time
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint

from dim_lightning.errors import InputError
from dim_lightning.processes import largest
from dim_lightning.run.checkpoint import JOINT_BATCH, METRICS_ROWS, PROCESSES
from dim_lightning.run.folder import LAST_CHECKPOINT
from dim_lightning.run.metrics import MetricsFile
from dim_lightning.run.signals import HeldSignals, stop

_SAVE = 1  # below the number of every signal that stops
_ASK_EVERY = 8  # steps: processes that ask each other wait for each other and for their devices
_ASKS = "_broadcast_sigterm_tensor"  # by which Lightning lets them ask in each step
_SHORT = 1.0  # seconds: what is saved so quickly is saved at the end of each epoch
_SHARE = 0.05  # of the time, at most, goes into what takes longer


class Checkpoints(Checkpoint):
    """Saves the whole state at the end of each epoch, and within epochs every few minutes.

    A state that takes long to write waits for the end of a later epoch where epochs are short: no
    more than a twentieth of the time goes into it.

    A run that goes on from such a file does, to the bit, what it would have done. It is saved
    before a step begins, when nothing is under way and all there is to log has been logged, as
    `checkpoints/last.ckpt` in the run's folder; the one before stays as `previous.ckpt`.

    Ctrl-C and SIGTERM (a pre-empted node, a sweep that ends a trial, of a command a terminal that
    is gone) are held until then: the state is saved and training ends. Several processes do it at
    the same step, whichever of them was told, within eight steps.

    Args:
        every_n_steps: save within an epoch after so many steps.
        every_minutes: save within an epoch after so many minutes; never if None.
    """

    def __init__(self, *, every_n_steps: int | None = None, every_minutes: float | None = 10.0):
        for name, value in {"every_n_steps": every_n_steps, "every_minutes": every_minutes}.items():
            if value is not None and value <= 0:
                raise InputError(f"checkpoint.{name} is {value}; expected more than 0, or null")
        self.every_n_steps = every_n_steps
        self.every_minutes = every_minutes
        self._signals = HeldSignals()
        self._saving = False
        self._saved_step = 0
        self._saved_at = 0.0
        self._seconds = 0.0  # that the last one took

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begins to hold signals back."""
        self._saved_step, self._saved_at = trainer.global_step, time.monotonic()
        epochs: Any = trainer.fit_loop.epoch_progress.current
        if epochs.ready == epochs.processed:
            # with max_steps, Lightning would take a finished epoch for one to go on with
            trainer.fit_loop.epoch_loop.restarting = False
        self._signals.hold()
        loop = trainer.fit_loop.epoch_loop
        if self._signals.holds(signal.SIGTERM) and hasattr(loop, _ASKS):
            # nothing tells Lightning of the signal by now, and to ask is to wait for the devices
            setattr(loop, _ASKS, lambda: None)

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Saves if it is time to; ends training if that is asked for.

        Raises:
            KeyboardInterrupt: after a signal; `Terminated` after SIGTERM.
        """
        if _accumulates(trainer):
            return
        asked = max(self._is_due(trainer), self._is_asked(trainer))
        if asked:
            self._save(trainer)
        if asked > _SAVE:
            stop(asked)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Saves the last state."""
        self._save(trainer)
        self._release(trainer)

    def on_exception(self, trainer: L.Trainer, *_: Any) -> None:
        """Lets signals act again."""
        self._release(trainer)

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds what a run that goes on has to know."""
        if not self._saving:  # a file of somebody else's
            return
        # by the file: its rows stay while nothing is logged (trainer.logger: false)
        checkpoint[METRICS_ROWS] = MetricsFile(trainer.default_root_dir).sync()
        checkpoint[PROCESSES] = trainer.world_size
        checkpoint[JOINT_BATCH] = trainer.world_size * trainer.datamodule.batch_size  # type: ignore
        loop = checkpoint["loops"]["fit_loop"]
        _set_between_steps(loop, _epoch_is_over(trainer), _accumulates(trainer))

    def _is_due(self, trainer: L.Trainer) -> int:
        """By the count of steps, and at the end of an epoch; the same on every process."""
        num_steps = trainer.global_step - self._saved_step
        if not num_steps:
            return 0
        by_count = self.every_n_steps is not None and num_steps >= self.every_n_steps
        if by_count or _batches_done(trainer):
            return _SAVE if by_count else 0
        share = self._seconds / max(time.monotonic() - self._saved_at, 1e-9)
        own = _SAVE if self._seconds < _SHORT or share <= _SHARE else 0
        return own if trainer.world_size == 1 else largest(own, trainer.strategy.root_device)

    def _is_asked(self, trainer: L.Trainer) -> int:
        """By a clock or a signal of any process; the number of the signal."""
        minutes = (time.monotonic() - self._saved_at) / 60
        late = self.every_minutes is not None and minutes >= self.every_minutes
        own = self._signals.received or (_SAVE if late else 0)
        if trainer.world_size == 1:
            return own
        if trainer.global_step % _ASK_EVERY:
            return 0
        return largest(own, trainer.strategy.root_device)

    def _save(self, trainer: L.Trainer) -> None:
        if trainer.global_step == self._saved_step or trainer.fast_dev_run:  # type: ignore
            return
        begin = time.monotonic()
        self._saving = True
        try:
            path = Path(trainer.default_root_dir) / LAST_CHECKPOINT
            trainer.save_checkpoint(path, weights_only=False)
        finally:
            self._saving = False
        self._saved_step, self._saved_at = trainer.global_step, time.monotonic()
        self._seconds = self._saved_at - begin

    def _release(self, trainer: L.Trainer) -> None:
        self._signals.release()
        vars(trainer.fit_loop.epoch_loop).pop(_ASKS, None)


def _batches_done(trainer: L.Trainer) -> int:
    """Of the epoch under way."""
    return trainer.fit_loop.epoch_loop.batch_progress.current.completed


def _accumulates(trainer: L.Trainer) -> bool:
    """Whether gradients are under way: batches were met since the last step of the epoch."""
    return _batches_done(trainer) % trainer.accumulate_grad_batches > 0


def _epoch_is_over(trainer: L.Trainer) -> bool:
    """Whether training stands between two epochs; one that max_steps cuts short is not over."""
    batches = trainer.fit_loop.epoch_loop.batch_progress
    done = batches.current.completed
    if batches.current.ready > done:  # the next batch is there already
        return done == 0
    return done >= trainer.num_training_batches or batches.is_last_batch


def _set_between_steps(loop: dict[str, Any], epoch_is_over: bool, accumulates: bool) -> None:
    """Makes Lightning's counts those of a state that it goes on from exactly.

    Between two epochs everything begun has ended. Within one, the last batch counts as processed
    but not completed, as Lightning has it when it calls `on_train_batch_end`: it then neither
    repeats the validation that came after it nor counts the step twice. It counts none where
    training was stopped while it accumulates gradients, which are lost then.
    """
    for epochs in (loop["epoch_progress"]["total"], loop["epoch_progress"]["current"]):
        ended = epochs["processed"] if epoch_is_over else epochs["ready"] - 1
        begun = ended + (not epoch_is_over)
        epochs.update(ready=begun, started=begun, processed=ended, completed=ended)
    progress = loop["epoch_loop.batch_progress"]
    progress["is_last_batch"] = False
    for batches in (progress["total"], progress["current"]):
        done = batches["completed"]
        if epoch_is_over and batches is progress["current"]:
            done = 0
        completed = done - (not epoch_is_over)
        batches.update(ready=done, started=done, processed=done, completed=completed)
    if not epoch_is_over and not accumulates:
        loop["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1
    validation = loop["epoch_loop.val_loop.batch_progress"]  # none is under way
    validation["is_last_batch"] = False
    for batches in (validation["total"], validation["current"]):
        batches.update(dict.fromkeys(batches, 0))
