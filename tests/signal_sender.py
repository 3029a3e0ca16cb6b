"""What sends this process a signal in the middle of its work, as a scheduler or a person would."""

import os
import signal

from lightning.pytorch.callbacks import Callback

from dim_lightning.data.sources import Digits


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


class SignalInReading(Digits):
    """Pictures, while they are read.

    Args:
        name: of the signal.
    """

    def __init__(self, name: str):
        self.name = name

    def find(self, root):
        return super().find(root)._replace(read=self._stop)

    def _stop(self):
        os.kill(os.getpid(), getattr(signal, self.name))
