import hashlib
import io
import os
import shutil
import socket
import zipfile

import numpy as np
import pytest

from dim_lightning.data import TinyImageNet
from dim_lightning.errors import InputError


def test_classes_stand_in_the_order_of_wnids_with_their_words(tiny):
    parts = TinyImageNet().find(tiny.parent).read()
    # two of the classes share their first word, and only they keep the rest
    assert parts.class_names == ["crane, a machine", "crane, a bird", "goldfish"]
    assert parts.train.labels.tolist() == np.repeat([0, 1, 2], 4).tolist()
    assert "train/n03/images/n03_0" in parts.train.pictures[0]


def test_the_labelled_val_is_the_test_part_read_through_its_annotations(tiny):
    test = TinyImageNet().find(tiny.parent).read().test
    assert [path.rpartition("/")[2] for path in test.pictures] == [
        f"val_{i}.JPEG" for i in (5, 0, 4, 1, 2, 3)
    ]
    assert test.labels.tolist() == [2, 0, 1, 1, 2, 0]


def test_no_file_is_moved(tiny):
    before = sorted(tiny.rglob("*"))
    TinyImageNet().find(tiny.parent).read()
    assert sorted(tiny.rglob("*")) == before


def test_changed_annotations_change_the_fingerprint(tiny):
    before = TinyImageNet().find(tiny.parent).fingerprint
    annotations = tiny / "val" / "val_annotations.txt"
    annotations.write_text(annotations.read_text().replace("val_0.JPEG\tn03", "val_0.JPEG\tn01"))
    assert TinyImageNet().find(tiny.parent).fingerprint != before


@pytest.mark.parametrize("name", ["wnids.txt", "words.txt", "train", "val/val_annotations.txt"])
def test_a_missing_part_is_named(tiny, name):
    path = tiny / name
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    with pytest.raises(InputError, match=f"lacks {name}"):
        TinyImageNet().find(tiny.parent)


def test_a_class_without_pictures_is_named(tiny):
    shutil.rmtree(tiny / "train" / "n01")
    with pytest.raises(InputError, match=r"1 of the 3 classes of wnids\.txt: n01"):
        TinyImageNet().find(tiny.parent)


def test_an_annotated_picture_that_is_missing_is_named(tiny):
    (tiny / "val" / "images" / "val_4.JPEG").unlink()
    with pytest.raises(InputError, match=r"1 of them .*val_4\.JPEG"):
        TinyImageNet().find(tiny.parent)


def zipped(folder):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder.parent))
    return content.getvalue()


@pytest.fixture
def mirror(tiny, server):
    """Serves the archive; the source that downloads it."""
    server.content = zipped(tiny)
    md5 = hashlib.md5(server.content).hexdigest()
    shutil.rmtree(tiny)
    return TinyImageNet(url=server.url, md5=md5)


def test_it_is_downloaded_and_unpacked(tmp_path, mirror):
    parts = mirror.find(tmp_path / "root").read()
    assert len(parts.train.pictures) == 12
    left = sorted(path.name for path in (tmp_path / "root").iterdir() if path.suffix != ".lock")
    assert left == ["tiny-imagenet-200", "tiny-imagenet-200.zip"]


def test_an_archive_that_lies_there_needs_no_network(tmp_path, mirror, server):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "tiny-imagenet-200.zip").write_bytes(server.content)
    source = TinyImageNet(download=False, url=server.url, md5=mirror.md5)
    assert len(source.find(tmp_path / "root").read().train.pictures) == 12
    assert server.ranges == []


def test_half_an_unpacked_folder_is_done_again(tmp_path, mirror):
    mine = f"{socket.gethostname()}-{os.getpid()}"  # the number of one that was killed
    partial = tmp_path / "root" / f"tiny-imagenet-200.{mine}.partial"
    partial.mkdir(parents=True)
    (partial / "wnids.txt").write_text("n0")
    assert len(mirror.find(tmp_path / "root").read().train.pictures) == 12
    assert not partial.exists()
