"""The step at which loggers keep what a test finds."""

import lightning as L
from lightning.pytorch.callbacks import Callback

from dim_lightning.callbacks.observation import trained


class LoggedStep(Callback):
    """Lets what `test` logs stand at the epoch and the step that the weights are of.

    Lightning restores its counts in `fit` alone: terms of test images would stand at step 0.
    """

    def __init__(self) -> None:
        self._before = 0, 0

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Sets the counts that Lightning logs by."""
        epochs, steps = trained(trainer, pl_module)
        loop = trainer.fit_loop
        self._before = loop.epoch_progress.current.completed, loop.epoch_loop._batches_that_stepped
        _set(trainer, max(0, epochs - 1), steps)  # epochs from 0, as in fit

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Puts them back, by which a training of the same Trainer goes on."""
        _set(trainer, *self._before)


def _set(trainer: L.Trainer, epoch: int, step: int) -> None:
    trainer.fit_loop.epoch_progress.current.completed = epoch
    trainer.fit_loop.epoch_loop._batches_that_stepped = step
