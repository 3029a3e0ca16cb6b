"""A sweep from its file to its page: failures, early stops, and kill -9."""

import json
import re
import shlex
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from forked import Forked, command

from dim_lightning.cli import main
from dim_lightning.cli.sweep import _output
from dim_lightning.errors import InputError
from dim_lightning.run.child import Child
from dim_lightning.sweep import runner
from dim_lightning.sweep.definition import read_definition
from dim_lightning.sweep.process import Process
from dim_lightning.sweep.record import Trial, read_trials, trial_folder, write_trial
from dim_lightning.sweep.runner import Runner


def test_a_grid_to_its_end(bench, capsys, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert bench.sweep("--workers", "2") == 0
    assert [(bench.output / f"trials/{n}/1/gpus").read_text() for n in (1, 2)] == ["0", "1"]
    rows = bench.rows()
    assert [row["quality"] for row in rows] == ["0.3", "0.2", "0.1"]
    assert [row["trial"] for row in rows] == ["2", "3", "1"]
    assert [row["best/x"] for row in rows] == ["0.6", "0.4", "0.2"]  # the last value
    assert {row["status"] for row in rows} == {"finished"}
    assert [row["run"] for row in rows] == ["trials/2/1", "trials/3/1", "trials/1/1"]
    out = capsys.readouterr().out
    table = out[out.index("trial  best/x") :].splitlines()
    assert table[1].split()[:3] == ["2", "0.6", "0.3"]
    assert str(bench.output / "sweep.html") in out


def test_the_page_needs_nothing_else(bench):
    bench.write(
        method="random",
        parameters={
            "quality": {"distribution": "log_uniform_values", "min": 0.1, "max": 0.9},
            "kind": {"values": [{"class_path": "a.Big"}, {"class_path": "a.<Small>"}]},
        },
    )
    assert bench.sweep("--count", "4") == 0
    page = (bench.output / "sweep.html").read_text()
    assert "<script" not in page
    assert set(re.findall(r"https?://[^\"<\s]+", page)) <= {"http://www.w3.org/2000/svg"}
    assert page.count('<g class="trial">') == 4
    assert 'aria-label="Parallel coordinates of 4 trials; the table below has the same"' in page
    assert "&lt;Small&gt;" in page
    assert "a.<Small>" not in page
    assert "summary.html" not in page  # none of these trials has written one
    (bench.output / "trials" / "1" / "1" / "summary.html").touch()
    (bench.output / "trials" / "2" / "1" / "checkpoints").mkdir()
    (bench.output / "trials" / "2" / "1" / "checkpoints" / "last.ckpt").touch()
    assert bench.sweep("--count", "4") == 0
    page = (bench.output / "sweep.html").read_text()
    assert page.count("summary.html") == 1
    assert 'href="trials/1/1/summary.html"' in page


@pytest.mark.parametrize("name", ["../../out", "{}/absolute", "a\nb", "\0"])
def test_a_name_that_leads_out_of_the_folder_of_sweeps(bench, capsys, monkeypatch, tmp_path, name):
    name = name.format(tmp_path)
    here = tmp_path / "some" / "folder"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    bench.write(name=name)
    assert main(["sweep", str(bench.file)]) == 2
    said = f"error: {bench.file}: name is {name!r}, which names no folder below sweeps/"
    assert capsys.readouterr().err.startswith(said)
    assert set(tmp_path.rglob("*")) == {here.parent, here, bench.file}
    asked = tmp_path / "asked"
    assert _output(asked, name, bench.file) == asked  # any name will do


def test_a_name_may_be_of_several_words(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    name = "lr: JSD, all widths"
    assert _output(None, name, Path("a.yaml")) == Path("sweeps", name, "1")


def test_a_failed_trial_does_not_stop_the_others(bench, capsys):
    parameters = {"quality": {"value": 0.5}, "fail": {"values": [False, True]}}
    bench.write(parameters=parameters)
    assert bench.sweep() == 0
    good, bad = bench.rows()
    assert (good["status"], bad["status"], bad["best/x"]) == ("finished", "failed", "")
    assert bad["error"].endswith("error: model.local_weight is -1; expected at least 0")
    assert "failed  error: model.local_weight is -1" in capsys.readouterr().out
    assert "model.local_weight is -1" in (bench.output / "sweep.html").read_text()


def test_a_trial_whose_metric_is_no_number_has_no_value(bench):
    """It neither stops a Bayesian search, now or when it goes on, nor stands before others."""
    parameters = {"quality": {"values": ["nan", "0.2", "0.3"]}, "epochs": {"value": 1}}
    bench.write(method="bayes", parameters=parameters)
    assert bench.sweep("--count", "4") == 0
    assert bench.sweep("--count", "8") == 0
    rows = bench.rows()
    assert {row["status"] for row in rows} == {"finished"}
    values = [row["best/x"] for row in rows]
    count = sum(row["quality"] == "nan" for row in rows)
    assert 0 < count < 8
    assert values[-count:] == [""] * count
    assert values[:-count] == sorted(values[:-count], reverse=True)


def test_when_all_fail_the_sweep_fails(bench, capsys):
    bench.write(parameters={"fail": {"value": True}, "quality": {"values": [1, 2]}})
    assert bench.sweep() == 2
    assert "all 2 trials failed; the last said:" in capsys.readouterr().err


def test_a_damaged_record_of_the_sweep_is_named(bench, capsys):
    bench.write()
    bench.output.mkdir()
    (bench.output / "sweep.json").write_text("null")
    assert bench.sweep() == 2
    said = "sweep.json holds None; expected names and values; bring it back, or give another"
    assert said in capsys.readouterr().err


def test_a_metric_that_is_never_logged_ends_the_sweep_with_the_first_trial(bench, capsys):
    bench.write(metric={"name": "best/y"})
    assert bench.sweep() == 2
    said = "trial 1: it logged no best/y, metric.name of the sweep; did you mean best/x"
    assert said in capsys.readouterr().err
    assert [row["status"] for row in bench.rows()] == ["failed"]


def test_a_metric_that_another_trial_at_work_has_logged_is_no_mistake(bench):
    parameters = {"quality": {"value": 0.1}, "pause": {"values": [60.0, 0.0]}}
    bench.write(metric={"name": "best/x"}, parameters=parameters)
    definition = read_definition(bench.file)
    sweep = Runner(definition, bench.output, 0, 2, 2)
    write_trial(bench.output, Trial(1, {"quality": 0.1}, {"quality": 0}))
    run = trial_folder(bench.output, 1) / "1"
    run.mkdir()
    (run / "config.yaml").touch()
    sweep.trials = read_trials(bench.output)
    process = sweep._at_work[1] = sweep._process(sweep.trials[1])
    process.lacks_metric = True
    process.trial.error = "it logged none"
    with pytest.raises(InputError, match=r"trial 1: it logged none; set metric\.name"):
        sweep._check(process)
    (run / "metrics.csv").write_text("epoch,step,best/x\n0,0,0.5\n")
    sweep._check(process)


def test_trials_that_fail_one_after_the_other_end_the_sweep_and_can_be_retried(
    bench, capsys, monkeypatch
):
    """As where the disk is full: what is left is not used up for nothing."""
    parameters = {"quality": {"values": [n / 10 for n in range(1, 9)]}, "fail": {"value": True}}
    bench.write(parameters=parameters)
    assert bench.sweep() == 2
    said = capsys.readouterr().err
    assert "5 trials failed at once, one after the other" in said
    assert f"the same command with --output {bench.output} goes on" in said
    assert said.rstrip().endswith("error: model.local_weight is -1; expected at least 0")
    assert len(bench.rows()) == 5
    monkeypatch.setenv("MENDED", "1")
    assert bench.sweep() == 0
    assert sum(row["status"] == "failed" for row in bench.rows()) == 5
    assert bench.sweep("--retry_failed") == 0
    assert {row["status"] for row in bench.rows()} == {"finished"}
    assert {row["error"] for row in bench.rows()} == {""}
    assert bench.sweep("--retry_failed") == 0
    assert {row["run"][-2:] for row in bench.rows()} == {"/1", "/2"}


def test_a_trial_that_somebody_ends_is_gone_on_with_when_the_sweep_is_resumed(bench, capsys):
    bench.write(parameters={"quality": {"values": [0.1, 0.2]}, "ends_as": {"value": 143}})
    assert bench.sweep() == 0
    assert [row["status"] for row in bench.rows()] == ["interrupted"] * 2
    said = f"interrupted: 1, 2; to go on: python -m dim_lightning sweep {bench.file} --output"
    assert said in capsys.readouterr().out
    assert bench.sweep() == 0
    assert {row["run"][-2:] for row in bench.rows()} == {"/2"}


def test_a_run_beside_that_of_a_trial_does_not_take_its_place(bench):
    """As of the trial's config.yaml, trained on with other settings."""
    assert bench.sweep() == 0
    beside = bench.output / "trials" / "1" / "2"
    (beside / "checkpoints").mkdir(parents=True)
    for name in ("config.yaml", "checkpoints/last.ckpt"):
        (beside / name).touch()
    assert bench.sweep() == 0
    assert {row["run"] for row in bench.rows()} == {f"trials/{n}/1" for n in (1, 2, 3)}
    record = bench.output / "trials" / "1" / "trial.json"
    content = json.loads(record.read_text())
    record.write_text(json.dumps(content | {"status": "interrupted"}))  # and it has no state
    trials = []
    again = Runner(read_definition(bench.file), bench.output, 0, 3, 1)
    again.run(lambda trial: trials.append((trial.status, list(trial.history), trial.run)))
    assert trials[0] == ("running", [], None)
    assert trials[1] == ("finished", content["history"], "3")


def test_the_best_trial_is_named_with_what_to_do_next(bench, capsys):
    bench.write(name="all widths")
    assert bench.sweep() == 0
    assert "test the best" not in capsys.readouterr().out  # it has left no state
    best = bench.output / "trials" / "2" / "1"
    (best / "checkpoints").mkdir()
    (best / "checkpoints" / "last.ckpt").touch()
    assert bench.sweep() == 0
    start = f"python -m dim_lightning test --run {best}"
    anew = f"fit --config {best}/config.yaml --runs_dir runs --experiment 'all widths'\n"
    out = capsys.readouterr().out
    assert f"test the best, trial 2:  {start}\n" in out
    assert anew in out
    assert start in (bench.output / "sweep.html").read_text()


def test_a_trial_goes_on_with_the_words_that_the_command_begins_with(bench):
    """They may set variables, such as where an encoder of one's own is found."""
    words = ["${env}", "PYTHONPATH=parts", "${interpreter}", "-m", "dim_lightning", "fit"]
    bench.write(command=[*words, "--config", "${args_json_file}"])
    trial = Trial(1, {"quality": 0.1}, {"quality": 0}, "interrupted")
    write_trial(bench.output, trial)
    process = Process(bench.output, read_definition(bench.file), trial, 1, ())
    start = ["/usr/bin/env", "PYTHONPATH=parts", sys.executable, "-m", "dim_lightning", "fit"]
    assert process._state() is None
    assert process._command(process.child.folder, None)[:7] == [*start, "--config"]
    run = trial_folder(bench.output, 1) / "1"
    (run / "checkpoints").mkdir(parents=True)
    for name in ("config.yaml", "checkpoints/last.ckpt"):
        (run / name).touch()
    assert process._state() == run
    assert process._command(process.child.folder, run) == [*start, "--resume", str(run)]
    bench.write()  # a program of one's own
    other = Process(bench.output, read_definition(bench.file), trial, 1, ())
    assert other._command(other.child.folder, run)[1:] == [*start[3:], "--resume", str(run)]


def test_more_trials_than_run_cap_can_be_asked_for(bench):
    bench.write(method="random", run_cap=1)
    assert bench.sweep() == 0
    assert bench.sweep("--count", "2") == 0
    assert len(bench.rows()) == 2


def test_what_ended_is_not_repeated_and_a_deleted_trial_is(bench):
    assert bench.sweep("--count", "2") == 0
    records = {n: bench.output / "trials" / str(n) / "trial.json" for n in (1, 2)}
    before = records[1].stat().st_mtime_ns
    records[2].unlink()
    assert bench.sweep() == 0
    assert records[1].stat().st_mtime_ns == before
    assert sorted(row["run"] for row in bench.rows()) == ["trials/1/1", "trials/2/2", "trials/3/1"]


def test_another_sweep_in_the_same_folder_is_refused(bench, capsys):
    assert bench.sweep("--count", "1") == 0
    assert bench.sweep("--count", "1", "--seed", "3") == 2
    assert "holds another sweep: seed is 3 now, 0 then; give another" in capsys.readouterr().err
    bench.write(parameters={"quality": {"values": [0.1, 0.4]}})
    assert bench.sweep() == 2
    assert "sweep: parameters.quality.values is [0.1, 0.4] now, [0.1" in capsys.readouterr().err


def test_a_folder_of_other_things_is_refused(bench, capsys):
    bench.output.mkdir()
    (bench.output / "thesis.tex").write_text("")
    assert bench.sweep() == 2
    assert "holds other files" in capsys.readouterr().err


def test_bayes_without_optuna_makes_no_folder(bench, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    bench.write(method="bayes")
    assert bench.sweep("--count", "1") == 2
    assert "needs optuna, and that is not installed" in capsys.readouterr().err
    assert not bench.output.exists()


def test_a_program_that_is_not_there(bench, capsys):
    bench.write(command=["/nowhere/python", "${args}"])
    assert bench.sweep() == 2
    assert "cannot be started" in capsys.readouterr().err


def test_hyperband_stops_what_falls_behind(bench, monkeypatch):
    monkeypatch.setattr(runner, "_LOOK_SECONDS", 0.1)
    parameters = {
        "quality": {"values": [0.1, 0.9]},
        "epochs": {"value": 250},
        "pause": {"value": 0.02},
    }
    rule = {"type": "hyperband", "min_iter": 2, "eta": 10}
    bench.write(parameters=parameters, early_terminate=rule)
    assert bench.sweep("--workers", "2") == 0
    good, bad = bench.rows()
    assert (good["quality"], good["status"], good["values_logged"]) == ("0.9", "finished", "250")
    assert (bad["quality"], bad["status"]) == ("0.1", "stopped")
    assert 2 <= int(bad["values_logged"]) < 250


def stopped(bench, stop, *words):
    """How a sweep in a process of its own ends that is sent a signal in its second trial."""
    words = ["sweep", str(bench.file), "--output", str(bench.output), *words]
    with Forked(bench.file.parent / "said", command, *words) as process:
        metrics = bench.output / "trials" / "2" / "1" / "metrics.csv"
        while not metrics.exists() and process.running():
            time.sleep(0.05)
        process.send(stop)
        return process.ended(120)


@pytest.mark.slow
def test_after_kill_9_the_sweep_goes_on_with_the_trial_that_still_runs(bench):
    bench.write(parameters={"quality": {"value": 0.1}, "pause": {"values": [0.0, 4.0, 0.1]}})
    stopped(bench, signal.SIGKILL)
    trials = read_trials(bench.output)
    assert [trial.status for trial in trials.values()] == ["finished", "running"]
    assert bench.sweep() == 0
    assert [row["status"] for row in bench.rows()] == ["finished"] * 3
    # trial 2 outlived the sweep that had started it: its result is taken, it is not run again
    assert sorted(row["run"] for row in bench.rows()) == ["trials/1/1", "trials/2/1", "trials/3/1"]


def test_a_trial_found_at_work_keeps_its_gpu(bench, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    write_trial(bench.output, Trial(1, {"quality": 0.1}, {"quality": 0}))
    child = Child(trial_folder(bench.output, 1), [0])
    child.start(["sleep", "60"], at_once=2)

    def tell(trial):
        if trial.number == 2:
            child.end()

    Runner(read_definition(bench.file), bench.output, 0, 2, 2).run(tell)
    assert (bench.output / "trials" / "2" / "1" / "gpus").read_text() == "0"
    assert not child.running()


def test_a_trial_that_was_killed_with_its_sweep_is_run_again(bench):
    assert bench.sweep("--count", "2") == 0
    record = bench.output / "trials" / "2" / "trial.json"
    content = json.loads(record.read_text()) | {"status": "running", "history": []}
    record.write_text(json.dumps(content))
    assert bench.sweep() == 0
    assert sorted(row["run"] for row in bench.rows()) == ["trials/1/1", "trials/2/2", "trials/3/1"]


@pytest.mark.slow
@pytest.mark.parametrize(("stop", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_stopped_sweep_leaves_no_trial_behind_and_says_how_to_go_on(bench, stop, code):
    bench.write(parameters={"quality": {"value": 0.1}, "pause": {"values": [0.0, 60.0]}})
    bench.output = bench.output.with_name("with a space")
    done = stopped(bench, getattr(signal, stop), "--count", "2")
    assert done.returncode == code
    words = shlex.join(["sweep", str(bench.file), "--output", str(bench.output), "--count", "2"])
    assert f"to go on: python -m dim_lightning {words}\n" in done.stderr
    assert [t.status for t in read_trials(bench.output).values()] == ["finished", "interrupted"]
