import pytest
import torch
from lightning.pytorch.callbacks import Callback
from PIL import Image
from tiny_run import digits, tiny_module, trainer

from dim_lightning.callbacks import Geometry, Neighbours
from dim_lightning.callbacks.observation import check_finite
from dim_lightning.errors import InputError
from dim_lightning.evaluation import Extracted, extract, geometry_of


def test_the_logged_figures_are_those_of_the_clean_validation_codes(tmp_path, digits_root):
    data, module, run = digits(digits_root), tiny_module(), trainer(tmp_path, [Geometry()])
    run.fit(module, data)
    seen = extract(module.encoder, data.clean_dataloader("val"))
    expected = geometry_of(seen.code, seen.log_variance).summary()
    logged = {
        name.removeprefix("geometry/"): value.item()
        for name, value in run.callback_metrics.items()
        if name.startswith("geometry/")
    }
    assert logged == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert 1 < logged["effective_rank"] <= 6
    assert logged["aggregate_std_mean"] > logged["std_mean"]


def test_the_picture_is_drawn(tmp_path, digits_root):
    run = trainer(tmp_path, [Geometry(num_images=50)], limit_train_batches=1)
    run.fit(tiny_module(), digits(digits_root))
    with Image.open(tmp_path / "pictures" / "embedding_statistics.png") as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 600


def test_in_bfloat16_the_figures_are_finite(tmp_path, digits_root):
    run = trainer(tmp_path, [Geometry()], precision="bf16-mixed", limit_train_batches=1)
    run.fit(tiny_module(), digits(digits_root))
    assert 1 < run.callback_metrics["geometry/effective_rank"] <= 6


def test_the_picture_is_drawn_at_its_epochs_only(tmp_path, digits_root):
    callback = Geometry(num_images=50, every_n_epochs=2)
    drawn = []

    class Watch(Callback):
        def on_validation_end(self, trainer, pl_module):
            path = tmp_path / "pictures" / "embedding_statistics.png"
            drawn.append(path.is_file())
            path.unlink(missing_ok=True)

    options = {"epochs": 3, "num_sanity_val_steps": 0, "limit_train_batches": 1}
    run = trainer(tmp_path, [callback, Watch()], **options)
    run.fit(tiny_module(), digits(digits_root))
    assert drawn == [False, True, True]  # every second, and the last


@pytest.mark.parametrize("callback", [Geometry, Neighbours])
def test_an_interval_below_one_is_refused(callback):
    with pytest.raises(InputError, match="every_n_epochs is 0"):
        callback(every_n_epochs=0)


def test_layers_that_are_no_numbers_are_named():
    code, rows = torch.ones(4, 2), torch.arange(4)
    seen = Extracted({"conv": code, "fc": code / 0, "y": code}, code, None, rows, rows)
    with pytest.raises(InputError, match="layer fc are NaN or infinite after 3 epochs; expected"):
        check_finite(seen, "after 3 epochs")
