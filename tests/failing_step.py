"""A callback that brings one of several processes down."""

from lightning.pytorch.callbacks import Callback


class OutOfMemory(Callback):
    """In the second step, on one process.

    Args:
        process: its number, from 0.
    """

    def __init__(self, process: int):
        self.process = process

    def on_before_zero_grad(self, trainer, pl_module, optimizer):
        if (trainer.global_step, trainer.global_rank) == (1, self.process):
            raise MemoryError
