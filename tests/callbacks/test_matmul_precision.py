import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from tiny_run import digits, tiny_module, trainer

from dim_lightning.callbacks.matmul_precision import PlainValidation, multiplying
from dim_lightning.cli import main


class Seen(Callback):
    """Notes the precision of products in each part of a training."""

    def __init__(self):
        self.found = []

    def _note(self, where):
        self.found.append((where, torch.get_float32_matmul_precision()))

    def on_train_batch_end(self, *_):
        self._note("training")

    def on_validation_batch_end(self, *_):
        self._note("validation")


def test_validation_is_exact_and_training_goes_on_as_before(tmp_path):
    seen = Seen()
    limits = {"limit_train_batches": 2, "limit_val_batches": 1, "num_sanity_val_steps": 0}
    run = trainer(tmp_path, [PlainValidation("high", compiled=False), seen], 2, **limits)
    with multiplying("high"):
        run.fit(tiny_module(), digits(tmp_path))
    epoch = [("training", "high")] * 2 + [("validation", "highest")]
    assert seen.found == epoch * 2


def test_an_error_in_a_validation_leaves_the_process_as_in_training():
    plain = PlainValidation("high", compiled=False)
    with multiplying("high"):
        plain.on_validation_start(None, None)
        plain.on_exception(None, None, ValueError())
        assert torch.get_float32_matmul_precision() == "high"


@pytest.mark.usefixtures("plain_figures")
def test_the_command_trains_so_and_leaves_the_process_as_it_was(tmp_path, monkeypatch):
    seen, before = Seen(), torch.get_float32_matmul_precision()
    fit = L.Trainer.fit
    monkeypatch.setattr(
        L.Trainer, "fit", lambda self, *a, **k: (self.callbacks.append(seen), fit(self, *a, **k))
    )
    words = ["fit", "--data.source", "Digits", "--data.root", str(tmp_path), "--data.image_size"]
    words += ["16", "--runs_dir", str(tmp_path / "runs"), "--trainer.max_epochs", "1"]
    words += ["--trainer.limit_train_batches", "1", "--trainer.limit_val_batches", "1"]
    words += ["--trainer.accelerator", "cpu", "--matmul_precision", "medium"]
    assert main(words) == 0
    assert seen.found == [("training", "medium"), ("validation", "highest")]
    assert torch.get_float32_matmul_precision() == before
