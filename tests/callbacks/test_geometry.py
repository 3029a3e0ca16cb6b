import pytest
import torch
from lightning.pytorch.callbacks import Callback
from PIL import Image
from tiny_run import digits, tiny_module, trainer

from dim_lightning.callbacks import Geometry, Neighbours
from dim_lightning.callbacks.observation import check_finite
from dim_lightning.data.augmentation import Augmentation, CropColour
from dim_lightning.errors import InputError
from dim_lightning.evaluation import Extracted, extract, geometry_of
from dim_lightning.seeding import Draws, generator_for


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


class Noise(Augmentation):
    """Nothing of the images: views that a test can make itself."""

    def __call__(self, images, generator):
        return torch.rand(images.shape, generator=generator)


class Same(Augmentation):
    def __call__(self, images, generator):
        return images


def alignments(tmp_path, digits_root, augmentation, epochs=1):
    """Of each validation, None where there is none; the module and its data."""
    seen = []

    class Watch(Callback):
        def on_validation_end(self, trainer, pl_module):
            seen.append(trainer.callback_metrics.get("geometry/alignment"))

    data, module = digits(digits_root), tiny_module()
    data.augmentation = augmentation
    options = {"num_sanity_val_steps": 0, "limit_train_batches": 1}
    callbacks = [Geometry(every_n_epochs=3), Watch()]
    trainer(tmp_path, callbacks, epochs, **options).fit(module, data)
    return seen, module, data


def test_the_alignment_is_that_of_two_views_of_the_validation_images(tmp_path, digits_root):
    (found,), module, data = alignments(tmp_path, digits_root, Noise())
    views = [[], []]
    for step, batch in enumerate(data.clean_dataloader("val")):
        for number, view in enumerate(views):
            key = (data.seed, Draws.VIEWS, 0, step, number)
            view.append(torch.rand(batch.images.shape, generator=generator_for(*key)))
    with torch.no_grad():
        first, second = (module.encoder.eval()(torch.cat(view)).mean for view in views)
    cosines = torch.nn.functional.cosine_similarity(first.double(), second.double())
    assert found == pytest.approx(2 - 2 * cosines.mean().item(), rel=1e-3)
    assert found > 1e-5  # of an encoder that has barely begun


def test_views_that_are_equal_are_aligned(tmp_path, digits_root):
    (found,), _, _ = alignments(tmp_path, digits_root, Same())
    assert found == pytest.approx(0, abs=1e-6)


def test_without_augmentation_there_is_no_alignment(tmp_path, digits_root):
    assert alignments(tmp_path, digits_root, None)[0] == [None]


def test_the_alignment_is_logged_at_its_epochs_only(tmp_path, digits_root):
    found, _, _ = alignments(tmp_path, digits_root, CropColour(), epochs=4)
    assert [each is not None for each in found] == [False, False, True, True]
    assert 0 < found[2] < 4


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
