import os

import numpy as np
import pytest

from dim_lightning.data.cache import cached
from dim_lightning.data.contents import cached_contents, hash_of_parts
from dim_lightning.data.sources import Found, Part, Parts, PictureFolder


def contents(folder):
    cache_dir = folder.parent / "cache"
    return cached_contents(cached(PictureFolder(str(folder)).find(cache_dir), 8, cache_dir))


def of_pixels(labels, tmp_path):
    part = Part(np.zeros((len(labels), 8, 8, 3), np.uint8), np.asarray(labels))
    found = Found("made", "nowhere", [labels], lambda: Parts(part, None, ["a", "b"]))
    return cached_contents(cached(found, 8, tmp_path))


def test_they_stay_where_the_folder_moves_and_files_are_written_anew(class_folders, draw):
    before = contents(class_folders)
    draw(class_folders / "ant" / "0.png", colour=250)
    moved = class_folders.parent / "else" / "where"
    moved.parent.mkdir()
    class_folders.rename(moved)
    assert contents(moved) == before
    assert before.counts == {"train": 30}


@pytest.mark.parametrize("below", ["", "ant"])
def test_they_are_the_same_seen_from_within(class_folders, monkeypatch, below):
    folder = class_folders / below
    before = contents(folder)
    monkeypatch.chdir(folder)
    found = PictureFolder(".").find(class_folders.parent)
    assert cached_contents(cached(found, 8, class_folders.parent / "within")) == before


def test_they_are_those_of_runs_that_know_the_folder_by_a_relative_path():
    hashes = set()
    for start in ("", f".{os.sep}", "pictures/", "/data/pictures/"):
        names = [f"{start}{name}" for name in ("ant/0.png", "bee/1.png")]
        hashes.add(hash_of_parts(Parts(Part(names, np.zeros(2, np.int64)), None, None)))
    assert len(hashes) == 1


def added(folder, draw):
    draw(folder / "ant" / "new.png")


def removed(folder, draw):
    (folder / "bee" / "3.png").unlink()


def exchanged(folder, draw):
    (folder / "bee" / "3.png").rename(folder / "ant" / "3b.png")


@pytest.mark.parametrize("change", [added, removed, exchanged])
def test_they_are_others_with_other_files(class_folders, draw, change):
    before = contents(class_folders)
    change(class_folders, draw)
    after = contents(class_folders)
    assert after.sha256 != before.sha256
    assert (after.counts == before.counts) == (change is exchanged)


def test_pixels_are_known_by_their_labels(tmp_path):
    before = of_pixels([0, 1, 1], tmp_path)
    assert of_pixels([0, 1, 1], tmp_path / "other") == before
    assert of_pixels([1, 0, 1], tmp_path) != before
