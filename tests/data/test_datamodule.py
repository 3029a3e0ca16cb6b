import json
import subprocess
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy
from quiet import Watcher, trainer
from torch.utils.data import DistributedSampler

from dim_lightning.data import (
    Arrays,
    CropAndFlip,
    Digits,
    ImageDataModule,
    PictureFolder,
    TinyImageNet,
)
from dim_lightning.data.joint_order import Sampling
from dim_lightning.errors import InputError

# Images that lie decoded in memory need no workers.
NO_WORKERS = "ignore:.*does not have many workers"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("root")


def digits(root, **settings):
    return ready(ImageDataModule(Digits(), root=str(root), **{"image_size": 8, **settings}))


def ready(datamodule):
    datamodule.prepare_data()
    datamodule.setup()
    return datamodule


def order(loader, epoch=0):
    assert isinstance(loader.sampler, DistributedSampler)
    loader.sampler.set_epoch(epoch)
    return torch.cat([batch.indices for batch in loader]).tolist()


def files(datamodule, name):
    """What the images of a split are in the source."""
    split = datamodule.split(name)
    return {(str(split.part), row) for row in split.rows.tolist()}


def test_a_source_without_test_part_is_cut_into_three_that_share_nothing(root):
    datamodule = digits(root)
    train, val, test = (files(datamodule, name) for name in ("train", "val", "test"))
    assert (len(train), len(val), len(test)) == (1294, 144, 359)
    assert len(train | val | test) == 1797
    assert datamodule.labelled
    assert datamodule.num_classes == 10
    assert datamodule.class_names == [str(digit) for digit in range(10)]


def test_the_split_depends_on_its_own_seed_alone(root):
    first = files(digits(root), "val")
    assert files(digits(root, seed=5, batch_size=16), "val") == first
    assert files(digits(root, split_seed=1), "val") != first


def test_validation_is_cut_from_the_training_part_alone(tmp_path, tiny):
    settings = {"image_size": 8, "batch_size": 2, "validation_fraction": 0.25}
    datamodule = ready(ImageDataModule(TinyImageNet(), root=str(tmp_path), **settings))
    assert [len(datamodule.split(name)) for name in ("train", "val", "test")] == [9, 3, 6]
    assert {part for part, _ in files(datamodule, "train") | files(datamodule, "val")} == {
        str(datamodule.split("val").part)
    }
    names = datamodule.predict_dataloader().dataset.names
    assert [Path(name).name for name in names] == [f"val_{i}.JPEG" for i in (5, 0, 4, 1, 2, 3)]
    assert sorted(datamodule.split("test").names) == sorted(names)


def test_names_and_labels_belong_to_the_images(tmp_path, class_folders):
    source = PictureFolder(str(class_folders))
    datamodule = ready(ImageDataModule(source, root=str(tmp_path), image_size=8, batch_size=2))
    for split in map(datamodule.split, ("train", "val", "test")):
        for i, name in enumerate(split.names):
            label = ["ant", "bee", "cow"].index(Path(name).parent.name)
            assert split.labels[i] == label
            assert split.pictures([i])[0, :, 4, 4].tolist() == [80 * label, int(Path(name).stem), 0]


def test_unlabelled_pictures(tmp_path, draw):
    for i in range(30):
        draw(tmp_path / "mine" / f"{i}.png", colour=i)
    source = PictureFolder(str(tmp_path / "mine"))
    datamodule = ready(ImageDataModule(source, root=str(tmp_path), image_size=8, batch_size=4))
    assert not datamodule.labelled
    assert datamodule.class_names is None
    assert datamodule.num_classes is None
    assert next(iter(datamodule.train_dataloader())).labels.tolist() == [-1] * 4
    # without a test part of its own, everything is predicted, in the order of the files
    batches = list(datamodule.predict_dataloader())
    assert torch.cat([batch.indices for batch in batches]).tolist() == list(range(30))


@pytest.mark.parametrize("predicted", [None, "train", "test", "all"])
def test_what_is_predicted_without_a_test_part_of_its_own(root, predicted):
    datamodule = digits(root, predicted=predicted)
    images = datamodule.predict_dataloader().dataset
    known = {name: datamodule.split(name).rows for name in ("train", "val", "test")}
    asked = {"train": ("train", "val"), "test": ("test",)}.get(predicted, known)
    assert images.rows.tolist() == sorted(np.concatenate([known[name] for name in asked]))
    for name in known:
        assert set(images.rows[images.split_names == name]) == set(
            known[name] if name in asked else ()
        )


def test_what_is_predicted_with_a_test_part_of_its_own(tmp_path, tiny):
    settings = {"image_size": 8, "batch_size": 2, "validation_fraction": 0.25}
    datamodule = ready(ImageDataModule(TinyImageNet(), root=str(tmp_path), **settings))
    whole = {}
    for datamodule.predicted in (None, "train", "test", "all"):
        images = datamodule.predict_dataloader().dataset
        whole[datamodule.predicted] = (images.names, images.labels, images.split_names)
    assert [len(names) for names, *_ in whole.values()] == [6, 12, 6, 18]
    assert whole[None][0] == whole["test"][0]
    for one, both in zip(
        zip(whole["train"], whole["test"], strict=True), whole["all"], strict=True
    ):
        assert list(np.concatenate(one)) == list(both)
    joined = datamodule.predict_dataloader().dataset
    mixed = [17, 0, 11, 12, 3]
    batch = joined.__getitems__(mixed)
    assert batch.indices.tolist() == mixed
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    for name, picture, label in zip(np.array(joined.names)[mixed], *batch[:2], strict=True):
        (split,) = [s for s in map(datamodule.split, ("train", "val", "test")) if name in s.names]
        row = split.names.index(name)
        assert torch.equal(picture, split.pictures([row])[0])
        assert label == split.labels[row]
    assert sorted(joined.shuffled(Sampling(2), 0)) == list(range(18))


def test_training_batches_are_full_and_meet_each_image_once(root):
    seen = order(digits(root).train_dataloader())
    assert len(seen) == len(set(seen)) == 1280


def test_an_epoch_has_its_own_order_whatever_was_read_before(root):
    quiet = digits(root)
    expected = [order(quiet.train_dataloader(), epoch) for epoch in range(3)]
    assert expected[0] != expected[1] != expected[2]
    busy = digits(root)
    state = torch.get_rng_state()
    for _ in busy.val_dataloader():
        next(iter(busy.clean_dataloader("train", limit=100)))
    loader = busy.train_dataloader()
    assert order(loader, 2) == expected[2]  # as after a restart
    list(busy.test_dataloader())
    assert order(loader, 1) == expected[1]
    assert torch.equal(torch.get_rng_state(), state)
    assert order(digits(root, seed=1).train_dataloader(), 2) != expected[2]


@pytest.mark.parametrize("name", ["val", "test"])
def test_evaluation_reads_every_image_in_order(root, name):
    datamodule = digits(root)
    loader = getattr(datamodule, f"{name}_dataloader")()
    indices = torch.cat([batch.indices for batch in loader]).tolist()
    assert indices == list(range(len(datamodule.split(name))))


def test_clean_batches_are_a_seeded_choice_in_order(root):
    datamodule = digits(root)
    batches = list(datamodule.clean_dataloader("train", limit=300))
    indices = torch.cat([batch.indices for batch in batches])
    assert len(indices) == 300
    assert (indices.diff() > 0).all()
    assert indices[-1] > 1000  # from all over the split
    assert batches[0].images.dtype == torch.uint8
    assert torch.equal(batches[0].images, datamodule.split("train").pictures(batches[0].indices))
    again = datamodule.clean_dataloader("train", limit=300)
    assert torch.equal(indices, torch.cat([batch.indices for batch in again]))
    assert len(datamodule.clean_dataloader("train", limit=10**6).dataset) == 1294


def test_pictures_asked_for_too_early_are_refused(root):
    with pytest.raises(InputError, match=r"not read yet; call setup\(\)"):
        ImageDataModule(Digits(), root=str(root)).clean_dataloader("val")


@pytest.mark.parametrize("name", ["valid", "origin", None])
def test_a_split_that_is_none_is_refused(root, name, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # types, as in a script
    for of in (digits(root).split, digits(root).clean_dataloader):
        with pytest.raises(InputError, match=f"^the split is {name!r}; expected train, val, test;"):
            of(name)


def test_a_limit_below_0_is_refused(root):
    with pytest.raises(InputError, match="limit is -1; expected at least 0"):
        digits(root).clean_dataloader("train", limit=-1)


@pytest.mark.parametrize("size", [2, 3, 11, 13, 143, 144])
def test_no_image_is_left_alone_in_a_last_validation_batch(root, size):
    batches = list(digits(root, batch_size=size).val_dataloader())
    sizes = [len(batch.indices) for batch in batches]
    assert sum(sizes) == 144
    assert min(sizes) >= 2
    assert max(sizes) <= size


@pytest.mark.slow
def test_workers_bring_the_same_batches(root):
    alone, helped = digits(root), digits(root, num_workers=2)
    batches = iter(helped.train_dataloader())
    first = [next(batches), next(batches)]  # of either: both have begun
    workers = [str(worker.pid) for worker in batches._workers]
    for name in ("INT", "TERM"):  # as a terminal or a job sends them, not the first process itself
        subprocess.run(["kill", f"-{name}", *workers], check=True)
    pairs = zip(alone.train_dataloader(), [*first, *batches], strict=True)
    assert all(torch.equal(one.images, two.images) for one, two in pairs)


def test_labelled_images_alone(tmp_path):
    labels = np.where(np.arange(40) % 2 == 1, np.arange(40) % 3, -1)
    source = Arrays(np.zeros((40, 8, 8), np.uint8), labels)
    data = ImageDataModule(source, root=str(tmp_path), image_size=8, batch_size=4)
    data.prepare_data()
    data.setup("fit")
    known = np.flatnonzero(data.split("train").labels >= 0).tolist()
    for limit, count in ((None, len(known)), (3, 3), (99, len(known))):
        batches = data.clean_dataloader("train", limit=limit, labelled=True)
        rows = torch.cat([batch.indices for batch in batches]).tolist()
        assert len(rows) == count
        assert set(rows) <= set(known)
        assert rows == sorted(rows)


def fitted(tmp_path, root, ckpt_path=None, settings=None, **options):
    options = {"max_epochs": 2, "num_sanity_val_steps": 0, **options}
    watcher, run = Watcher(), trainer(tmp_path, **options)
    run.fit(watcher, digits(root, batch_size=400, **(settings or {})), ckpt_path=ckpt_path)
    return watcher, run


@pytest.mark.filterwarnings(NO_WORKERS)
def test_steps_see_floats_and_only_training_is_augmented(tmp_path, root):
    watcher, run = fitted(tmp_path, root, settings={"augmentation": CropAndFlip(shift=2)})
    run.test(watcher, run.datamodule, verbose=False)
    for name, batches in watcher.seen.items():
        for _, _, batch in batches:
            plain = run.datamodule.split(name).pictures(batch.indices) / 255
            assert batch.images.dtype == torch.float32
            assert batch.images.is_contiguous(memory_format=torch.channels_last)
            assert torch.equal(batch.images, plain) == (name != "train")
    assert {name: len(batches) for name, batches in watcher.seen.items()} == {
        "train": 6,
        "val": 2,
        "test": 1,
    }


@pytest.mark.filterwarnings(NO_WORKERS)
def test_each_step_draws_anew_and_resuming_draws_the_same(tmp_path, root):
    settings = {"augmentation": CropAndFlip(shift=2)}
    whole, _ = fitted(tmp_path, root, settings=settings)
    _, first = fitted(tmp_path, root, settings=settings, max_epochs=1)
    first.save_checkpoint(tmp_path / "first.ckpt")
    rest, _ = fitted(tmp_path, root, tmp_path / "first.ckpt", settings)
    expected = [seen for seen in whole.seen["train"] if seen[0] == 1]
    assert len(expected) == len(rest.seen["train"]) == 3
    for (_, step, batch), (_, again, resumed) in zip(expected, rest.seen["train"], strict=True):
        assert step == again
        assert torch.equal(batch.indices, resumed.indices)
        assert torch.equal(batch.images, resumed.images)


class Diary(Watcher):
    """Writes the indices that each process met."""

    def on_fit_end(self):
        seen = {
            name: torch.cat([batch.indices for _, _, batch in batches]).tolist()
            for name, batches in self.seen.items()
            if batches
        }
        folder = Path(self.trainer.default_root_dir)
        (folder / f"{self.global_rank}.json").write_text(json.dumps(seen))


@pytest.mark.slow
@pytest.mark.filterwarnings(NO_WORKERS)
def test_two_processes_share_the_images(tmp_path, root):
    run = trainer(
        tmp_path, strategy=DDPStrategy(start_method="forkserver"), devices=2, max_epochs=1
    )
    run.fit(Diary(), digits(root, batch_size=100))
    one, two = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    trained = [set(each["train"]) for each in (one, two)]
    assert [len(each["train"]) for each in (one, two)] == [600, 600]
    assert not trained[0] & trained[1]
    assert set(one["val"] + two["val"]) == set(range(144))
