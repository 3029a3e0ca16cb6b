"""What a method of one's own is told when it gives something else than terms."""

from enum import Enum
from inspect import signature

import numpy as np
import pytest
import torch
from lightning import LightningDataModule
from lightning.pytorch.callbacks import Callback
from small_methods import SETTINGS, SIZE, batch, build, digits, encoder, trainer

import dim_lightning
from dim_lightning import EncoderModule
from dim_lightning.baselines import Autoencoder
from dim_lightning.callbacks import LinearProbe
from dim_lightning.data import CropAndFlip, ImageDataModule
from dim_lightning.errors import InputError
from dim_lightning.optim import WarmupCosine
from dim_lightning.run.metrics import MetricsFile, read_metrics


class Own(EncoderModule):
    """The codes and the terms that it is given."""

    def __init__(self, gives):
        super().__init__(encoder, torch.optim.Adam, None, SIZE, 0)
        self.gives = gives

    def code_and_terms(self, batch, generator):
        code = self(batch.images)
        return self.gives(code, code.square().mean())


WRONG = {
    "gives Tensor; expected a pair": lambda code, loss: loss,
    r"as codes \[8, 3\]; expected": lambda code, loss: (code[:, :3], {"loss": loss}),
    r"as terms \['total'\]; expected a dict": lambda code, loss: (code, {"total": loss}),
    "as terms Tensor": lambda code, loss: (code, loss),
    r"the term 'each' as \[8\]": lambda code, loss: (code, {"loss": loss, "each": code[:, 0]}),
    "the term 'size' as float": lambda code, loss: (code, {"loss": loss, "size": 1.0}),
    "without gradient": lambda code, loss: (code, {"loss": loss.detach()}),
}


@pytest.mark.parametrize("said", WRONG)
def test_a_wrong_return_is_said(said):
    with pytest.raises(InputError, match=said):
        Own(WRONG[said])._step(batch(), "train", (0, 0))


def test_no_terms_are_allowed_where_there_can_be_none():
    output = Own(lambda code, loss: (code, {}))._step(batch(), "val", (0, 0))
    assert sorted(output) == ["embedding", "labels"]


def test_training_batches_have_terms():
    with pytest.raises(
        InputError, match=r"Own.* no terms for 8 training images in 1 views.*num_views.*batch_size"
    ):
        Own(lambda code, loss: (code, {}))._step(batch(), "train", (0, 0))


class TwoViews(Own):
    """Compares views, of which validation has none to compare."""

    least_views = 2

    def code_and_terms(self, batch, generator):
        batch.more_views[0]
        return super().code_and_terms(batch, generator)


def test_a_method_says_how_many_views_it_needs(tmp_path):
    module = TwoViews(lambda code, loss: (code, {"loss": loss}))
    with pytest.raises(
        InputError, match=r"gives 1 view of .*, and TwoViews needs at least 2; set "
    ):
        trainer(tmp_path, max_steps=1).fit(module, digits(tmp_path))
    small = {"small_augmentation": CropAndFlip(), "num_small_views": 1}
    module.check_data(digits(tmp_path, augmentation=CropAndFlip(), **small), 512)


def test_the_first_validation_says_that_it_has_one_view(tmp_path):
    module = TwoViews(lambda code, loss: (code, {"loss": loss}))
    data = digits(tmp_path, augmentation=CropAndFlip(), num_views=2)
    with pytest.raises(InputError, match=r"TwoViews.code_and_terms needs batch\.more_views"):
        trainer(tmp_path, max_steps=1).fit(module, data)


def test_a_loader_of_something_else_is_said():
    with pytest.raises(InputError, match="gives list; expected dim_lightning"):
        Own(lambda code, loss: (code, {}))._step([torch.rand(2, 3, SIZE, SIZE)], "train", (0, 0))


def test_a_trainer_alone_looks_at_the_data_too(tmp_path):
    data = digits(tmp_path, num_views=2, augmentation=CropAndFlip())
    with pytest.raises(InputError, match="Own has a use for one"):
        trainer(tmp_path, max_steps=1).fit(Own(lambda code, loss: (code, {"loss": loss})), data)


def test_the_datas_images_have_the_size_that_the_model_was_made_for(tmp_path):
    module = Own(lambda code, loss: (code, {"loss": loss}))
    with pytest.raises(InputError, match="images of 16 pixels, and Own was made for 8"):
        trainer(tmp_path, max_steps=1).fit(module, digits(tmp_path, image_size=16))


def test_a_loader_without_its_module_is_said(tmp_path):
    data = digits(tmp_path)
    data.prepare_data()
    data.setup("fit")
    module = Own(lambda code, loss: (code, {"loss": loss}))
    loaders = data.train_dataloader(), data.val_dataloader()
    with pytest.raises(InputError, match=r"images are uint8; .* pass the ImageDataModule itself"):
        trainer(tmp_path, max_steps=1).fit(module, *loaders)


def test_codes_of_bytes_are_refused():
    with pytest.raises(InputError, match="images are uint8; expected floats"):
        Own(None)(torch.ones(2, 3, SIZE, SIZE, dtype=torch.uint8))


def test_prediction_by_a_loader_without_its_module_is_said(tmp_path):
    data = digits(tmp_path)
    data.prepare_data()
    data.setup("predict")
    module = Own(lambda code, loss: (code, {"loss": loss}))
    with pytest.raises(InputError, match=r"images are uint8; .* pass the ImageDataModule itself"):
        trainer(tmp_path).predict(module, data.clean_dataloader("val"))


@pytest.mark.parametrize("data", [None, LightningDataModule()])
def test_callbacks_need_an_image_data_module(tmp_path, data):
    module = Own(lambda code, loss: (code, {"loss": loss}))
    run = trainer(tmp_path, max_steps=1, callbacks=[LinearProbe()])
    run.datamodule = data
    with pytest.raises(InputError, match="callbacks of dim_lightning need an ImageDataModule"):
        LinearProbe().setup(run, module, "fit")


def decayed(params):
    """AdamW that leaves small parameters' size alone."""
    large = {"params": [p for p in params if p.ndim > 1]}
    small = {"params": [p for p in params if p.ndim <= 1], "weight_decay": 0.0}
    return torch.optim.AdamW([large, small])


def test_groups_of_parameters_hold_all_of_them(tmp_path):
    """A factory may go through the parameters twice."""
    module = build(Autoencoder, optimizer=decayed)
    run = trainer(tmp_path, max_steps=1)
    run.fit(module, digits(tmp_path))
    sizes = [len(group["params"]) for group in run.optimizers[0].param_groups]
    assert min(sizes) > 0
    assert sum(sizes) == len(list(module.parameters()))


class SlowHead(Autoencoder):
    """Its decoder has a rate of its own."""

    def parameter_groups(self):
        encoder, decoder = (list(part.parameters()) for part in (self.encoder, self.decoder))
        return [{"params": encoder}, {"params": decoder, "lr": 0.25}]


def test_a_method_makes_groups_of_its_parameters(tmp_path):
    module = SlowHead(**SETTINGS[Autoencoder], image_size=SIZE, optimizer=torch.optim.SGD)
    run = trainer(tmp_path, max_steps=1)
    run.fit(module, digits(tmp_path))
    groups = run.optimizers[0].param_groups
    assert [group["lr"] for group in groups] == [1e-3, 0.25]
    assert {id(p) for p in groups[1]["params"]} == {id(p) for p in module.decoder.parameters()}


def test_a_schedule_that_needs_a_figure_is_refused(tmp_path):
    module = build(Autoencoder, lr_scheduler=torch.optim.lr_scheduler.ReduceLROnPlateau)
    with pytest.raises(InputError, match=r"ReduceLROnPlateau, .* set model\.lr_scheduler to Warm"):
        trainer(tmp_path, max_steps=1).fit(module, digits(tmp_path))


class Kind(str, Enum):
    """A text that is a class as well."""

    SMALL = "small"


def test_numbers_of_numpy_are_plain_in_a_checkpoint(tmp_path):
    module = build(Autoencoder)
    module.hparams.update(
        seed=np.int64(3), rate=np.float64(0.5), kind=Kind.SMALL, widths=(np.int32(4), 2)
    )
    run = trainer(tmp_path, max_steps=1)
    run.fit(module, digits(tmp_path))
    run.save_checkpoint(tmp_path / "end.ckpt")
    found = torch.load(tmp_path / "end.ckpt", weights_only=True)
    kept = found["hyper_parameters"]
    assert [kept[name] for name in ("seed", "rate", "kind", "widths")] == [3, 0.5, "small", (4, 2)]
    assert {type(kept[name]) for name in ("seed", "rate", "kind")} == {int, float, str}
    assert found["dim_lightning"] == dim_lightning.__version__
    with pytest.warns(UserWarning, match="that Autoencoder does not have: kind, rate, widths; "):
        build(Autoencoder).on_load_checkpoint(found)


class Told(MetricsFile):
    """Keeps what it is told of the settings."""

    def log_hyperparams(self, params):
        self.params = dict(params)


def test_it_knows_how_far_its_weights_are(tmp_path):
    module, stored = build(Autoencoder), tmp_path / "one.ckpt"
    first = trainer(tmp_path, max_epochs=1)
    first.fit(module, digits(tmp_path))
    first.save_checkpoint(stored)
    steps = first.global_step
    second = trainer(tmp_path, max_epochs=3)
    second.fit(module, digits(tmp_path), ckpt_path=stored, weights_only=True)
    assert module.trained == (3, 3 * steps)
    loaded = Autoencoder.load_from_checkpoint(stored, **SETTINGS[Autoencoder], weights_only=True)
    assert loaded.trained == (1, steps)


def test_loggers_of_a_script_get_the_settings(tmp_path):
    log = Told(tmp_path)
    trainer(tmp_path, max_steps=1, logger=log).fit(build(Autoencoder), digits(tmp_path))
    assert log.params["image_size"] == SIZE
    assert log.params["encoder"].startswith("partial(dim_lightning.encoders.paper.PaperEncoder")


def test_loggers_of_a_script_get_the_settings_of_the_data(tmp_path):
    log, data = Told(tmp_path), digits(tmp_path, split_seed=3, augmentation=CropAndFlip())
    trainer(tmp_path, max_steps=1, logger=log).fit(build(Autoencoder), data)
    told = {name: value for name, value in log.params.items() if name.startswith("data.")}
    assert told.keys() == {f"data.{name}" for name in signature(ImageDataModule).parameters}
    assert told["data.source"] == "dim_lightning.data.sources.digits.Digits"
    assert "CropAndFlip" in told["data.augmentation"]
    assert (told["data.split_seed"], told["data.batch_size"]) == (3, 512)
    assert (told["data.root"], told["data.cache_dir"]) == (str(tmp_path), str(tmp_path / "cache"))
    assert told["data.num_small_views"] == 0


@pytest.mark.parametrize("precision", ["bf16-true", "16-true", "64-true"])
def test_a_precision_in_which_nothing_is_trained_is_refused(tmp_path, precision):
    run = trainer(tmp_path, max_steps=1, precision=precision)
    with pytest.raises(InputError, match=rf"trainer\.precision is {precision}, but .* float32; "):
        run.fit(build(Autoencoder), digits(tmp_path))


def test_an_optimiser_needs_no_trainer():
    """As of a loop of one's own, or of Fabric."""
    module = build(Autoencoder, lr_scheduler=WarmupCosine)
    made = module.configure_optimizers()
    assert isinstance(made["optimizer"], torch.optim.Adam)
    assert made["lr_scheduler"]["scheduler"].optimizer is made["optimizer"]


def test_a_seed_that_nothing_can_be_drawn_from_is_refused_as_the_module_is_made():
    with pytest.raises(InputError, match=r"^model\.seed is -1; expected at least 0"):
        build(Autoencoder, seed=-1)


class Stop(Callback):
    """Asks to stop at the end of the third step; notes the losses."""

    def __init__(self):
        self.losses = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.losses.append(outputs["terms"]["loss"].item())
        trainer.should_stop |= trainer.global_step == 3


@pytest.mark.parametrize("least", [None, 5])
def test_a_stop_writes_the_terms_of_its_own_step(tmp_path, least):
    """From there on Lightning writes each step, of which there are more with min_steps."""
    module, stop = Own(lambda code, loss: (code, {"loss": loss})), Stop()
    options = {"log_every_n_steps": 2, "max_epochs": 1, "min_steps": least, "callbacks": [stop]}
    run = trainer(tmp_path, logger=MetricsFile(tmp_path), **options)
    run.fit(module, digits(tmp_path, batch_size=200))
    written = read_metrics(tmp_path)["train/loss"]
    assert {point.step: point.value for point in written} == pytest.approx(
        dict(enumerate(stop.losses[1:], 1))
    )
