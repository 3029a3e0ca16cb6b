import hashlib
import pickle
import tarfile

import numpy as np
import pytest
from torchvision.datasets import cifar

from dim_lightning.data import CIFAR10, CIFAR100
from dim_lightning.errors import InputError


@pytest.mark.parametrize(("source", "name"), [(CIFAR10(), "cifar10"), (CIFAR100(), "cifar100")])
def test_picture_folders_are_found(tmp_path, draw, source, name):
    for part, count in (("train", 2), ("test", 1)):
        for label in ("deer", "cat"):
            for i in range(count):
                draw(tmp_path / name / part / label / f"{i}.png")
    found = source.find(tmp_path)
    parts = found.read()
    assert found.name == name
    assert parts.class_names == ["cat", "deer"]
    assert parts.train.labels.tolist() == [0, 0, 1, 1]
    assert parts.test.labels.tolist() == [0, 1]
    assert parts.test.pictures[0].endswith(f"{name}/test/cat/0.png")


def test_super_classes_above_the_classes_are_passed_over(tmp_path, draw):
    for part in ("train", "test"):
        draw(tmp_path / "cifar100" / part / "fish" / "trout" / "0.png")
        draw(tmp_path / "cifar100" / part / "trees" / "oak" / "0.png")
    parts = CIFAR100().find(tmp_path).read()
    assert parts.class_names == ["oak", "trout"]
    assert "trees/oak" in parts.train.pictures[0]


def test_a_class_missing_from_the_test_part_is_told(tmp_path, draw):
    draw(tmp_path / "cifar10" / "train" / "cat" / "0.png")
    with pytest.raises(InputError, match="1 classes of pictures in train/ and 0 in test/"):
        CIFAR10().find(tmp_path)


def batch(seed, count):
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 3072), np.uint8)
    return {"data": pixels, "labels": [i % 2 for i in range(count)]}


@pytest.fixture
def small_cifar(tmp_path, monkeypatch):
    """Torchvision's folder with few pictures; torchvision told of its checksums."""
    base = tmp_path / "made" / cifar.CIFAR10.base_folder
    base.mkdir(parents=True)
    sums = {}
    contents = {name: batch(i, 4) for i, (name, _) in enumerate(cifar.CIFAR10.train_list)}
    contents |= {"test_batch": batch(9, 3), "batches.meta": {"label_names": ["cat", "deer"]}}
    for name, content in contents.items():
        (base / name).write_bytes(pickle.dumps(content))
        sums[name] = hashlib.md5((base / name).read_bytes()).hexdigest()
    monkeypatch.setattr(
        cifar.CIFAR10, "train_list", [[name, sums[name]] for name, _ in cifar.CIFAR10.train_list]
    )
    monkeypatch.setattr(cifar.CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    meta = cifar.CIFAR10.meta | {"md5": sums["batches.meta"]}
    monkeypatch.setattr(cifar.CIFAR10, "meta", meta)
    return base


def assert_is_small_cifar(parts):
    assert parts.class_names == ["cat", "deer"]
    assert parts.train.pictures.shape == (20, 32, 32, 3)
    expected = batch(9, 3)["data"].reshape(3, 3, 32, 32).transpose(0, 2, 3, 1)
    assert np.array_equal(parts.test.pictures, expected)
    assert parts.test.labels.tolist() == [0, 1, 0]


@pytest.mark.parametrize("place", [".", "cifar10"])
def test_torchvisions_folder_is_found(tmp_path, small_cifar, place):
    (tmp_path / place).mkdir(exist_ok=True)
    small_cifar.rename(tmp_path / place / small_cifar.name)
    assert_is_small_cifar(CIFAR10().find(tmp_path).read())


def test_it_is_downloaded_and_unpacked(tmp_path, small_cifar, server, monkeypatch):
    archive = tmp_path / "made.tar.gz"
    with tarfile.open(archive, "w:gz") as opened:
        opened.add(small_cifar, small_cifar.name)
    server.content = archive.read_bytes()
    monkeypatch.setattr(cifar.CIFAR10, "url", server.url)
    monkeypatch.setattr(cifar.CIFAR10, "tgz_md5", hashlib.md5(server.content).hexdigest())
    assert_is_small_cifar(CIFAR10().find(tmp_path / "root").read())
    assert_is_small_cifar(CIFAR10(download=False).find(tmp_path / "root").read())
    assert len(server.ranges) == 1


def test_a_damaged_batch_is_told(tmp_path, small_cifar):
    (small_cifar / "test_batch").write_bytes(pickle.dumps(batch(8, 3)))
    found = CIFAR10().find(small_cifar.parent)
    with pytest.raises(InputError, match="wrong checksum"):
        found.read()


def test_a_missing_batch_is_told(small_cifar):
    (small_cifar / "data_batch_3").unlink()
    with pytest.raises(InputError, match="lacks data_batch_3"):
        CIFAR10().find(small_cifar.parent)


def test_without_data_or_download_it_says_where_it_looked(tmp_path):
    with pytest.raises(InputError, match="switched off") as error:
        CIFAR10(download=False).find(tmp_path / "root")
    for words in (str(tmp_path / "root"), "cifar10/{train,test}/<class>/*", "cifar-10-batches-py"):
        assert words in str(error.value)
    assert not (tmp_path / "root").exists()
