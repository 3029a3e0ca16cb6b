"""The bar on a terminal: images, terms, and lines that stay."""

import io
from types import SimpleNamespace

import torch

from dim_lightning.callbacks.screen import TerminalBar, epoch_line


def _trainer(**values):
    defaults = {
        "current_epoch": 1,
        "max_epochs": 5,
        "world_size": 1,
        "num_training_batches": 3,
        "train_dataloader": SimpleNamespace(batch_size=4),
        "callback_metrics": {},
    }
    return SimpleNamespace(**{**defaults, **values})


def _outputs():
    return {"embedding": torch.zeros(4, 2), "terms": {"loss": torch.tensor(1.25)}}


def test_the_bar_counts_images_and_names_the_terms():
    stream = io.StringIO()
    bar, trainer = TerminalBar(stream), _trainer()
    bar.on_train_epoch_start(trainer, None)
    bar.on_train_batch_end(trainer, None, _outputs(), None, 0)
    bar._bar.refresh()
    text = stream.getvalue()
    assert "epoch 2/5" in text
    assert "4/12" in text
    assert "images/s" in text
    assert "loss 1.250" in text
    bar.on_train_epoch_end()
    assert stream.getvalue().endswith("\r")


def test_a_disabled_bar_is_silent():
    stream = io.StringIO()
    bar = TerminalBar(stream)
    bar.disable()
    bar.on_train_epoch_start(_trainer(), None)
    bar.on_train_batch_end(_trainer(), None, _outputs(), None, 0)
    bar.print("words")
    assert stream.getvalue() == ""
    assert not bar.is_enabled


def test_a_line_has_terms_accuracies_and_speed():
    metrics = {
        "train/loss": 1.0,
        "train/local": -0.5,
        "val/loss": 9.0,
        "probe/online/top1": 0.8123,
        "knn/cosine/k20_t0.07/top1": 0.7,
        "geometry/effective_rank": 12.34,
        "speed/images_per_second": 1234.5,
    }
    trainer = _trainer(callback_metrics={n: torch.tensor(v) for n, v in metrics.items()})
    assert epoch_line(trainer) == (
        "epoch 2/5  loss 1.000  local -0.500  probe 81.2%  kNN 70.0%  effective rank 12.3  "
        "1,234 images/s"
    )
