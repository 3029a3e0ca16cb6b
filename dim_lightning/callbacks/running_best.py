"""The best of each accuracy so far, because a sweep looks at the last value of its metric."""

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from dim_lightning.callbacks.observation import LastTrained

_ENDING = "/top1"
_PREFIX = "best/"
_CLASSES = "num_classes"  # in a checkpoint, beside the values
_LEFT_OUT = (_PREFIX, "train/")  # the accuracy of a single training batch is none of validation


class RunningBest(Callback):
    """Logs `best/<name>`, the running maximum of each validation accuracy `<name>`.

    After every validation all of them are logged: one that was not measured this time keeps its
    value. They are in the checkpoint, so that a resumed run does not forget; it does where there is
    another number of classes, as accuracies are others then, or another module is trained. It has
    to stand behind the callbacks that measure.
    """

    def __init__(self) -> None:
        self._best: dict[str, float] = {}
        self._num_classes: int | None = None
        self._of = LastTrained()

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Drops values of another module."""
        if self._of.changes_to(pl_module):
            self._best.clear()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Drops values of other classes than there are."""
        data = getattr(trainer, "datamodule", None)
        num_classes = getattr(data, "num_classes", None)
        if self._num_classes not in (None, num_classes):
            self._best.clear()
        self._num_classes = num_classes

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Compares and logs."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        for name, found in trainer.callback_metrics.items():
            if name.endswith(_ENDING) and not name.startswith(_LEFT_OUT):
                value = float(found)
                if value > self._best.get(name, float("-inf")):  # which a NaN never is
                    self._best[name] = value
        for name, value in self._best.items():
            pl_module.log(f"{_PREFIX}{name}", value, sync_dist=True)

    def state_dict(self) -> dict[str, Any]:
        """The best values, and of how many classes they are."""
        return {**self._best, _CLASSES: self._num_classes}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes them up."""
        self._of = LastTrained()
        self._best = {name: value for name, value in state_dict.items() if name != _CLASSES}
        self._num_classes = state_dict[_CLASSES]
