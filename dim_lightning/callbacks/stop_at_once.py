"""Requests to terminate outside of training."""

import signal
import threading
from typing import Any

from lightning.pytorch.callbacks import Callback

from dim_lightning.run.signals import stop


class StopAtOnce(Callback):
    """Lets SIGTERM end validate, test and predict wherever they are.

    There is nothing to save, and files are written whole or not at all. Lightning only notes the
    signal, and looks at its note between the steps of training.
    """

    def on_validation_start(self, *_: Any) -> None:
        """Takes the signal over."""
        _take_over()

    def on_test_start(self, *_: Any) -> None:
        """Takes the signal over."""
        _take_over()

    def on_predict_start(self, *_: Any) -> None:
        """Takes the signal over."""
        _take_over()


def _take_over() -> None:
    """Lightning puts the handler back that was there before."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, stop)
