"""The step at which loggers keep what a test finds."""

import lightning as L
from lightning.pytorch.callbacks import Callback

from dim_lightning.callbacks.observation import trained


class LoggedStep(Callback):
    """Lets what `test` logs stand at the epoch and the step that the weights are of.

    Lightning restores its counts in `fit` alone: terms of test images would stand at step 0.
    """

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Sets the counts that Lightning logs by."""
        epochs, steps = trained(trainer, pl_module)
        trainer.fit_loop.epoch_loop._batches_that_stepped = steps
        trainer.fit_loop.epoch_progress.current.completed = max(0, epochs - 1)  # from 0, as in fit
