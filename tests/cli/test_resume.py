"""A run goes on where it was stopped, with its own settings, from its newest whole state."""

import csv
import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
import yaml

from dim_lightning.cli import main
from dim_lightning.cli.inputs import say_other_settings
from dim_lightning.cli.pictures import check_pictures, run_of, say_others
from dim_lightning.cli.resume import (
    Start,
    allowed_changes,
    check_joint_batch,
    check_order,
    nothing_left,
)
from dim_lightning.data.splits import Shares
from dim_lightning.encoders import BlogEncoder
from dim_lightning.errors import InputError
from dim_lightning.run.checkpoint import AtomicCheckpointIO, position, read_checkpoint
from dim_lightning.run.folder import alone_in
from dim_lightning.run.metrics import read_metrics
from dim_lightning.run.result import read_result

TIMES = ("seconds", "epoch_seconds", "speeds")


def _state(run):
    """All of the last checkpoint but times."""
    stored = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    record = stored["callbacks"]["RunRecord"]
    stored["callbacks"]["RunRecord"] = {k: v for k, v in record.items() if k not in TIMES}
    return stored


def _equal(first, second):
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(_equal(first[k], second[k]) for k in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(_equal, first, second))
    return torch.equal(first, second) if isinstance(first, torch.Tensor) else first == second


def _rows(run):
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if k != "speed/images_per_second"} for row in rows]


@pytest.fixture
def copied(finished, tmp_path):
    """A finished run of one epoch, three steps, to be changed."""
    return shutil.copytree(finished, tmp_path / "copied")


@pytest.fixture(scope="module")
def more(workshop):
    """What the run would be after two epochs."""
    assert workshop.fit("--experiment", "more", "--trainer.max_epochs", "2") == 0
    return workshop.runs / "more" / "1"


SETTINGS = {
    "in an epoch, after a validation, with workers": {
        "data": {"num_workers": 1},
        "model": {"lr_scheduler": "dim_lightning.optim.WarmupCosine"},
        "trainer": {
            "max_epochs": 2,
            "limit_train_batches": 8,
            "accumulate_grad_batches": 2,
            "val_check_interval": 4,
        },
        "stop": [1, 5],
    },
    "by steps, at an epoch's end and within": {
        "model": {
            "lr_scheduler": {
                "class_path": "torch.optim.lr_scheduler.StepLR",
                "init_args": {"step_size": 1},
            }
        },
        "trainer": {"max_epochs": -1, "max_steps": 8},
        "stop": [2, 6],
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_a_terminated_run_goes_on_exactly(workshop, name):
    """Stopped in a step, it saves after it; stopped twice, it ends as if it never had been."""
    settings = dict(SETTINGS[name])
    steps = settings.pop("stop")
    settings["checkpoint"] = {"every_minutes": None}
    settings["experiment"] = f"stop{len(name)}"
    config = workshop.write("stop.yaml", settings)
    assert workshop.fit("--config", config) == 0
    whole = workshop.runs / settings["experiment"] / "1"
    senders = [
        {"class_path": "signal_sender.SignalInStep", "init_args": {"step": s}} for s in steps
    ]
    settings["trainer"] = {**settings["trainer"], "callbacks": senders}
    config = workshop.write("stopped.yaml", settings)
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    assert workshop.fit("--config", config) == 143
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    run = workshop.runs / settings["experiment"] / "2"
    for step in steps:
        fit = read_result(run)["fit"]
        assert (fit["status"], fit["steps"]) == ("interrupted", step + 1)
        assert _state(run)["global_step"] == step + 1
        assert main(["fit", "--resume", str(run)]) == (0 if step == steps[-1] else 143)
    assert _equal(_state(whole), _state(run))
    assert _rows(whole) == _rows(run)
    for figure in ("status", "epochs", "steps", "images_seen", "best"):
        assert read_result(run)["fit"][figure] == read_result(whole)["fit"][figure]


def test_ctrl_c_saves_as_well_and_max_steps_in_an_epoch_is_no_end_of_it(workshop, capsys):
    callbacks = [{"class_path": "signal_sender.SignalInStep"}]
    callbacks[0]["init_args"] = {"step": 0, "name": "SIGINT"}
    config = workshop.write("c.yaml", {"trainer": {"callbacks": callbacks}, "experiment": "c"})
    run = workshop.runs / "c" / "1"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may ignore it
    try:
        assert workshop.fit("--config", config) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert "interrupted; to go on: python -m dim_lightning fit --resume" in capsys.readouterr().err
    assert position(read_checkpoint(run / "checkpoints" / "last.ckpt")) == (0, 1)
    assert main(["fit", "--resume", str(run), "--trainer.max_steps", "2"]) == 0
    assert position(read_checkpoint(run / "checkpoints" / "last.ckpt")) == (0, 2)
    assert yaml.safe_load((run / "config.yaml").read_text())["trainer"]["max_steps"] == 2
    result = read_result(run)
    assert main(["fit", "--resume", str(run)]) == 0
    assert "nothing was left to train: trainer.max_steps is 2; more" in capsys.readouterr().out
    assert read_result(run) == result


def test_stopped_between_two_batches_of_a_step_it_counts_no_step_twice(workshop):
    stopping = {"monitor": "val/loss", "stopping_threshold": 1e9, "check_on_train_epoch_end": False}
    trainer = {
        "limit_train_batches": 8,
        "accumulate_grad_batches": 2,
        "val_check_interval": 3,
        "log_every_n_steps": 1,
        "callbacks": [{"class_path": "EarlyStopping", "init_args": stopping}],
    }
    config = workshop.write("odd.yaml", {"trainer": trainer, "experiment": "odd"})
    assert workshop.fit("--config", config) == 0
    run = workshop.runs / "odd" / "1"
    assert position(read_checkpoint(run / "checkpoints" / "last.ckpt")) == (0, 3)
    assert main(["fit", "--resume", str(run)]) == 0
    assert [point.step for point in read_metrics(run)["train/loss"]][-2:] == [1, 2]


def test_other_settings_are_refused_with_both_values(copied, capsys):
    words = ["--model.local_weight", "2", "--data.image_size", "16", "--trainer.max_epochs", "3"]
    before = {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()}
    assert main(["fit", "--resume", str(copied), *words]) == 2
    error = capsys.readouterr().err
    assert "\n  model.local_weight: asked 2.0, stored 1.5\n" in error
    assert "\n  data.image_size: asked 16, stored 8\n" in error
    assert "trainer.max_epochs: asked" not in error
    advice = f"fit --config {copied}/config.yaml --ckpt_path {copied}/checkpoints/last.ckpt"
    assert f"{advice} --trainer.max_epochs MORE" in error
    assert {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()} == before


def test_which_settings_may_change(tmp_path):
    stored = {
        "seed_everything": 0,
        "data": {"root": "data", "num_workers": 0, "num_views": 1},
        "trainer": {"devices": 1, "precision": None, "logger": None, "max_time": None},
    }
    asked = {
        "seed_everything": 0,
        "data": {"root": "/disk", "num_workers": 2, "num_views": 1, "predicted": "all"},
        "trainer": {"devices": 2, "precision": None, "logger": {"class_path": "W"}, "max_time": 1},
    }
    assert allowed_changes(stored, asked, tmp_path) == [
        "data.root: /disk from here on, data before",
        "data.num_workers: 2 from here on, 0 before",
        "data.predicted: all from here on, nothing before",
        "trainer.devices: 2 from here on, 1 before",
        "trainer.logger: {'class_path': 'W'} from here on, null before",
        "trainer.max_time: 1 from here on, null before",
    ]
    assert allowed_changes(stored, stored, tmp_path) == []
    stored["data"]["source"] = {"class_path": "Stream", "init_args": {"path": "a", "keep_mb": 1}}
    asked = {"data": {"source": {"class_path": "Stream", "init_args": {"path": "b", "keep_mb": 2}}}}
    asked = {**stored, "data": {**stored["data"], **asked["data"]}}
    with pytest.raises(InputError, match=r"differ:\n  data\.source\.init_args\.path: .*\nLeave"):
        allowed_changes(stored, asked, tmp_path)  # it is not known with which pictures it began
    (tmp_path / "environment.json").write_text(json.dumps({"pictures": {"train": 1}}))
    assert len(allowed_changes(stored, asked, tmp_path)) == 2
    stored["data"]["source"]["init_args"]["labels"] = "a.csv"
    asked["data"]["source"]["init_args"]["labels"] = "b.csv"
    assert len(allowed_changes(stored, asked, tmp_path)) == 3
    for labels in ({"labels": None}, {}):  # which is no other place of theirs
        others = {**asked["data"]["source"], "init_args": {"path": "b", "keep_mb": 2, **labels}}
        with pytest.raises(InputError, match=r"differ:\n  data\.source\.init_args\.labels: asked"):
            allowed_changes(
                stored, {**asked, "data": {**asked["data"], "source": others}}, tmp_path
            )
    for key, value in (("precision", 16), ("accumulate_grad_batches", 2)):
        changed = {**asked, "trainer": {**asked["trainer"], key: value}}
        with pytest.raises(InputError, match=rf"trainer\.{key}: asked {value}, stored"):
            allowed_changes(stored, changed, tmp_path)


def test_the_joint_batch_stays():
    start = Start(joint_batch_size=64)
    check_joint_batch(start, 2, 32)
    check_joint_batch(start, 1, 64)
    with pytest.raises(
        InputError, match=r"joint batch of 128 .*with 64; set data.batch_size to 16"
    ):
        check_joint_batch(start, 4, 32)
    with pytest.raises(InputError, match="a number of processes that divides 64"):
        check_joint_batch(start, 3, 32)
    check_joint_batch(Start(), 3, 32)


def test_an_epoch_of_a_stream_is_ended_by_as_many_processes_as_began_it(finished):
    assert _state(finished)["processes"] == 1
    start = Start(epochs=3, batches=80, processes=2)
    check_order(start, 2, is_stream=True)
    check_order(start, 4, is_stream=False)
    check_order(start._replace(batches=0), 4, is_stream=True)
    check_order(start._replace(processes=None), 4, is_stream=True)  # of before it was kept
    with pytest.raises(InputError, match=r"by 2 processes .*done: 80.*max_epochs to 4"):
        check_order(start, 4, is_stream=True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--data.batch_size", "16"], "the run was trained with 32; set data.batch_size to 32"),
        (["--trainer.max_epochs", "0"], "has trained for 1; expected at least 1"),
    ],
)
def test_what_cannot_be_gone_on_with(copied, capsys, words, said):
    config = (copied / "config.yaml").read_text()
    assert main(["fit", "--resume", str(copied), *words]) == 2
    assert said in capsys.readouterr().err
    assert (copied / "config.yaml").read_text() == config


@pytest.mark.parametrize(("limit", "done"), [("max_epochs", 1), ("max_steps", 3)])
def test_a_new_run_that_would_end_where_another_has_ended(workshop, finished, capsys, limit, done):
    config, state = finished / "config.yaml", finished / "checkpoints" / "last.ckpt"
    words = ["--config", str(config), "--ckpt_path", str(state), "--model.local_weight", "1"]
    ends = {"max_epochs": "2", limit: str(done)}
    words += [word for name, end in ends.items() for word in (f"--trainer.{name}", end)]
    before = workshop.made()
    assert main(["fit", *words]) == 2
    said = f"trainer.{limit} is {done}, which {state} has reached (epochs: 1, steps: 3)"
    assert said in capsys.readouterr().err
    assert workshop.made() == before


def test_a_new_run_from_weights_alone(workshop, finished, capsys):
    path = workshop.folder / "weights.ckpt"
    torch.save({"state_dict": _state(finished)["state_dict"]}, path)
    assert workshop.fit("--ckpt_path", str(path)) == 2
    assert f"{path} holds weights alone" in capsys.readouterr().err


@pytest.mark.parametrize("epoch", [b"x", b"\xff"])
def test_damaged_metrics_are_named_before_anything_trains(copied, capsys, epoch):
    path, checkpoint = copied / "metrics.csv", copied / "checkpoints" / "last.ckpt"
    content, state = path.read_bytes(), checkpoint.read_bytes()
    assert b"\n0," in content
    path.write_bytes(content.replace(b"\n0,", b"\n%b," % epoch, 1))
    assert main(["fit", "--resume", str(copied), "--trainer.max_epochs", "2"]) == 2
    assert f"{path} is not readable as a table" in capsys.readouterr().err
    assert checkpoint.read_bytes() == state


def test_damaged_figures_are_named_before_anything_trains(copied, capsys):
    path, checkpoint = copied / "result.json", copied / "checkpoints" / "last.ckpt"
    state = checkpoint.read_bytes()
    path.write_text(path.read_text()[:-5])
    assert main(["fit", "--resume", str(copied), "--trainer.max_epochs", "2"]) == 2
    assert f"{path} is not readable as JSON" in capsys.readouterr().err
    assert checkpoint.read_bytes() == state


def test_a_run_from_the_state_of_one_with_other_pictures_notes_them(workshop, copied, caplog):
    path = copied / "environment.json"
    known = json.loads(path.read_text())
    path.write_text(json.dumps({**known, "pictures": {**known["pictures"], "train": 1000}}))
    words = ["--ckpt_path", str(copied / "checkpoints" / "last.ckpt"), "--trainer.max_epochs", "2"]
    assert workshop.fit("--experiment", "added_to", *words) == 0
    change = "there were 1,000 pictures and are 1,797 pictures"
    assert f"{copied} was trained on other pictures: {change}; as they are dealt" in caplog.text
    run = workshop.runs / "added_to" / "1"
    assert json.loads((run / "environment.json").read_text())["other_pictures"] == change
    assert main(["test", "--run", str(run), "--evaluation.mlp_epochs", "0"]) == 0
    assert read_result(run)["test"]["other_pictures"] == change


def test_a_run_from_the_state_of_one_with_other_shares_notes_them(workshop, finished, caplog):
    """They play no part in a test of pictures that no share is taken from."""
    words = ["--ckpt_path", str(finished / "checkpoints" / "last.ckpt"), "--data.split_seed", "1"]
    words += ["--trainer.max_epochs", "2"]
    assert workshop.fit("--experiment", "dealt_anew", *words) == 0
    change = "data.split_seed is 1 now, 0 then"
    assert f"{finished} was trained on other pictures: {change}; as they are dealt" in caplog.text
    run = workshop.runs / "dealt_anew" / "1"
    path = run / "environment.json"
    known = json.loads(path.read_text())
    assert known["other_shares"] == change
    assert "other_pictures" not in known
    found, dealt = known["pictures"], Shares(0.1, 0.2, split_seed=1)
    with_own_test = {**found, "test": 9}
    for command in ("validate", "test"):
        assert say_others(command, run, found, dealt) == {"other_pictures": change}
    assert say_others("fit", run, found, dealt) == {"other_shares": change}
    path.write_text(json.dumps({**known, "pictures": with_own_test}))
    assert say_others("validate", run, with_own_test, dealt) == {"other_pictures": change}
    assert say_others("test", run, with_own_test, dealt) == {}


def test_the_run_of_a_checkpoint_is_known_however_it_is_named(tmp_path, monkeypatch):
    folder, disk = tmp_path / "run" / "checkpoints", tmp_path / "disk"
    disk.mkdir()
    folder.parent.mkdir()
    folder.symlink_to(disk)
    assert run_of(folder / "last.ckpt") == tmp_path / "run"
    monkeypatch.chdir(folder.parent)
    assert run_of(Path("checkpoints/last.ckpt")) == tmp_path / "run"
    folder.unlink()
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert run_of(Path("last.ckpt")) == tmp_path / "run"
    assert run_of(Path("below/../last.ckpt")) == tmp_path / "run"
    (tmp_path / "named.ckpt").symlink_to(folder / "last.ckpt")
    assert run_of(tmp_path / "named.ckpt") == tmp_path / "run"


def test_what_lies_around_a_checkpoint_out_of_a_run_is_not_looked_at(workshop, finished, tmp_path):
    folder = tmp_path / "states"
    folder.mkdir()
    shutil.copy(finished / "checkpoints" / "last.ckpt", folder / "a.ckpt")
    for name in ("config.yaml", "environment.json"):
        (tmp_path / name).write_text("[of something else")
    words = ["--ckpt_path", str(folder / "a.ckpt"), "--trainer.max_epochs", "2"]
    assert workshop.fit("--experiment", "from_elsewhere", *words) == 0


def test_what_ended_a_training_before_its_first_step_is_named():
    limits = {"max_epochs": None, "max_steps": -1, "max_time": None}
    start = Start(epochs=1, steps=3)
    assert nothing_left(start, limits) == "nothing was left to train"
    for name, met, more in (("max_epochs", 1, 2), ("max_steps", 3, 4)):
        assert f": trainer.{name} is {met}; more" in nothing_left(start, {**limits, name: met})
        passed = nothing_left(start, {**limits, name: more, "max_time": "00:00:01:00"})
        assert ": trainer.max_time is 00:00:01:00; more" in passed


def test_other_pictures_are_refused_and_measured_with_a_note(copied, capsys, caplog):
    """Runs that do not know theirs go on."""
    path = copied / "environment.json"
    known = json.loads(path.read_text())
    pictures = known.pop("pictures")
    assert pictures["train"] == 1797
    path.write_text(json.dumps({**known, "pictures": {**pictures, "train": 1000}}))
    assert main(["fit", "--resume", str(copied), "--trainer.max_epochs", "2"]) == 2
    error = capsys.readouterr().err
    assert "there were 1,000 pictures and are 1,797 pictures" in error
    assert f"fit --config {copied}/config.yaml --ckpt_path {copied}/checkpoints/last.ckpt" in error
    assert json.loads(path.read_text())["pictures"]["train"] == 1000
    path.write_text(json.dumps({**known, "pictures": {**pictures, "sha256": "0"}}))
    assert main(["validate", "--run", str(copied)]) == 0
    assert f"{copied} was trained on other pictures" in caplog.text
    others = "there are as many, 1,797 pictures, but others by name or order"
    assert read_result(copied)["validate"]["other_pictures"] == others
    path.write_text(json.dumps(known))
    dealt = Shares(validation_fraction=0.1, test_fraction=0.2, split_seed=0)
    assert say_others("validate", copied, pictures, dealt) == {"other_pictures": None}
    check_pictures(copied, pictures)
    anew = dealt._replace(test_fraction=0.3, split_seed=1)
    change = "data.test_fraction is 0.3 now, 0.2 then; data.split_seed is 1 now, 0 then"
    assert say_others("test", copied, pictures, anew) == {"other_pictures": change}
    with_own_test = {**pictures, "test": 9}
    path.write_text(json.dumps({**known, "pictures": with_own_test}))
    change = "data.split_seed is 1 now, 0 then"
    assert say_others("validate", copied, with_own_test, anew) == {"other_pictures": change}
    assert say_others("test", copied, with_own_test, anew) == {}
    fewer = anew._replace(validation_fraction=0.9)
    change = "data.validation_fraction is 0.9 now, 0.1 then"
    assert say_others("test", copied, with_own_test, fewer) == {"other_pictures": change}
    assert caplog.messages[-1].endswith("fitted to more or fewer pictures than it was trained on")


class Own(BlogEncoder):
    """An encoder whose class stands in a file of one's own, this one."""


def test_figures_by_other_code_or_settings_are_measured_with_a_note(copied, caplog):
    config, path, name = copied / "config.yaml", copied / "environment.json", f"{__name__}.Own"
    before = "dim_lightning.BlogEncoder"
    assert before in config.read_text()
    config.write_text(config.read_text().replace(before, name))
    path.write_text(json.dumps({**json.loads(path.read_text()), "own_code": {name: "0"}}))
    assert main(["validate", "--run", str(copied), "--trainer.precision", "bf16-mixed"]) == 0
    assert f"{name}: its file was changed since {copied} was trained" in caplog.text
    assert read_result(copied)["validate"]["other_code"] == name
    change = "trainer.precision is bf16-mixed now, 32-true then"
    assert f"{copied} was trained with other settings: {change}" in caplog.text
    assert read_result(copied)["validate"]["other_settings"] == change
    assert say_other_settings("validate", copied, 8, "32-true") == {"other_settings": None}
    assert say_other_settings("test", copied, 8, "32-true") == {}
    other = {"other_settings": "data.image_size is 16 now, 8 then"}
    assert say_other_settings("test", copied, 16, "32-true") == other
    limit = "trainer.limit_test_batches"
    assert say_other_settings("test", copied, 8, "32-true", {limit: 1.0}) == {}
    part = {"other_settings": f"{limit} is 1 now, 1.0 then"}  # a single batch
    assert say_other_settings("test", copied, 8, "32-true", {limit: 1}) == part


@pytest.mark.parametrize("part", ["limit_val_batches=1", "fast_dev_run=true"])
def test_figures_of_a_part_of_the_images_have_a_note(copied, part):
    assert main(["validate", "--run", str(copied), f"--trainer.{part}"]) == 0
    noted = read_result(copied)["validate"]["other_settings"]
    assert noted == "trainer.limit_val_batches is 1 now, 1.0 then"


def test_a_folder_in_which_somebody_trains(copied, capsys):
    with alone_in(copied):
        assert main(["fit", "--resume", str(copied)]) == 2
    assert f"another process trains in {copied}" in capsys.readouterr().err


def test_a_finished_run_says_so_and_stays(copied, capsys):
    metrics, result = (copied / "metrics.csv").read_bytes(), read_result(copied)
    state = (copied / "checkpoints" / "last.ckpt").read_bytes()
    assert main(["fit", "--resume", str(copied)]) == 0
    assert "nothing was left to train: trainer.max_epochs is 1; more" in capsys.readouterr().out
    assert (copied / "metrics.csv").read_bytes() == metrics
    assert (copied / "checkpoints" / "last.ckpt").read_bytes() == state
    assert read_result(copied) == result


def test_the_one_before_is_used_if_the_last_is_not_whole(copied, more, caplog):
    """And stays until there is a good one again."""
    last, previous = (copied / "checkpoints" / f"{name}.ckpt" for name in ("last", "previous"))
    shutil.copy(last, previous)
    later = (more / "checkpoints" / "last.ckpt").read_bytes()  # what it would have written
    half = later[: len(later) // 2]
    last.write_bytes(half)
    with caplog.at_level("INFO", "lightning"):
        assert main(["fit", "--resume", str(copied), "--trainer.max_epochs", "2"]) == 0
    assert f"refused: {last} ({len(half)} bytes) cannot be read: it is cut short" in caplog.text
    assert f"{previous}, the one before, is used instead" in caplog.text
    assert _equal(_state(copied)["state_dict"], _state(more)["state_dict"])
    assert position(read_checkpoint(last)) == (2, 0)
    assert position(read_checkpoint(previous)) == (1, 0)


def test_a_run_that_saved_nothing_starts_from_the_beginning(copied, finished, capsys):
    shutil.rmtree(copied / "checkpoints")
    (copied / ".metrics.csv.abcdefgh").write_text("half")
    assert main(["fit", "--resume", str(copied)]) == 0
    assert "training starts from the beginning" in capsys.readouterr().out
    assert _rows(copied) == _rows(finished)
    assert _equal(_state(copied), _state(finished))
    assert not (copied / ".metrics.csv.abcdefgh").exists()


def test_a_checkpoint_with_code_in_it_is_refused(copied, capsys):
    stored = torch.load(copied / "checkpoints" / "last.ckpt", weights_only=True)
    stored["code"] = os.getcwd  # any function would do
    shutil.rmtree(copied / "checkpoints")
    AtomicCheckpointIO().save_checkpoint(stored, copied / "checkpoints" / "last.ckpt")
    for words in (["fit", "--resume", str(copied)], ["test", "--run", str(copied)]):
        assert main(words) == 2
        error = capsys.readouterr().err
        assert f"{copied}/checkpoints/last.ckpt" in error
        assert "could run code" in error


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_sigterm_ends_other_commands_at_once(finished, command, capsys):
    config = finished.parent.parent.parent / "sender.yaml"
    config.write_text("trainer: {callbacks: [{class_path: signal_sender.SignalInEvaluation}]}")
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    assert main([command, "--run", str(finished), "--config", str(config)]) == 143
    assert capsys.readouterr().err.splitlines()[-1] == "terminated"
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before
