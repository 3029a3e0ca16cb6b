import hashlib
import tarfile

import numpy as np
import pytest
from torchvision import datasets

from dim_lightning.data import STL10, ImageDataModule
from dim_lightning.data.sources import stl10
from dim_lightning.errors import InputError

SIZES = {"train": 6, "test": 4, "unlabeled": 10}


def stored(seed, count):
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 96, 96), np.uint8)


@pytest.fixture
def small_stl10(tmp_path):
    """The distributed folder with few pictures of two classes."""
    base = tmp_path / "made" / "stl10_binary"
    base.mkdir(parents=True)
    for seed, (part, count) in enumerate(SIZES.items()):
        stored(seed, count).tofile(base / f"{part}_X.bin")
        if part != "unlabeled":
            np.asarray([1 + i % 2 for i in range(count)], np.uint8).tofile(base / f"{part}_y.bin")
    (base / "class_names.txt").write_text("airplane\nbird\n")
    return base


@pytest.mark.parametrize("place", [".", "stl10"])
def test_the_unlabelled_follow_the_labelled(tmp_path, small_stl10, place):
    (tmp_path / place).mkdir(exist_ok=True)
    small_stl10.rename(tmp_path / place / small_stl10.name)
    parts = STL10(download=False).find(tmp_path).read()
    assert parts.class_names == ["airplane", "bird"]
    assert parts.train.labels.tolist() == [0, 1, 0, 1, 0, 1] + [-1] * 10
    assert parts.test.labels.tolist() == [0, 1, 0, 1]
    assert len(parts.train.pictures) == 16
    assert not parts.train.named


def test_pictures_are_those_that_torchvision_reads(small_stl10, monkeypatch):
    monkeypatch.setattr(datasets.STL10, "_check_integrity", lambda self: True)
    theirs = datasets.STL10(small_stl10.parent, split="train+unlabeled")
    ours = STL10().find(small_stl10.parent).read().train
    assert len(ours.pictures) == len(theirs)
    for i, (picture, label) in enumerate(theirs):
        assert np.array_equal(ours.pictures[i], np.asarray(picture))
        assert ours.labels[i] == label
    with pytest.raises(IndexError):
        ours.pictures[16]


def test_without_the_unlabelled(small_stl10):
    both = STL10().find(small_stl10.parent)
    found = STL10(unlabelled=False).find(small_stl10.parent)
    assert len(found.read().train.pictures) == 6
    assert found.fingerprint != both.fingerprint


def test_the_data_module_keeps_the_unlabelled_among_the_training_images(small_stl10):
    module = ImageDataModule(STL10(), root=str(small_stl10.parent), image_size=96, batch_size=4)
    module.setup()
    train, val = module.split("train"), module.split("val")
    assert len(train) + len(val) == 16
    assert sorted([*train.labels, *val.labels]) == [-1] * 10 + [0] * 3 + [1] * 3
    row = int(np.flatnonzero(train.labels == -1)[-1])
    picture = train.pictures([row])[0].numpy()
    assert any(np.array_equal(picture.transpose(0, 2, 1), other) for other in stored(2, 10))


def test_it_is_downloaded_and_unpacked(tmp_path, small_stl10, server, monkeypatch):
    archive = tmp_path / "made.tar.gz"
    with tarfile.open(archive, "w:gz") as opened:
        opened.add(small_stl10, small_stl10.name)
    server.content = archive.read_bytes()
    monkeypatch.setattr(datasets.STL10, "url", server.url)
    monkeypatch.setattr(datasets.STL10, "tgz_md5", hashlib.md5(server.content).hexdigest())
    assert len(STL10().find(tmp_path / "root").read().train.labels) == 16
    assert len(STL10(download=False).find(tmp_path / "root").read().test.labels) == 4
    assert len(server.ranges) == 1


def test_what_is_missing_or_cut_is_told(small_stl10):
    whole = (small_stl10 / "test_X.bin").read_bytes()
    (small_stl10 / "test_X.bin").write_bytes(whole[:-1])
    with pytest.raises(InputError, match=r"test_X\.bin has 110591 bytes; expected a multiple"):
        STL10().find(small_stl10.parent).read()
    (small_stl10 / "test_X.bin").write_bytes(whole[: 3 * stl10.SIDE**2])
    with pytest.raises(InputError, match=r"1 pictures in test_X\.bin and 4 labels"):
        STL10().find(small_stl10.parent).read()
    (small_stl10 / "test_X.bin").unlink()
    with pytest.raises(InputError, match=r"lacks test_X\.bin; expected"):
        STL10().find(small_stl10.parent)


def test_without_data_or_download_it_says_where_it_looked(tmp_path):
    with pytest.raises(InputError, match=r"did not find .*stl10_binary.*switched off"):
        STL10(download=False).find(tmp_path / "root")
    assert not (tmp_path / "root").exists()
