"""An encoder is tested on another data set than it was trained on."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from dim_lightning.cli import main
from dim_lightning.cli.pictures import check_transfer
from dim_lightning.errors import InputError
from dim_lightning.run.environment import write_environment
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
    update_result(copied, "test", {"probe/linear/y/top1": 0.5, "epochs_trained": 1})
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
    said = f"evaluation.transfer is digits, and data.source is that of {copied}; give another"
    assert said in capsys.readouterr().err
    assert read_result(copied) == before


def test_another_data_set_is_one_of_another_source(tmp_path):
    """More pictures in the run's own folder are none; other pixels of the same names are."""
    source = {"class_path": "PictureFolder", "init_args": {"path": "mine"}}
    (tmp_path / "config.yaml").write_text(json.dumps({"data": {"source": source}}))
    known = {"train": 9, "sha256": "a"}
    write_environment(tmp_path, {"pictures": known})
    update_result(tmp_path, "test", {"epochs_trained": 1})
    grown = {"train": 10, "sha256": "b"}
    check_transfer(tmp_path, grown, source, None)  # measured with a note
    with pytest.raises(InputError, match="leave the name out"):
        check_transfer(tmp_path, grown, source, "more")
    other = {**source, "init_args": {"path": "gray"}}
    check_transfer(tmp_path, known, other, "gray")
    check_transfer(tmp_path, known, other, None)  # they may have been moved
    with pytest.raises(InputError, match=r"--evaluation\.transfer NAME"):
        check_transfer(tmp_path, grown, other, None)


def test_an_early_run_knows_its_pictures_by_its_test(tmp_path):
    (tmp_path / "config.yaml").write_text("data: {source: mine}")
    update_result(tmp_path, "test", {"epochs_trained": 1, "pictures": "a"})
    check_transfer(tmp_path, {"train": 9, "sha256": "a"}, {}, None)
    with pytest.raises(InputError, match="others by name or number"):
        check_transfer(tmp_path, {"train": 9, "sha256": "b"}, {}, None)


def test_a_training_is_of_its_own_pictures(workshop, capsys):
    assert workshop.fit("--experiment", "none", "--evaluation.transfer", "digits") == 2
    assert "evaluation.transfer is digits, which is for `test`" in capsys.readouterr().err
    assert not (workshop.runs / "none").exists()
