"""Pictures that lie in a folder twice are told, whichever way they came there."""

import os
import shutil

import numpy as np
import pytest

from dim_lightning.data import PictureFolder
from dim_lightning.data.cache import cached
from dim_lightning.data.copies import Copies
from dim_lightning.data.shards import convert
from dim_lightning.data.sources import Part
from dim_lightning.data.splits import Shares


@pytest.fixture
def folder(tmp_path, draw):
    """Ten pictures to train on and four to test, all different."""
    folder = tmp_path / "pictures"
    for i in range(10):
        draw(folder / "train" / f"{i}.png", seed=i)
    for i in range(10, 14):
        draw(folder / "test" / f"{i}.png", seed=i)
    return folder


def decode(folder, tmp_path):
    cached(PictureFolder(str(folder)).find(folder), 8, tmp_path / "cache")


@pytest.mark.parametrize("copy", [shutil.copy, os.link, os.symlink])
def test_a_picture_of_the_test_part_that_is_trained_on_is_told(folder, tmp_path, capsys, copy):
    copy(folder / "train" / "3.png", folder / "test" / "again.png")
    decode(folder, tmp_path)
    assert (
        f"1 of 15 pictures in {folder} are copies of others, by their pixels at 8x8: "
        f"{folder}/test/again.png of {folder}/train/3.png; 1 of test are in train, too; a picture "
        "that is trained on measures nothing: keep one of each\n"
    ) in capsys.readouterr().err


def test_copies_within_the_training_part_are_told(folder, tmp_path, capsys):
    for name in ("a.png", "b.png"):
        shutil.copy(folder / "train" / "9.png", folder / "train" / name)
    decode(folder, tmp_path)
    said = capsys.readouterr().err
    assert f"2 of 16 pictures in {folder} are copies" in said
    assert "b.png of " in said
    assert "in train, too" not in said


def test_nothing_is_said_of_pictures_that_differ(folder, tmp_path, capsys):
    decode(folder, tmp_path)
    assert "copies" not in capsys.readouterr().err


def test_pixels_without_files_are_no_copies(capsys):
    copies = Copies({"train": Part(np.zeros((2, 8, 8, 3), np.uint8), np.zeros(2, np.int64))})
    for row in (0, 1):
        copies.add("train", row, bytes(192))
    copies.say("arrays", 8)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_conversion_tells_of_them_also_where_it_goes_on(
    tmp_path, draw, capsys, monkeypatch, goes_on
):
    folder, output = tmp_path / "pictures", tmp_path / "shards"
    for i in range(40):
        draw(folder / f"{i:02}.png", seed=i // 2)  # each twice
    found, shares = PictureFolder(str(folder)).find(folder), Shares(0.2, 0.2, 0)
    if goes_on:
        with monkeypatch.context() as patch:
            patch.setattr(Copies, "say", interrupted)
            with pytest.raises(KeyboardInterrupt):
                convert(found, 8, shares, output, 5 * 3 * 8 * 8)
        sorted((tmp_path / "shards.partial").glob("*.parquet"))[-1].unlink()
    convert(found, 8, shares, output, 5 * 3 * 8 * 8)
    said = capsys.readouterr().err
    assert said.count(f"20 of 40 pictures in {folder} are copies of others") == 1
    dealt = shares.rows(40, None)
    trained = {row // 2 for row in dealt["train"].tolist()}
    for name in ("val", "test"):
        count = sum(row // 2 in trained for row in dealt[name].tolist())
        assert count
        assert f"; {count} of {name} are in train, too" in said


def interrupted(*_):
    raise KeyboardInterrupt
