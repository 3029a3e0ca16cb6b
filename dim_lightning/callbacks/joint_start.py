"""Looks at whether all processes start from the same state."""

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from dim_lightning.errors import InputError
from dim_lightning.processes import of_each


class JointStart(Callback):
    """Stops a training whose processes would start at different steps.

    They do where the hosts do not see the same checkpoints. The weights would be those of the first
    process, but every process would have an optimiser and an epoch of its own.
    """

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Compares the steps.

        Raises:
            InputError: they differ; on every process.
        """
        steps = of_each(torch.tensor(trainer.global_step, device=pl_module.device)).tolist()
        if min(steps) < max(steps):
            raise InputError(
                f"the processes start at different steps: {steps}, in the order of their ranks; "
                "expected one step; let runs_dir lie on a disk that all hosts share"
            )
