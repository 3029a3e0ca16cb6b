"""Looks at whether all processes start from the same state, with the same pictures."""

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from dim_lightning.data import ImageDataModule
from dim_lightning.errors import InputError
from dim_lightning.processes import of_each


class JointStart(Callback):
    """Stops a training whose processes would start at different steps, or with different pictures.

    At different steps they start where the hosts do not see the same checkpoints. The weights would
    be those of the first process, but every process would have an optimiser and an epoch of its
    own. And of different pictures, as where a copy on a host's own disk lacks one, every process
    would deal training and validation out in another way.
    """

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Compares the steps and the hashes of the pictures.

        Raises:
            InputError: they differ; on every process.
        """
        steps = of_each(torch.tensor(trainer.global_step, device=pl_module.device)).tolist()
        if min(steps) < max(steps):
            raise InputError(
                f"the processes start at different steps: {steps}, in the order of their ranks; "
                "expected one step; let runs_dir lie on a disk that all hosts share"
            )
        data = getattr(trainer, "datamodule", None)
        if not isinstance(data, ImageDataModule):
            return
        known = torch.tensor(int(data.contents.sha256[:15], 16), device=pl_module.device)
        hashes = of_each(known).tolist()
        if min(hashes) < max(hashes):
            raise InputError(
                "the processes have different pictures, in the order of their ranks those of the "
                f"hashes {', '.join(f'{each:x}' for each in hashes)}; expected the same files on "
                "all hosts, and all of them readable; copy them again, and remove data.cache_dir's "
                "folders of them, or let data.root lie on a disk that all hosts share"
            )
