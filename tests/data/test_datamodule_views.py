import operator
from itertools import product
from types import SimpleNamespace

import pytest
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch.utilities.data import extract_batch_size, warning_cache
from quiet import Watcher, trainer

from dim_lightning.data import Batch, CropAndFlip, CropColour, Digits, ImageDataModule
from dim_lightning.data.augmentation import Augmentation
from dim_lightning.data.views import Views
from dim_lightning.errors import InputError
from dim_lightning.seeding import generator_for

SMALL = {"small_augmentation": CropColour(size=4), "num_small_views": 2}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("root")


@pytest.fixture
def seen(tmp_path, root):
    """The batches of two epochs of three batches, and of validation and testing."""

    def batches(accumulated=1, **settings):
        watcher = Watcher()
        run = trainer(tmp_path, max_epochs=2, accumulate_grad_batches=accumulated)
        datamodule = ImageDataModule(
            Digits(), root=str(root), image_size=8, batch_size=400, **{"num_views": 1, **settings}
        )
        run.fit(watcher, datamodule)
        run.test(watcher, datamodule, verbose=False)
        return {name: [batch for *_, batch in met] for name, met in watcher.seen.items()}

    return batches


def test_two_views_and_small_ones_of_the_same_images_in_training_only(seen):
    batches = seen(augmentation=CropAndFlip(), num_views=2, **SMALL)
    for batch in batches["train"]:
        sizes = [tuple(view.shape) for view in batch.more_views]
        assert sizes == [(400, 3, 8, 8), (400, 3, 4, 4), (400, 3, 4, 4)]
        assert all(map(operator.is_, batch.small_views, batch.more_views[1:]))
        assert len(batch.small_views) == 2
        for view in (batch.images, *batch.more_views):
            assert view.dtype == torch.float32
            assert view.is_contiguous(memory_format=torch.channels_last)
            assert ((view >= 0) & (view <= 1)).all()
        assert not torch.equal(batch.images, batch.more_views[0])
        assert not torch.equal(*batch.more_views[1:])
    assert len(batches["train"]) == 6
    assert [batch.more_views for batch in batches["val"] + batches["test"]] == [()] * len(
        batches["val"] + batches["test"]
    )
    assert not any(batch.small_views for batch in batches["val"] + batches["test"])


@pytest.mark.parametrize("settings", [{}, {"augmentation": CropAndFlip(), **SMALL}])
def test_a_script_may_log_without_saying_how_large_a_batch_is(seen, settings):
    for batch in seen(**settings)["train"]:
        warning_cache.clear()  # Lightning warns once of a batch whose parts are of two sizes
        assert extract_batch_size(batch) == 400


def test_more_views_move_neither_the_images_nor_their_labels(seen):
    one, several = (
        seen(augmentation=CropAndFlip(), **more) for more in ({}, {"num_views": 3, **SMALL})
    )
    for name, batches in one.items():
        for alone, together in zip(batches, several[name], strict=True):
            assert alone.more_views == ()
            for field in ("images", "labels", "indices"):
                assert torch.equal(getattr(alone, field), getattr(together, field))


def test_views_are_the_same_in_another_run_and_others_with_another_seed(seen):
    settings = {"augmentation": CropAndFlip(), "num_views": 2}
    first, again, other = seen(**settings), seen(**settings), seen(**settings, seed=1)
    for one, two in zip(first["train"], again["train"], strict=True):
        assert torch.equal(one.more_views[0], two.more_views[0])
    assert not torch.equal(first["train"][0].more_views[0], other["train"][0].more_views[0])


@pytest.mark.parametrize("accumulated", [1, 3])
def test_no_two_views_of_any_batches_share_their_draws_nor_those_of_the_model(seen, accumulated):
    class Recorder(Augmentation):
        def __init__(self):
            self.draws = []

        def __call__(self, images, generator):
            self.draws.append(torch.rand((), generator=generator).item())
            return images

    recorder = Recorder()
    small = {"small_augmentation": recorder, "num_small_views": 1}
    seen(accumulated, augmentation=recorder, num_views=2, **small)
    assert len(recorder.draws) == len(set(recorder.draws)) == 2 * 3 * 3
    keys = product([0], range(3), range(2), range(3))  # seed, stage, epoch, step
    of_model = {torch.rand((), generator=generator_for(*key)).item() for key in keys}
    assert not of_model & set(recorder.draws)


def test_small_views_may_accompany_images_that_stay(seen):
    (batch, *_) = seen(**SMALL)["train"]
    assert torch.equal(batch.images, (batch.images * 255).round() / 255)  # whole bytes still
    assert [len(view) for view in batch.more_views] == [400, 400]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_views": 2}, r"num_views is 2 and data\.augmentation is null"),
        ({"num_small_views": 1}, r"num_small_views is 1 and data\.small_augmentation is null"),
        ({"num_views": 0}, r"data\.num_views is 0; expected at least 1"),
        ({"num_small_views": -1}, r"data\.num_small_views is -1; expected at least 0"),
    ],
)
def test_views_that_nothing_would_make_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        ImageDataModule(**settings)


@pytest.mark.parametrize("mode", ["yaml", "omegaconf+"])
def test_every_setting_of_the_views_is_reached_by_a_dotted_key_and_survives_a_dump(mode):
    parser = ArgumentParser(exit_on_error=False, parser_mode=mode)
    parser.add_class_arguments(ImageDataModule, "data")
    arguments = ["--data.augmentation=CropColour", "--data.augmentation.blur_prob=0.5"]
    arguments += ["--data.augmentation.crop_scale=[0.08, 1]", "--data.num_views=2"]
    arguments += ["--data.small_augmentation=CropColour", "--data.small_augmentation.size=16"]
    arguments += ["--data.num_small_views=4"]
    text = parser.dump(parser.parse_args(arguments))
    data = parser.instantiate(parser.parse_string(text)).data
    assert (data.num_views, data.num_small_views) == (2, 4)
    assert isinstance(data.augmentation, CropColour)
    assert data.augmentation.crop_scale == (0.08, 1.0)
    assert data.augmentation.blur_prob == 0.5
    assert data.augmentation.jitter == (0.4, 0.4, 0.4, 0.1)
    assert data.small_augmentation.size == 16


def test_a_script_may_change_what_makes_the_views():
    data = ImageDataModule(augmentation=CropColour())
    progress = SimpleNamespace(current=SimpleNamespace(ready=0))
    loop = SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=progress))
    data.trainer = SimpleNamespace(training=True, current_epoch=0, fit_loop=loop)
    images = torch.arange(2 * 3 * 32 * 32).remainder(256).to(torch.uint8).view(2, 3, 32, 32)
    batch = Batch(images, torch.zeros(2), torch.arange(2))
    as_it_is = images / 255
    assert not torch.equal(data.on_after_batch_transfer(batch, 0).images, as_it_is)
    data.augmentation = None
    assert torch.equal(data.on_after_batch_transfer(batch, 0).images, as_it_is)


def test_views_grow_from_epoch_to_epoch(seen):
    batches = seen(augmentation=CropColour(), num_views=2, view_sizes=[(0, 4), (1, 8)])["train"]
    sizes = [[view.shape[-1] for view in (b.images, *b.more_views)] for b in batches]
    assert sizes == [[4, 4]] * 3 + [[8, 8]] * 3


@pytest.mark.parametrize(
    ("sizes", "augmentation"),
    [
        ([(1, 4)], CropColour()),
        ([(0, 4), (0, 8)], CropColour()),
        ([(0, 0)], CropColour()),
        ([(0, 4)], None),
        ([(0, 4)], CropAndFlip()),
    ],
)
def test_sizes_that_cannot_be_are_refused(sizes, augmentation):
    with pytest.raises(InputError, match=r"data\.view_sizes"):
        ImageDataModule(augmentation=augmentation, view_sizes=sizes)


class Own(Augmentation):
    """An augmentation of one's own that gives something else than images."""

    def __init__(self, change):
        self.change = change

    def __call__(self, images, generator):
        return self.change(images)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda images: None, "Own gives NoneType; expected the changed images"),
        (lambda images: images[:2], r"Own gives float32 \[2, 3, 8, 8\]"),
        (lambda images: images[:, :1], r"Own gives float32 \[4, 1, 8, 8\]"),
        (lambda images: (255 * images).to(torch.uint8), "Own gives uint8"),
    ],
)
def test_an_augmentation_that_gives_no_images_is_refused(change, said):
    views = Views(Own(change), 1, (), None, 0, 0)
    with pytest.raises(InputError, match=said):
        list(views.of(torch.rand(4, 3, 8, 8), 0, 0))
