"""What is refused in a sweep file, and that the project's own are accepted here and by wandb."""

import datetime
import math
import re
from pathlib import Path

import pytest
from wandb.apis.public.sweeps import _validate_config_and_fill_distribution
from wandb.sdk.launch.sweeps.utils import load_sweep_config

from dim_lightning.errors import InputError
from dim_lightning.sweep.definition import read_definition, searched
from dim_lightning.sweep.runner import number_of_trials
from dim_lightning.sweep.search import random_point, values_at
from dim_lightning.sweep.space import value_at

PROJECT = Path(__file__).parent.parent.parent
FILES = sorted((PROJECT / "experiments" / "sweeps").glob("*.yaml"))


def test_there_are_sweeps():
    methods = {read_definition(path).method for path in FILES}
    assert methods == {"grid", "random", "bayes"}
    assert any(read_definition(path).early_terminate for path in FILES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_sweep_of_the_project(path):
    definition = read_definition(path)
    assert number_of_trials(definition, None) > 1
    assert definition.metric.startswith("best/")
    configs = [word for word in definition.command if word.startswith("experiments/")]
    assert all((PROJECT / word).is_file() for word in configs)
    comment = re.match(r"(#.*\n)+", path.read_text())
    assert f"sweep {path.relative_to(PROJECT)}" in comment[0]


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # wandb leaves it open
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_wandb_reads_the_same_distributions(path):
    theirs = _validate_config_and_fill_distribution(load_sweep_config(str(path)))["parameters"]
    ours = read_definition(path).parameters
    assert theirs.keys() == ours.keys()
    point = values_at(ours, random_point(ours, 0, 1), grid=False)
    for name, settings in theirs.items():
        if settings.get("distribution") == "uniform":
            assert isinstance(point[name], float)
            assert value_at(ours[name], 0.5) == (settings["min"] + settings["max"]) / 2
        elif settings.get("distribution") == "log_uniform_values":
            middle = (settings["min"] * settings["max"]) ** 0.5
            assert value_at(ours[name], 0.5) == pytest.approx(middle)
        elif "values" in settings:
            assert point[name] in settings["values"]
        else:
            assert point[name] == settings["value"]


def test_a_constant_is_not_searched(bench):
    bench.write(parameters={"quality": {"values": [1, 2]}, "epochs": {"value": 3}})
    assert list(searched(read_definition(bench.file))) == ["quality"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "custom"}, "method is 'custom'; expected one of grid, random, bayes"),
        ({"scheduler": {"engine": "ax"}}, "scheduler is not supported here"),
        ({"metric": None}, "metric is None; expected a name and a goal"),
        ({"metric": {"name": "x", "impute": "worst"}}, "by its last value; expected latest"),
        ({"metric": {"name": "x", "target": 1}}, "metric.target is not supported here"),
        ({"metric": {"name": "x", "goal": "up"}}, "expected minimize or maximize"),
        ({"parameters": {}}, "expected settings by their full name"),
        ({"parameters": {"x": {"min": 0.0, "max": 1.0}}}, "method grid needs"),
        (
            {"parameters": {"x": {"distribution": "q_uniform", "min": 2, "max": 2}}},
            "q_uniform with max above min",
        ),
        (
            {"parameters": {"x": {"values": [1, 2], "probabilities": [0.5, 0.5]}}},
            "probabilities, which method grid",
        ),
        ({"command": None}, "command is None"),
        ({"command": ["python", "train.py"]}, "hands no parameters to the trial"),
        ({"command": ["python", "${args_append_hydra}"]}, "args_append_hydra}, which is not"),
        ({"run_cap": 0}, "run_cap is 0"),
        ({"early_terminate": {"type": "envelope"}}, "expected type: hyperband"),
        ({"early_terminate": {"type": "hyperband"}}, "expected min_iter, or max_iter and s"),
        ({"early_terminate": {"type": "hyperband", "min_iter": 1, "eta": 1}}, "eta is 1; "),
        ({"early_terminate": {"type": "hyperband", "min_iter": 1, "eta": 2000}}, "from 1 to 100"),
        ({"early_terminate": {"type": "hyperband", "min_iter": math.nan}}, "min_iter is nan"),
        ({"early_terminate": {"type": "hyperband", "max_iter": 9, "s": 2.9}}, "a whole number"),
        (
            {"early_terminate": {"type": "hyperband", "min_iter": 1, "strict": "no"}},
            "strict is 'no'; expected true or false",
        ),
        ({"early_terminate": {"type": "hyperband", "steps": 1}}, "has steps"),
        ({"name": datetime.date(2026, 11, 30)}, "name is 2026-11-30; expected .* into quotes"),
        ({"parameters": {"x": {"values": [1, datetime.date(2026, 1, 2)]}}}, r"x\.values\[1\] is"),
        ({"early_terminate": {"type": "hyperband", "s": math.inf}}, r"early_terminate\.s is inf"),
    ],
)
def test_what_is_refused(bench, capsys, changes, message):
    bench.write(**changes)
    with pytest.raises(InputError, match=message):
        read_definition(bench.file)
    assert bench.sweep() == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert not (bench.output / "trials").exists()


def test_a_goal_left_out_is_to_minimise_as_on_wandb(bench):
    bench.write(metric={"name": "val/loss"})
    assert not read_definition(bench.file).maximise


def test_no_yaml(tmp_path):
    (tmp_path / "tabs.yaml").write_text("method: grid\n\tname: x\n")
    with pytest.raises(InputError, match="as YAML: line 2: found character"):
        read_definition(tmp_path / "tabs.yaml")


def test_no_such_file(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        read_definition(tmp_path / "nothing.yaml")
