"""A training that waits."""

import time
from pathlib import Path

from lightning.pytorch.callbacks import Callback


class Gate(Callback):
    """Each epoch but the first waits for a file, or for a signal that ends the training.

    It goes on after ten minutes, so that no training is left behind by a test that fails.

    Args:
        path: of the files, which the number of the epoch, from 1, follows.
    """

    def __init__(self, path: str):
        self.path = path

    def on_train_epoch_start(self, trainer, pl_module):
        epoch, end = trainer.current_epoch, time.monotonic() + 600
        signals = trainer.checkpoint_callback._signals
        while epoch and time.monotonic() < end:
            if signals.received or Path(f"{self.path}{epoch}").exists():
                break
            time.sleep(0.05)
