"""The curve of a long training: what is fitted, what is said, and that it goes on."""

import json
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from dim_lightning.cli import main
from dim_lightning.errors import InputError

ROOT = Path(__file__).parent.parent
PAPER = ROOT / "experiments" / "paper"
DIGITS = ROOT / "experiments" / "digits" / "blog.yaml"
INFO_NCE = PAPER / "cifar10" / "dim_l_infonce.yaml"
EPOCHS = [5, 10, 20, 40, 80]
# what Lightning 2.6 calls in jsonargparse 4
parses = pytest.mark.filterwarnings(
    "ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning"
)


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


def test_the_range_is_two_standard_errors_of_the_jackknife(script):
    values = [50.0, 60.0, 63.0, 70.0, 71.0]
    value, low, high = script["promised"](EPOCHS, values, 1000)
    without = np.array(
        [
            script["fitted"](EPOCHS[:i] + EPOCHS[i + 1 :], values[:i] + values[i + 1 :])(1000)
            for i in range(5)
        ]
    )
    error = (4 / 5 * ((without - without.mean()) ** 2).sum()) ** 0.5
    assert (value - low, high - value) == pytest.approx((2 * error, 2 * error))


def test_the_range_holds_the_truth_nearly_always(script):
    """Of curves with the noise of 10,000 test images, whose exact form is fitted."""
    generator, epochs, held = np.random.default_rng(0), [10, 20, 40, 80, 150], []
    for law in [script["Power"](76.0, 40.0, 0.5), script["Power"](80.0, 45.0, 0.3)] * 60:
        values = [law(n) + generator.normal(0, 0.45) for n in epochs]
        found = script["promised"](epochs, values, 1000)
        if found is not None:
            held.append(found[1] <= law(1000) <= found[2])
    assert len(held) > 100
    assert np.mean(held) > 0.85


def test_where_a_curve_has_no_limit_yet_no_number_is_said(script):
    columns = script["columns_of"](INFO_NCE)
    for curve in (lambda n: 20 + 8 * np.log(n), script["Power"](130.0, 100.0, 0.2)):
        rows = rows_of(curve)
        assert script["promised"](*script["series"](rows, "probe/mlp200/conv/top1"), 1000) is None
        assert "| fitted, 1000 | no limit seen |" in script["text"](rows, columns)
        assert script["draw"](rows, columns).startswith(b"\x89PNG")


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


@parses
@pytest.mark.parametrize(
    ("config", "words"),
    [
        (ROOT / "experiments" / "cifar10" / "fast_10.yaml", []),
        (DIGITS, ["--model.lr_scheduler", "CosineAnnealingLR", "--model.lr_scheduler.T_max", "3"]),
        (DIGITS, ["--config", "FILE"]),
    ],
)
def test_a_schedule_of_the_learning_rate_is_refused(script, tmp_path, config, words):
    file = tmp_path / "schedule.yaml"
    file.write_text("model: {lr_scheduler: {class_path: StepLR, init_args: {step_size: 3}}}\n")
    words = [word.replace("FILE", str(file)) for word in words]
    with pytest.raises(InputError, match=rf"{config.name} or an option sets model\.lr_scheduler"):
        script["check"](config, words, None)


def test_there_has_to_be_a_configuration(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["curve.py", "nowhere.yaml", "--epochs", "1"])
    with pytest.raises(SystemExit, match="error: there is no configuration nowhere"):
        runpy.run_path(str(PAPER / "curve.py"), run_name="__main__")


def test_a_command_that_takes_too_long_is_ended(script):
    assert not script["_command"](["fit", "--help"], 0.0)
    assert script["_command"](["--version"], 600.0)


@parses
@pytest.mark.slow
@pytest.mark.usefixtures("plain_figures")
def test_one_run_goes_on_from_test_to_test_and_elsewhere(script, tmp_path, monkeypatch):
    """Its commands are done in this process, which is quicker."""
    settings = ["--evaluation.mlp_epochs", "1", "--evaluation.floors", "false"]
    settings += ["--trainer.limit_train_batches", "2"]

    def words(place, *epochs):
        places = ["--runs_dir", str(tmp_path / place), "--data.root", str(tmp_path / place)]
        return [str(DIGITS), *settings, *places, "--minutes", "60", "--epochs", *epochs]

    commands = []

    def command(given, seconds):
        commands.append(given)
        return main(given) == 0

    monkeypatch.setitem(script["main"].__globals__, "_command", command)
    monkeypatch.setattr(sys, "argv", ["curve.py", *words("here", "1")])
    script["main"]()
    assert [given[0] for given in commands] == ["fit", "test"]
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    commands.clear()
    monkeypatch.setattr(sys, "argv", ["curve.py", *words("there", "1", "2")])
    script["main"]()
    assert [given[:2] for given in commands if given[0] == "fit"] == [["fit", "--resume"]]
    run = tmp_path / "there" / "blog_curve" / "1"
    rows = json.loads((run / "curve.json").read_text())
    assert [row["epochs"] for row in rows] == [1, 2]
    assert all(0 < row["figures"]["probe/mlp200/conv/top1"] < 1 for row in rows)
    assert (run / "curve.png").is_file()
    script["check"](DIGITS, [*settings, "--data.root", "else"], run)
    with pytest.raises(InputError) as error:
        script["check"](DIGITS, settings[:-2], run)
    assert "trainer.limit_train_batches: asked None, stored 2" in str(error.value)
