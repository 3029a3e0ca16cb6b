"""Callbacks that send this process a signal, as a scheduler or a person would."""

import os
import signal

from lightning.pytorch.callbacks import Callback


class SignalInStep(Callback):
    """In the middle of a step of training.

    Args:
        step: of the optimiser, from 0.
        name: of the signal.
    """

    def __init__(self, step: int, name: str = "SIGTERM"):
        self.step = step
        self.name = name

    def on_before_zero_grad(self, trainer, pl_module, optimizer):
        if trainer.global_step == self.step:
            os.kill(os.getpid(), getattr(signal, self.name))


class SignalInEvaluation(Callback):
    """After the first batch of validate, test or predict."""

    def on_validation_batch_end(self, *_):
        os.kill(os.getpid(), signal.SIGTERM)

    on_test_batch_end = on_predict_batch_end = on_validation_batch_end
