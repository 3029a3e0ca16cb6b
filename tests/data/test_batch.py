import pickle

import numpy as np
import pytest
import torch

from dim_lightning.data import ImageSplit
from dim_lightning.data.splits import Shares


@pytest.fixture
def part(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (10, 4, 4, 3), np.uint8)
    np.save(tmp_path / "train.npy", images)
    return tmp_path / "train", images


def test_a_batch_holds_the_rows_asked_for(part):
    path, images = part
    split = ImageSplit(path, np.array([7, 2, 5]), np.arange(10) * 10)
    batch = split.__getitems__([2, 0])
    assert batch.images.dtype == torch.uint8
    assert np.array_equal(batch.images.permute(0, 2, 3, 1).numpy(), images[[5, 7]])
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.labels.tolist() == [50, 70]
    assert batch.indices.tolist() == [2, 0]
    assert len(split) == 3
    assert split[1].labels.tolist() == [20]


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_pictures_take_positions_of_any_kind(part, kind):
    path, images = part
    split = ImageSplit(path, np.array([7, 2, 5]), np.arange(10))
    pictures = split.pictures(kind([1, 1]))
    assert np.array_equal(pictures.permute(0, 2, 3, 1).numpy(), images[[2, 2]])


def test_changing_a_batch_leaves_the_file(part):
    path, images = part
    split = ImageSplit(path, np.arange(10), np.arange(10))
    split.pictures([0]).zero_()
    assert np.array_equal(np.load(f"{path}.npy"), images)


def test_another_process_gets_the_path_and_not_the_pixels(part):
    path, images = part
    split = ImageSplit(path, np.arange(10), np.arange(10))
    assert split.images.shape == images.shape  # opened by now
    sent = pickle.dumps(split)
    assert images[0].tobytes() not in sent
    assert torch.equal(pickle.loads(sent).pictures([3]), split.pictures([3]))


def test_evaluation_mixes_pictures_that_lie_one_class_after_the_other():
    rows = Shares(0.2, 0.2, 0).rows(1000, 300)
    assert sorted([*rows["train"], *rows["val"]]) == list(range(1000))
    assert sorted(rows["test"]) == list(range(300))
    for name, size in (("val", 100), ("test", 30)):  # ten classes
        assert len(set(rows[name][:64] // size)) == 10
    own = Shares(0.2, 0.2, 0).rows(1000, None)
    assert sorted(np.concatenate(list(own.values()))) == list(range(1000))
