"""Nothing in a training step waits for the device: counted where a device would be asked."""

from collections import Counter
from functools import partial

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from dim_lightning.callbacks import Checkpoints, Geometry, LinearProbe, Neighbours
from dim_lightning.callbacks.non_finite import NonFiniteGuard
from dim_lightning.callbacks.running_best import RunningBest
from dim_lightning.callbacks.screen import EpochLines
from dim_lightning.data import CropColour, Digits, ImageDataModule
from dim_lightning.encoders import BlogEncoder
from dim_lightning.infomax.critics import DotCritic
from dim_lightning.infomax.deep_infomax import DeepInfoMax
from dim_lightning.infomax.estimators import info_nce
from dim_lightning.infomax.priors import AdversarialPrior
from dim_lightning.run.metrics import MetricsFile

FIRST, STEPS = 3, 8  # the steps that are watched, before the first that is logged
WAITING = {"cpu", "item", "tolist", "numpy", "__bool__", "__float__", "__int__", "__index__"}


class Values(TorchDispatchMode):
    """Counts values that are read from a tensor, whoever reads them."""

    def __init__(self, found):
        super().__init__()
        self.found = found

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default):
            self.found[str(function)] += 1
        return function(*args, **(kwargs or {}))


class Calls(TorchFunctionMode):
    """Counts the calls of Python that would bring a tensor to the host."""

    def __init__(self, found):
        super().__init__()
        self.found = found

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", "")
        if name in WAITING:
            self.found[name] += 1
        return function(*args, **(kwargs or {}))


class Watch(Callback):
    """Watches some steps from one to the next, everything between them included."""

    def __init__(self):
        self.found = Counter()
        self.modes = [Values(self.found), Calls(self.found)]

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if batch_idx == FIRST:
            for mode in self.modes:
                mode.__enter__()
        if batch_idx == STEPS:
            self.stop()

    def stop(self):
        for mode in reversed(self.modes):
            mode.__exit__(None, None, None)


class Curious(Callback):
    """Does what must not be done."""

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        float(outputs["loss"])


def reads(tmp_path, *callbacks, **settings):
    """What was read in the watched steps of a training with all that a run has."""
    watch = Watch()
    observers = [LinearProbe(), Neighbours(), Geometry(), RunningBest(), EpochLines()]
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=STEPS + 1,
        log_every_n_steps=100,
        logger=MetricsFile(tmp_path),
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        limit_val_batches=0,
        callbacks=[watch, *observers, NonFiniteGuard(tmp_path / "x"), Checkpoints(), *callbacks],
    )
    datamodule = ImageDataModule(
        Digits(), str(tmp_path), image_size=16, augmentation=CropColour(blur_prob=0.5), num_views=2
    )
    module = DeepInfoMax(
        partial(BlogEncoder, widths=(8, 16), embedding_dim=8),
        optimizer=partial(torch.optim.Adam, fused=True),
        image_size=16,
        **settings,
    )
    trainer.fit(module, datamodule)
    return watch.found


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {
            "local_critic": DotCritic,
            "estimator": info_nce,
            "num_negatives": "all",
            "num_locations": 2,
            "prior": AdversarialPrior,
            "score_penalty": 0.01,
        },
    ],
    ids=["blog", "all pairs"],
)
def test_no_value_is_read_between_logged_steps(tmp_path, settings):
    assert reads(tmp_path, **settings) == {}


def test_a_value_that_is_read_is_counted(tmp_path):
    found = reads(tmp_path, Curious())
    assert found["aten._local_scalar_dense.default"] == STEPS - FIRST
