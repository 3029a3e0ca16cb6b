"""Sweeps over real trainings on the digits, run here and by wandb's own agent."""

import json
import os
import sys
from pathlib import Path

import pytest
import yaml
from wandb.sdk.launch.sweeps.utils import load_sweep_config
from wandb.wandb_agent import Agent

from dim_lightning.run.metrics import read_metrics
from dim_lightning.sweep.definition import read_definition
from dim_lightning.sweep.search import grid_point, values_at

PROJECT = Path(__file__).parent.parent.parent
DIGITS = PROJECT / "experiments" / "sweeps" / "digits_grid.yaml"
ENCODER = {"class_path": "BlogEncoder", "init_args": {"widths": [4]}}
TINY = {
    "data.image_size": 8,
    "model.encoder": ENCODER,
    "trainer.max_epochs": 1,
    "trainer.limit_train_batches": 2,
    "trainer.accelerator": "cpu",
}


@pytest.mark.slow
@pytest.mark.usefixtures("forked_commands")
def test_two_trials_of_the_digits_sweep(bench, tmp_path, monkeypatch):
    monkeypatch.chdir(PROJECT)
    content = yaml.safe_load(DIGITS.read_text())
    constants = {**TINY, "data.root": str(tmp_path / "data")}
    content["parameters"] |= {name: {"value": value} for name, value in constants.items()}
    content["parameters"]["model.local_weight"] = {"values": [0.5]}
    bench.file.write_text(yaml.safe_dump(content))
    assert bench.sweep("--count", "2") == 0
    rows = bench.rows()
    assert [row["status"] for row in rows] == ["finished"] * 2
    for row in rows:
        run = bench.output / row["run"]
        config = yaml.safe_load((run / "config.yaml").read_text())
        assert config["model"]["global_weight"] == float(row["model.global_weight"])
        assert config["trainer"]["logger"] is None
        last = read_metrics(run)["best/probe/online/top1"][-1].value
        assert float(row["best/probe/online/top1"]) == pytest.approx(last)
    values = [float(row["best/probe/online/top1"]) for row in rows]
    assert values == sorted(values, reverse=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # wandb leaves it open
def test_the_command_that_the_agent_of_wandb_starts(tmp_path, monkeypatch):
    definition = read_definition(DIGITS)
    parameters = values_at(definition.parameters, grid_point(definition.parameters, 2), grid=True)
    constants = {**TINY, "data.root": str(tmp_path / "data"), "runs_dir": str(tmp_path / "runs")}
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    environment = {
        "HOME": str(tmp_path),
        "NETRC": str(tmp_path / "netrc"),
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(tmp_path),
        "WANDB_SWEEP_ID": "s1",
        "WANDB_RUN_ID": "",
        "WANDB_SWEEP_PARAM_PATH": "",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(PROJECT)
    agent = Agent(None, None, sweep_id="s1")
    agent._sweep_command = load_sweep_config(str(DIGITS))["command"]
    arguments = {name: {"value": value} for name, value in {**parameters, **constants}.items()}
    agent._command_run({"run_id": "r1", "program": definition.program, "args": arguments})
    assert agent._run_processes["r1"].wait(timeout=600) == 0
    run = tmp_path / "runs" / "digits_blog" / "1"
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["model"]["local_weight"] == parameters["model.local_weight"] == 1.0
    assert config["model"]["global_weight"] == parameters["model.global_weight"] == 0.0
    assert json.loads((run / "wandb.json").read_text())["id"] == "r1"
    assert "best/probe/online/top1" in read_metrics(run)


def test_a_sweep_goes_on_with_the_settings_it_was_begun_with(bench, capsys, tmp_path):
    base, record = tmp_path / "base.yaml", bench.output / "sweep.json"
    settings = yaml.safe_load((DIGITS.parent.parent / "digits" / "blog.yaml").read_text())
    configs = ["--config", str(base), "--config", "${args_json_file}"]
    values = {"local_weight": 0.5, "encoder": ENCODER, "optimizer.class_path": "torch.optim.SGD"}
    values |= {"optimizer.init_args.momentum": 0.9}
    parameters = {f"model.{name}": {"values": [value]} for name, value in values.items()}
    command = ["${env}", "true", "-m", "dim_lightning", "fit", *configs]
    bench.write(command=command, parameters=parameters)

    def said(**changes):
        base.write_text(yaml.safe_dump({**settings, **changes}))
        assert bench.sweep() == 2
        return capsys.readouterr().err

    goes_on = "it logged no best/x"  # since it is `true` that is run
    assert goes_on in said()
    longer = {"trainer": {**settings["trainer"], "max_epochs": 99}}
    error = said(**longer)
    assert f"{bench.output} holds another sweep: training.trainer.max_epochs is 99 now, 50" in error
    assert goes_on in said(data={**settings["data"], "num_workers": 1}, runs_dir="elsewhere")
    content = json.loads(record.read_text())
    assert content["training"]["model"].pop("num_negatives") == 1
    assert {"local_weight", "encoder"}.isdisjoint(content["training"]["model"])
    content["training"]["model"]["gone"] = 1
    record.write_text(json.dumps(content))  # as if another version had begun it
    error = said()
    assert "training.model.num_negatives is 1 now, None then" in error
    assert "training.model.gone is None now, 1 then" in error
    assert "then; give another --output" in error


def test_a_setting_that_fit_does_not_know_is_refused_before_the_first_trial(
    bench, capsys, monkeypatch
):
    monkeypatch.chdir(PROJECT)
    content = yaml.safe_load(DIGITS.read_text())
    content["parameters"] = {"model.local_wieght": {"values": [1.0, 2.0]}}
    bench.file.write_text(yaml.safe_dump(content))
    assert bench.sweep() == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {bench.file}: unknown key model.local_wieght")
    assert "did you mean model.local_weight?" in error
    assert not bench.output.exists()
