"""A host that loses its power, for a process to bring about itself, at the step it is told."""

import os
import signal

from lightning.pytorch.callbacks import Callback


class PowerCut(Callback):
    """Kills torchrun and this worker of it at the step in POWER_CUT_AT, if there is one."""

    def __init__(self):
        self.parent = os.getppid()

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == int(os.environ.get("POWER_CUT_AT", "-1")):
            if os.getppid() == self.parent:  # else another worker has killed it: it is a stranger
                os.kill(self.parent, signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
