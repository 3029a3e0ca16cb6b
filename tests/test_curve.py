"""The curve of a long training: what is fitted, what is said, and that it goes on."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from dim_lightning.errors import InputError

ROOT = Path(__file__).parent.parent
PAPER = ROOT / "experiments" / "paper"
DIGITS = ROOT / "experiments" / "digits" / "blog.yaml"
INFO_NCE = PAPER / "cifar10" / "dim_l_infonce.yaml"
EPOCHS = [5, 10, 20, 40, 80]


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(PAPER / "curve.py"))


def rows_of(curve):
    key = "probe/mlp200/conv/top1"
    return [{"epochs": n, "seconds": 60.0 * n, "figures": {key: curve(n) / 100}} for n in EPOCHS]


def test_a_power_law_is_found_again(script):
    law = script["Power"](76.0, 30.0, 0.5)
    values = [law(n) for n in EPOCHS]
    assert script["fitted"](EPOCHS, values) == pytest.approx(law, rel=1e-6)
    value, least, most = script["promised"](EPOCHS, values, 1000)
    assert least == pytest.approx(most) == pytest.approx(value) == pytest.approx(law(1000))


def test_the_range_is_that_of_the_fits_without_a_point(script):
    values = [50.0, 60.0, 63.0, 70.0, 71.0]
    value, least, most = script["promised"](EPOCHS, values, 1000)
    without = [
        script["fitted"](EPOCHS[:i] + EPOCHS[i + 1 :], values[:i] + values[i + 1 :])(1000)
        for i in range(5)
    ]
    assert (least, most) == (min(without), max(without))
    assert least < value < most


def test_the_table_has_the_papers_numbers_and_checks_itself(script):
    law = script["Power"](76.0, 30.0, 0.5)
    columns = script["columns_of"](INFO_NCE)
    assert columns["probe/mlp200/conv/top1"] == ("conv", 75.21)
    lines = script["text"](rows_of(law), columns).splitlines()
    assert lines[2] == f"| 5 | {law(5):.2f} |"
    assert lines[-4:] == [
        f"| fitted, 1000 | {law(1000):.1f} ({law(1000):.1f} to {law(1000):.1f}) |",
        "| paper, 1000 | 75.21 |",
        f"| 80, as measured | {law(80):.2f} |",
        f"| 80, by the others | {law(80):.2f} |",
    ]
    assert script["draw"](rows_of(law), columns).startswith(b"\x89PNG")


def test_a_schedule_of_the_learning_rate_is_refused(script):
    with pytest.raises(InputError, match=r"fast_10\.yaml sets model\.lr_scheduler"):
        script["check_config"](ROOT / "experiments" / "cifar10" / "fast_10.yaml")
    with pytest.raises(InputError, match="no configuration nowhere"):
        script["check_config"](Path("nowhere.yaml"))


@pytest.mark.slow
def test_one_run_goes_on_from_test_to_test(tmp_path):
    words = [str(DIGITS), "--runs_dir", str(tmp_path), "--evaluation.mlp_epochs=1"]
    words += ["--trainer.limit_train_batches", "2", "--trainer.accelerator", "cpu"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for epochs in (["1"], ["1", "2"]):
        command = [sys.executable, str(PAPER / "curve.py"), *words, "--epochs", *epochs]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr[-2000:]
    assert " fit --resume " in done.stdout
    run = tmp_path / "blog_curve" / "1"
    rows = json.loads((run / "curve.json").read_text())
    assert [row["epochs"] for row in rows] == [1, 2]
    assert all(0 < row["figures"]["probe/mlp200/conv/top1"] < 1 for row in rows)
    assert (run / "curve.png").is_file()
