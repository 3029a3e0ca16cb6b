"""What a source of one's own gives."""

from pathlib import Path

import numpy as np
import pytest

from dim_lightning.data.cache import cached
from dim_lightning.data.contents import cached_contents
from dim_lightning.data.shards import convert
from dim_lightning.data.sources import Found, Part, Parts
from dim_lightning.data.sources.checked import read_parts
from dim_lightning.data.splits import Shares
from dim_lightning.errors import InputError

PIXELS = np.zeros((4, 8, 8, 3), np.uint8)
NONE = np.full(4, -1)


def found(part, test=None, names=("a", "b", "c")):
    return Found("own", "nowhere", [0], lambda: Parts(part, test, names))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            found(Part(PIXELS, NONE[:3])),
            r"own gives labels int64 \[3\] of 4 images; expected",
        ),
        (found(Part(PIXELS, [0, 1])), r"gives labels int64 \[2\] of 4 images"),
        (found(Part(PIXELS, ["a"] * 4)), r"gives labels <U1 \[4\]"),
        (found(Part(PIXELS, [0.5] * 4)), r"gives labels float64 \[4\]"),
        (found(Part(PIXELS, [0, 1, 2, -2])), r"-1 where unlabelled"),
        (found(Part(PIXELS, None)), r"gives labels object \[\]"),
        (found(Part(PIXELS, NONE), Part(PIXELS, NONE[:1])), r"gives test_labels int64 \[1\] of 4"),
        (found(Part(PIXELS, [0, 1, 2, 3])), "gives 3 class_names and the class 3; expected a name"),
        (found(Part(PIXELS, NONE), Part(PIXELS, [3] * 4)), "3 class_names and the class 3"),
        (found(Part(PIXELS, [0] * 4), None, None), "gives 0 class_names and the class 0"),
        (found(Part(iter(PIXELS), NONE)), "gives pictures as a .*iterator; expected a list"),
    ],
)
def test_what_does_not_belong_together_is_refused_wherever_it_is_read(given, said, tmp_path):
    with pytest.raises(InputError, match=said):
        cached(given, 8, tmp_path)
    with pytest.raises(InputError, match=said):
        convert(given, 8, Shares(0.1, 0.2, 0), tmp_path / "shards", 1000)


def test_labels_that_come_apart_from_the_pictures_are_looked_at_each_time(class_folders, tmp_path):
    paths = [str(path) for path in sorted(class_folders.rglob("*.png"))]
    labels = np.arange(30) % 3
    given = found(Part(paths, labels))._replace(labels=["now"])
    assert cached(given, 8, tmp_path).labels["train"].tolist() == labels.tolist()
    short = found(Part(paths, labels[:20]))._replace(labels=["then"])
    with pytest.raises(InputError, match=r"labels int64 \[20\] of 30 images"):
        cached(short, 8, tmp_path)


def test_lists_of_labels_become_whole_numbers():
    parts = read_parts(found(Part(PIXELS, [0, 1, 2, -1]), Part(PIXELS, np.zeros(4, np.uint8))))
    assert parts.train.labels.dtype == parts.test.labels.dtype == np.int64
    assert parts.train.labels.tolist() == [0, 1, 2, -1]


def test_path_objects_keep_the_names_of_their_files(class_folders, tmp_path):
    """By which other pictures are told from these."""
    paths = sorted(class_folders.rglob("*.png"))
    of_text, of_paths = (
        cached(found(Part(given, np.full(30, -1))), 8, tmp_path / name)
        for name, given in (("text", [str(path) for path in paths]), ("paths", paths))
    )
    names = [(ready.folder / "train_names.json").read_text() for ready in (of_text, of_paths)]
    assert names[0] == names[1]
    assert cached_contents(of_text) == cached_contents(of_paths)
    mixed = read_parts(found(Part([str(paths[0]), Path(paths[1])], [0, 1]))).train
    assert mixed.pictures == [str(paths[0]), str(paths[1])]
    assert mixed.named
