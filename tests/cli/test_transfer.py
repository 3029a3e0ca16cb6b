"""An encoder is tested on another data set than it was trained on."""

import shutil

import numpy as np
import pytest
from PIL import Image

from dim_lightning.cli import main
from dim_lightning.run.result import read_result, update_result


@pytest.fixture
def copied(finished, tmp_path):
    """A finished run on digits, which have ten classes."""
    return shutil.copytree(finished, tmp_path / "copied")


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """What names 90 pictures of three classes, as words of a command."""
    folder = tmp_path_factory.mktemp("others")
    rng = np.random.default_rng(0)
    for i in range(90):
        place = folder / "abc"[i % 3] / f"{i}.png"
        place.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(place)
    source = ["--data.source", "PictureFolder", "--data.source.path", str(folder)]
    return [*source, "--data.cache_dir", str(folder / "cache")]


def test_figures_of_both_are_kept(copied, others, capsys):
    test = ["test", "--run", str(copied), "--evaluation.linear_dim", "1"]
    update_result(copied, "test", {"probe/linear/y/top1": 0.5, "steps_trained": 3})
    before = read_result(copied)
    assert main([*test, *others]) == 2
    error = capsys.readouterr().err
    assert "there were 1,797 pictures and are 90 pictures" in error
    assert "add --evaluation.transfer NAME" in error
    assert main([*test, *others, "--evaluation.transfer", "noise"]) == 0
    result = read_result(copied)
    found = result.pop("transfer/noise")
    assert result == before
    assert found["num_test"] == 18
    assert found["transfer"] == "noise"
    assert "other_pictures" not in found
    assert "transfer to noise, layer embedding" in capsys.readouterr().out


def test_its_own_pictures_are_not_another_data_set(copied, capsys):
    before = read_result(copied)
    assert main(["test", "--run", str(copied), "--evaluation.transfer", "digits"]) == 2
    said = f"evaluation.transfer is digits, and these are the pictures that {copied} was trained on"
    assert said in capsys.readouterr().err
    assert read_result(copied) == before


def test_a_training_is_of_its_own_pictures(workshop, capsys):
    assert workshop.fit("--experiment", "none", "--evaluation.transfer", "digits") == 2
    assert "evaluation.transfer is digits, which is for `test`" in capsys.readouterr().err
    assert not (workshop.runs / "none").exists()
