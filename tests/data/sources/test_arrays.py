"""Images that a script holds."""

import numpy as np
import pytest

from dim_lightning.data import Arrays, ImageDataModule
from dim_lightning.errors import InputError

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
LABELS = np.arange(40) % 4


def _data(root, *arrays, **settings):
    data = ImageDataModule(Arrays(*arrays, **settings), root=str(root), image_size=8, batch_size=4)
    data.prepare_data()
    data.setup("test")
    return data


def test_they_are_served_as_they_are(tmp_path):
    data = _data(tmp_path, IMAGES, LABELS, IMAGES[:5], LABELS[:5], class_names="abcd")
    test, rows = next(iter(data.clean_dataloader("test"))), data.split("test").rows
    assert (test.images.numpy() == IMAGES[rows].transpose(0, 3, 1, 2)).all()
    assert sorted(test.labels.tolist()) == [0, 0, 1, 2, 3]
    assert data.class_names == ["a", "b", "c", "d"]
    assert len(data.split("train")) + len(data.split("val")) == 40


def test_without_labels_or_test_images(tmp_path):
    data = _data(tmp_path, IMAGES[..., 0])
    assert data.class_names is None
    assert len(data.split("test")) == 8


def test_other_content_is_another_data_set(tmp_path, capfd):
    first, again = (Arrays(IMAGES, LABELS).find(tmp_path).fingerprint for _ in range(2))
    assert first == again
    changed = IMAGES.copy()
    changed[3, 2, 1, 0] ^= 1
    others = [(changed, LABELS), (IMAGES, LABELS[::-1]), (IMAGES[:, :4], LABELS), (IMAGES,)]
    assert all(Arrays(*each).find(tmp_path).fingerprint != first for each in others)
    contents = [_data(tmp_path, *each).contents for each in ((IMAGES, LABELS), (changed, LABELS))]
    assert contents[0].counts == contents[1].counts
    assert contents[0].sha256 != contents[1].sha256
    assert "older state" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ((IMAGES / 255.0,), r"images float64 \[40, 8, 8, 3\]; expected uint8"),
        ((IMAGES.transpose(0, 3, 1, 2),), r"images uint8 \[40, 3, 8, 8\]"),
        ((np.dstack([IMAGES[0]] * 2)[None],), r"images uint8 \[1, 8, 8, 6\]"),
        ((IMAGES, LABELS[:3]), r"labels int64 \[3\] of 40 images"),
        ((IMAGES, LABELS / 2), r"labels float64 \[40\]"),
        ((IMAGES, LABELS - 100), "a whole number an image, -1 where unlabelled"),
        ((IMAGES, LABELS, IMAGES, LABELS[:1]), r"test_labels int64 \[1\]"),
        ((IMAGES, LABELS, None, LABELS), "test_labels without test_images"),
        ((IMAGES, LABELS, None, None, ["a"]), "1 class_names and the class 3"),
    ],
)
def test_what_is_no_images_is_refused(arrays, said):
    with pytest.raises(InputError, match=said):
        Arrays(*arrays)
