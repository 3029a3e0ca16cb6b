"""What a method of one's own is told when it gives something else than terms."""

from functools import partial

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from small_methods import SIZE, batch, digits, encoder, trainer

from dim_lightning import EncoderModule
from dim_lightning.data import CropAndFlip
from dim_lightning.encoders import BlogEncoder
from dim_lightning.errors import InputError
from dim_lightning.parts import check_parts, part_text
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


def test_a_loader_of_something_else_is_said():
    with pytest.raises(InputError, match="gives list; expected dim_lightning"):
        Own(lambda code, loss: (code, {}))._step([torch.rand(2, 3, SIZE, SIZE)], "train", (0, 0))


def test_a_trainer_alone_looks_at_the_data_too(tmp_path):
    data = digits(tmp_path, num_views=2, augmentation=CropAndFlip())
    with pytest.raises(InputError, match="Own has a use for one"):
        trainer(tmp_path, max_steps=1).fit(Own(lambda code, loss: (code, {"loss": loss})), data)


BLOG = "dim_lightning.encoders.blog.BlogEncoder"
HERE = f"{__name__}.test_parts_as_text.<locals>"


def test_parts_as_text():
    def local():
        pass

    for part, text in {
        BlogEncoder: BLOG,
        local: f"{HERE}.local",
        partial(
            BlogEncoder, 32, widths=(4,), norm=None
        ): f"partial({BLOG}, 32, norm=None, widths=(4,))",
        partial(
            local, inner=partial(local, 0.5)
        ): f"partial({HERE}.local, inner=partial({HERE}.local, 0.5))",
        (lambda: None): f"{HERE}.<lambda>",
        ("a", local): f"['a', {HERE}.local]",
        CropAndFlip(): "dim_lightning.data.augmentation.crop_and_flip.CropAndFlip",
        str.upper: "str.upper",
        None: "None",
    }.items():
        assert part_text(part) == text


def test_a_part_that_lies_in_another_module_is_taken_with_a_warning():
    with pytest.warns(UserWarning, match=f"encoder was __main__.BlogEncoder, here it is {BLOG}"):
        check_parts("Own", {"encoder": "__main__.BlogEncoder"}, {"encoder": BlogEncoder})


@pytest.mark.parametrize(("was", "now"), [(1.5, 0.5), ("a.b", "c.b")])
def test_a_part_in_another_module_with_other_settings_is_refused(was, now):
    with pytest.raises(InputError, match="encoder was partial"):
        check_parts(
            "Own",
            {"encoder": f"partial(__main__.BlogEncoder, widths={was!r})"},
            {"encoder": partial(BlogEncoder, widths=now)},
        )


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
