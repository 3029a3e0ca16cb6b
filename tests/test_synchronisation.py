"""Nothing in a training step waits for the device: counted where a device would be asked."""

import sys
from collections import Counter
from functools import partial

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from small_methods import SETTINGS as METHODS
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from dim_lightning.baselines import NAT
from dim_lightning.callbacks import Checkpoints, Geometry, LinearProbe, Neighbours
from dim_lightning.callbacks.non_finite import NonFiniteGuard
from dim_lightning.callbacks.running_best import RunningBest
from dim_lightning.callbacks.screen import EpochLines
from dim_lightning.data import CropColour, Digits, ImageDataModule
from dim_lightning.encoders import BlogEncoder, StridedEncoder
from dim_lightning.infomax.aspects import ImageCode
from dim_lightning.infomax.coordinates import Coordinates
from dim_lightning.infomax.critics import BilinearCritic, DotCritic
from dim_lightning.infomax.deep_infomax import DeepInfoMax
from dim_lightning.infomax.estimators import donsker_varadhan, info_nce
from dim_lightning.infomax.occlusion import Occlusion
from dim_lightning.infomax.priors import AdversarialPrior, NoiseInjection, SIGReg
from dim_lightning.optim import MuonAdamW, WarmupCosine
from dim_lightning.run.metrics import MetricsFile

FIRST, STEPS = 3, 8  # the steps that are watched, before the first that is logged
WAITING = {"cpu", "item", "tolist", "numpy", "__bool__", "__float__", "__int__", "__index__"}
aten = torch.ops.aten
READING = {
    aten._local_scalar_dense.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten._unique2.default,
    aten.unique_dim.default,
    aten.equal.default,
    aten.repeat_interleave.Tensor,
    aten.lift_fresh.default,  # of numbers on the host, which a device would be waited for to take
}
CHOOSING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default}


def fetching():
    """Whether a batch is being fetched: on the host, from host memory."""
    frame = sys._getframe()
    while frame is not None and frame.f_code.co_name != "__getitems__":
        frame = frame.f_back
    return frame is not None


class Values(TorchDispatchMode):
    """Counts values that are read from a tensor, whoever reads them."""

    def __init__(self, found):
        super().__init__()
        self.found = found

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        # how many are chosen by a mask has to be read
        chosen = args[1] if function in CHOOSING else ()
        masked = any(index is not None and index.dtype == torch.bool for index in chosen)
        if (function in READING or masked) and not fetching():
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
        self.found, self.is_on = Counter(), False
        self.modes = [Values(self.found), Calls(self.found)]

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if batch_idx == FIRST:
            self.is_on = True
            for mode in self.modes:
                mode.__enter__()
        if batch_idx == STEPS:
            self.stop()

    def stop(self):
        for mode in reversed(self.modes if self.is_on else []):
            mode.__exit__(None, None, None)
        self.is_on = False


class Curious(Callback):
    """Does what must not be done."""

    def __init__(self, read):
        self.read = read

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.read(outputs)


fused = partial(torch.optim.Adam, fused=True)  # others count their steps on the host
blog = partial(
    DeepInfoMax,
    encoder=partial(BlogEncoder, widths=(8, 16), embedding_dim=8),
    optimizer=fused,
)


def reads(tmp_path, *callbacks, method=blog, accelerator="cpu", watch=None, **settings):
    """What was read in the watched steps of a training with all that a run has."""
    watch = watch or Watch()
    data = settings.pop("data", {"num_views": 2, "augmentation": CropColour(blur_prob=0.5)})
    observers = [LinearProbe(), Neighbours(), Geometry(), RunningBest(), EpochLines()]
    trainer = L.Trainer(
        accelerator=accelerator,
        devices=1,
        max_steps=STEPS + 1,
        log_every_n_steps=100,
        logger=MetricsFile(tmp_path),
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        limit_val_batches=0,
        callbacks=[watch, *observers, NonFiniteGuard(tmp_path / "x"), Checkpoints(), *callbacks],
    )
    datamodule = ImageDataModule(Digits(), root=str(tmp_path), image_size=16, **data)
    try:
        trainer.fit(method(image_size=16, **settings), datamodule)
    finally:
        watch.stop()  # whatever ended it: later tests are not watched
    return watch.found


INFOMAX = {
    "blog": {},
    "all pairs": {
        "local_critic": DotCritic,
        "estimator": info_nce,
        "num_negatives": "all",
        "num_locations": 2,
        "prior": AdversarialPrior,
        "score_penalty": 0.01,
    },
    "fast": {
        "encoder": partial(StridedEncoder, widths=(8, 8, 16)),
        "local_critic": BilinearCritic,
        "global_critic": partial(DotCritic, width=8),
        "global_aspect": ImageCode,
        "estimator": info_nce,
        "num_negatives": "all",
        "prior_weight": 0.0,
        "optimizer": MuonAdamW,
        "lr_scheduler": WarmupCosine,
        "data": {
            "num_views": 2,
            "augmentation": CropColour(),
            "num_small_views": 2,
            "small_augmentation": CropColour(size=8),
            "view_sizes": [(0, 8)],
        },
    },
    "structure": {
        "local_critic": partial(DotCritic, width=8),
        "estimator": donsker_varadhan,
        "num_negatives": "all",
        "prior": SIGReg,
        "coordinate_weight": 1.0,
        "coordinates": partial(Coordinates, width=8, absolute=True, relative=True),
        "occlusion": Occlusion(),
        "data": {},
    },
    "noise": {"prior": NoiseInjection, "prior_weight": 0.1, "data": {}},
}


@pytest.mark.parametrize("settings", INFOMAX.values(), ids=INFOMAX)
def test_no_value_is_read_between_logged_steps(tmp_path, settings):
    assert reads(tmp_path, **settings) == {}


@pytest.mark.parametrize(
    "method", [method for method in METHODS if method not in (DeepInfoMax, NAT)]
)
def test_no_baseline_reads_a_value_between_logged_steps(tmp_path, method):
    settings = METHODS[method] | {"optimizer": fused, "data": {}}
    assert reads(tmp_path, method=method, **settings) == {}


def test_only_dealing_out_reads_of_noise_as_targets(tmp_path):
    found = reads(tmp_path, method=NAT, **METHODS[NAT], optimizer=fused, data={})
    assert set(found) <= {"cpu", "numpy", "aten.lift_fresh.default"}
    assert found["cpu"] == STEPS - FIRST


@pytest.mark.parametrize(
    ("read", "name"),
    [
        (lambda outputs: float(outputs["loss"]), "aten._local_scalar_dense.default"),
        (lambda outputs: outputs["labels"][outputs["labels"] > 0], "aten.index.Tensor"),
        (lambda outputs: torch.tensor([1.0]), "aten.lift_fresh.default"),
    ],
    ids=["number", "mask", "numbers of the host"],
)
def test_a_value_that_is_read_is_counted(read, name, tmp_path):
    assert reads(tmp_path, Curious(read))[name] == STEPS - FIRST


class Refusing(Watch):
    """Lets CUDA itself raise wherever the host would wait for the device."""

    def __init__(self):
        super().__init__()
        self.modes = [self]

    def __enter__(self):
        torch.cuda.set_sync_debug_mode("error")

    def __exit__(self, *_):
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("settings", INFOMAX.values(), ids=INFOMAX)
def test_the_host_never_waits_for_a_gpu(tmp_path, settings):
    reads(tmp_path, accelerator="gpu", watch=Refusing(), **settings)
