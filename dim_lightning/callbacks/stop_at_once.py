"""Requests to terminate outside of training."""

import signal
import threading

import lightning as L
from lightning.pytorch.callbacks import Callback

from dim_lightning.run.signals import stop


class StopAtOnce(Callback):
    """Lets SIGTERM end validate, test and predict wherever they are.

    There is nothing to save, and files are written whole or not at all. Lightning only notes the
    signal, and looks at its note between the steps of training.
    """

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Takes the signal over; Lightning puts the handler back that was there before."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, stop)

    on_test_start = on_predict_start = on_validation_start
