"""The same joint batch on one and four processes: one training, in every number of it."""

import shutil

import pytest
import torch
from small_job import JOINT_BATCH, fit, of_processes, rows, trained

from dim_lightning.cli import main
from dim_lightning.run.result import read_result

# Sums of float32 in another order: 6e-8 of a number each, and 30 steps of Adam follow. Measured:
# 2e-7 of what is logged, 1e-6 of a weight. A wrong image, draw or weight shows in the third digit.
LOGGED, WEIGHT = 1e-5, 2e-5
EXACT = ("knn/", "neighbours/", "probe/online/top1")  # shares of images

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("equal")


@pytest.fixture(scope="module")
def one(folder):
    assert main(fit(folder, "one", 1)) == 0
    return folder / "runs" / "one" / "1"


@pytest.fixture(scope="module")
def four(folder):
    """The run, and what was said."""
    said = of_processes(4, folder / "said by 4", fit(folder, "of_4", 4))
    return folder / "runs" / "of_4" / "1", said


def test_there_is_one_folder_and_one_process_speaks(four):
    run, said = four
    assert [path.name for path in run.parent.iterdir()] == ["1"]
    assert said.count("epoch 1/3") == 1
    assert f"M parameters, 4 x CPU, joint batch {JOINT_BATCH}\n" in said


def test_what_is_logged_is_equal(one, four):
    """Losses, probe, kNN, geometry, with a last validation batch that cannot be divided."""
    expected, found = rows(one), rows(four[0])
    assert len(expected) == len(found)
    logged = set()
    for row, other in zip(expected, found, strict=True):
        assert row.keys() == other.keys()
        for name, value in row.items():
            tolerance = 1e-6 if name.startswith(EXACT) else LOGGED
            close = pytest.approx(float(value), rel=tolerance, abs=1e-6)
            assert float(other[name]) == close, name
        logged |= row.keys()
    assert {"train/loss", "val/loss", "probe/online/top1", "geometry/effective_rank"} <= logged
    assert "knn/cosine/k20_t0.07/top1" in logged


def test_what_is_trained_is_equal(one, four):
    """The weights, Adam's moments and the probe."""
    expected, found = trained(one), trained(four[0])
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=WEIGHT, msg=name)
    assert read_result(four[0])["fit"]["images_seen"] == read_result(one)["fit"]["images_seen"]


def test_so_is_the_offline_evaluation(one, folder):
    """By two processes, of which the first measures."""
    shutil.copytree(one, folder / "copy")
    assert main(["test", "--run", str(one)]) == 0
    alone = read_result(one)["test"]
    half = ["--data.batch_size", str(JOINT_BATCH // 2)]
    of_processes(2, folder / "said by 2", ["test", "--run", str(folder / "copy"), *half])
    together = read_result(folder / "copy")["test"]
    assert alone.keys() == together.keys()
    for name, value in alone.items():
        if isinstance(value, float) and name != "seconds":
            assert together[name] == pytest.approx(value, rel=LOGGED), name
