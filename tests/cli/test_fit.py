"""From a command to a run folder that is complete, can be repeated, and goes on."""

import inspect
import json
import re
import shutil
import sys
from types import SimpleNamespace

import lightning as L
import pytest
import torch
import yaml
from lightning.pytorch.callbacks import ModelCheckpoint, Timer, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger
from PIL import Image

import dim_lightning
from dim_lightning import DeepInfoMax
from dim_lightning.callbacks import LinearProbe
from dim_lightning.callbacks.screen import TerminalBar
from dim_lightning.cli import main
from dim_lightning.cli.command_line import CommandLine
from dim_lightning.cli.entry import _quiet
from dim_lightning.cli.place import with_run_files
from dim_lightning.cli.trainer import open_loggers, trainer_in
from dim_lightning.hyperparameters import PARTS, part_text
from dim_lightning.run.curves import panels
from dim_lightning.run.metrics import read_metrics
from dim_lightning.run.result import read_result
from dim_lightning.run.wandb_logger import WandbLogger


def _weights(run):
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def _same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def test_the_folder_is_complete(finished):
    assert {path.name for path in finished.iterdir()} >= {
        "config.yaml",
        "environment.json",
        "metrics.csv",
        "result.json",
        "summary.html",
        "checkpoints",
        "pictures",
    }
    names = sorted(path.name for path in (finished / "checkpoints").iterdir())
    assert names == ["last.ckpt"]
    series = read_metrics(finished)
    assert {"train/loss", "val/loss", "probe/online/top1", "speed/images_per_second"} <= set(series)
    fit = read_result(finished)["fit"]
    assert fit["status"] == "completed"
    assert (fit["epochs"], fit["steps"], fit["images_seen"]) == (1, 3, 96)
    assert fit["best"]["probe/online/top1"]["epoch"] == 1
    environment = json.loads((finished / "environment.json").read_text())
    assert environment["finished"] >= environment["started"]
    assert (environment["processes"], environment["joint_batch_size"]) == (1, 32)
    assert environment["gpus"] == []  # that trained
    # or Lightning would take every GPU, each with a batch of its own
    assert yaml.safe_load((finished / "config.yaml").read_text())["trainer"]["devices"] == 1


def test_its_page_has_every_curve_and_picture(workshop, monkeypatch):
    monkeypatch.undo()  # the figures of the other tests are plain ones
    assert workshop.fit("--experiment", "drawn") == 0
    run = workshop.runs / "drawn" / "1"
    page = (run / "summary.html").read_text()
    curves = panels(read_metrics(run))
    assert len(curves) > 4
    assert page.count("<svg") == len(curves)
    pictures = sorted((run / "pictures").glob("*.png"))
    assert page.count("data:image/png;base64,") == len(pictures)
    with Image.open(run / "pictures" / "embedding_statistics.png") as picture:
        assert picture.width > 500


def test_nothing_in_a_checkpoint_but_plain_types(finished):
    stored = torch.load(finished / "checkpoints" / "last.ckpt", weights_only=True)
    assert stored["hyper_parameters"]["encoder"]["init_args"]["widths"] == [4]
    assert stored["hyper_parameters"]["image_size"] == 8
    assert PARTS not in stored  # all are settings


def test_a_checkpoint_is_loaded_and_its_encoder_handed_on_in_python(finished, tmp_path):
    module = DeepInfoMax.load_from_checkpoint(finished / "checkpoints" / "last.ckpt")
    text = (
        "partial(dim_lightning.encoders.blog.BlogEncoder, attention_heads=0, "  # not jsonargparse's
    )
    assert part_text(module.hparams["encoder"]).startswith(text)
    folder = dim_lightning.export_encoder(module, tmp_path / "out", ["safetensors"]).folder
    loaded, run = dim_lightning.load(folder), dim_lightning.load(finished)
    assert _same(loaded.encoder.state_dict(), run.encoder.state_dict())
    assert loaded.about["encoder"] == {
        "class_path": "dim_lightning.encoders.blog.BlogEncoder",
        "init_args": run.about["encoder"]["init_args"],
    }


def test_its_config_gives_the_same_run_again_in_a_new_folder(finished):
    assert main(["fit", "--config", str(finished / "config.yaml")]) == 0
    again = finished.parent / "2"
    assert _same(_weights(finished), _weights(again))
    assert (again / "config.yaml").read_text() == (finished / "config.yaml").read_text()


def test_an_override_of_an_interpolated_value_reaches_what_points_to_it(workshop):
    config = workshop.write(
        "points.yaml", "data:\n  batch_size: 16\ntrainer:\n  max_epochs: ${data.batch_size}\n"
    )
    stop = ["--data.batch_size", "2", "--trainer.limit_train_batches", "1"]
    assert workshop.fit("--config", config, "--experiment", "points", *stop) == 0
    run = workshop.runs / "points" / "1"
    assert yaml.safe_load((run / "config.yaml").read_text())["trainer"]["max_epochs"] == 2
    assert read_result(run)["fit"]["epochs"] == 2


def test_a_stopped_run_goes_on_exactly(workshop):
    """Two epochs are one epoch and one more, weights and metrics."""
    assert workshop.fit("--experiment", "whole", "--trainer.max_epochs", "2") == 0
    assert workshop.fit("--experiment", "parts") == 0
    run = workshop.runs / "parts" / "1"
    assert main(["fit", "--resume", str(run), "--trainer.max_epochs", "2"]) == 0
    whole = workshop.runs / "whole" / "1"
    assert _same(_weights(whole), _weights(run))
    expected, found = read_metrics(whole), read_metrics(run)
    for name in ("train/loss", "val/loss", "probe/online/top1"):
        assert found[name] == expected[name]
    assert read_result(run)["fit"]["images_seen"] == read_result(whole)["fit"]["images_seen"]
    assert (run / "config.1.yaml").is_file()
    names = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert names == ["last.ckpt", "previous.ckpt"]
    resumed = json.loads((run / "environment.json").read_text())["resumed"]
    assert [f"--resume {run}" in entry["command"] for entry in resumed] == [True]


def test_averaged_weights_are_what_is_measured_and_kept(workshop):
    """And the run goes on exactly, with the weights themselves."""
    words = ["--trainer.callbacks+=EMAWeightAveraging", "--trainer.callbacks.decay", "0.5"]
    assert workshop.fit("--experiment", "average", *words, "--trainer.max_epochs", "2") == 0
    assert workshop.fit("--experiment", "averages", *words) == 0
    whole, run = (workshop.runs / name / "1" for name in ("average", "averages"))
    logged = {name: points[-1].value for name, points in read_metrics(run).items()}
    assert main(["validate", "--run", str(run)]) == 0
    found = read_result(run)["validate"]
    for name in ("val/loss", "knn/cosine/k20_t0.07/top1", "geometry/effective_rank"):
        assert found[name] == pytest.approx(logged[name], rel=1e-6)
    assert main(["fit", "--resume", str(run), "--trainer.max_epochs", "2"]) == 0
    states = [
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
        for folder in (whole, run)
    ]
    for name in ("state_dict", "current_model_state", "averaging_state"):
        assert _same(*(state[name] for state in states))
    assert not _same(states[0]["state_dict"], states[0]["current_model_state"])


def test_what_is_asked_for_wins_over_the_checkpoint_and_the_difference_is_said(
    workshop, finished, caplog
):
    words = ["--ckpt_path", str(finished / "checkpoints" / "last.ckpt")]
    words += ["--model.local_weight", "2.5", "--trainer.max_epochs", "2", "--experiment", "asked"]
    words += ["--model.optimizer.lr", "1e-5", "--probe.learning_rate", "1e-4"]
    with caplog.at_level("INFO", "lightning"):
        assert workshop.fit(*words) == 0
    config = yaml.safe_load((workshop.runs / "asked" / "1" / "config.yaml").read_text())
    assert config["model"]["local_weight"] == 2.5
    stored = torch.load(
        workshop.runs / "asked" / "1" / "checkpoints" / "last.ckpt", weights_only=True
    )
    assert stored["hyper_parameters"]["local_weight"] == 2.5
    probe = stored["callbacks"]["LinearProbe"]["optimizer"]
    for rate, optimizer in ((1e-5, stored["optimizer_states"][0]), (1e-4, probe)):
        assert optimizer["param_groups"][0]["lr"] == rate
        assert optimizer["state"][0]["step"] == 6  # of both runs
    assert "model.local_weight: 1.5 in the checkpoint, 2.5 now" in caplog.text


def test_the_other_commands_work_on_a_run(finished, capsys):
    metrics = (finished / "metrics.csv").read_text()
    config = (finished / "config.yaml").read_text()
    assert main(["validate", "--run", str(finished)]) == 0
    assert main(["test", "--run", str(finished)]) == 0
    result = read_result(finished)
    assert "val/loss" in result["validate"]
    state = {"epochs_trained": 1, "steps_trained": 3, "image_size": 8, "precision": "32-true"}
    assert state.items() <= result["validate"].items()
    assert result["test"]["probe/linear/embedding/top1"] > 0.2
    out = capsys.readouterr().out
    assert f"predict --run {finished}" in out
    assert "_trained" not in out
    assert "Offline evaluation" in (finished / "summary.html").read_text()
    assert (finished / "metrics.csv").read_text() == metrics
    assert (finished / "config.yaml").read_text() == config
    assert main(["predict", "--run", str(finished)]) == 0
    assert (finished / "embeddings.parquet").is_file()


def test_codes_are_written_and_not_kept_in_memory(finished):
    with _quiet():
        command = CommandLine(with_run_files(["predict", "--run", str(finished)]))
    assert (finished / "embeddings.parquet").is_file()
    assert command.trainer.predict_loop.predictions == []


def test_one_line_an_epoch_and_a_closing_message(workshop, capsys):
    assert workshop.fit("--experiment", "lines", "--trainer.max_epochs", "2") == 0
    out = capsys.readouterr().out
    lines = re.findall(r"^epoch \d/2 .*", out, re.MULTILINE)
    assert len(lines) == 2
    for part in ("loss", "local", "global", "prior", "probe", "images/s"):
        assert part in lines[0]
    run = workshop.runs / "lines" / "1"
    for part in ("online linear probe", str(run / "summary.html"), f"test --run {run}"):
        assert part in out
    assert "Tip" not in out
    assert "\r" not in out


@pytest.mark.parametrize("setting", ["false", "null"])
def test_checkpoints_and_loggers_can_be_off(workshop, setting):
    words = ["--trainer.enable_checkpointing", setting, "--trainer.logger", setting]
    assert workshop.fit("--experiment", f"off-{setting}", *words) == 0
    run = workshop.runs / f"off-{setting}" / "1"
    assert (run / "checkpoints").exists() == (setting == "null")
    assert (run / "metrics.csv").exists() == (setting == "null")
    assert (run / "summary.html").is_file()


def _trainer_defaults():
    parameters = inspect.signature(L.Trainer).parameters
    return {name: parameter.default for name, parameter in parameters.items()}


def test_a_progress_bar_of_ones_own_stands_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for own, bar in ((None, TerminalBar), (TQDMProgressBar(), TQDMProgressBar)):
        trainer = trainer_in(tmp_path, "fit", {**_trainer_defaults(), "callbacks": own}, [])
        assert type(trainer.progress_bar_callback) is bar


def test_later_commands_change_nothing_of_the_training_on_wandb(tmp_path, monkeypatch):
    """Neither its settings nor its curves, with which figures of `validate` share their names."""
    monkeypatch.setattr(WandbLogger, "_opened", lambda self: SimpleNamespace(id="r1"))
    (tmp_path / "config.yaml").write_text("data: {image_size: 8}\n")
    for command, logs in (("validate", False), ("predict", False), ("test", True)):
        config = {**_trainer_defaults(), "logger": WandbLogger(mode="offline")}
        trainer = trainer_in(tmp_path, command, config, [])
        assert trainer.loggers == [config["logger"]] * logs
    open_loggers(trainer, tmp_path, True)
    assert trainer.logger._wandb_init["config"] == {"data": {"image_size": 8}}


def test_other_loggers_are_told_the_settings(tmp_path):
    """Else their runs could not be told apart; the run's own metrics.csv lies beside them."""
    (tmp_path / "config.yaml").write_text("data: {image_size: 8}\nmodel: {local_weight: 1.5}\n")
    config = {**_trainer_defaults(), "logger": CSVLogger(tmp_path / "logs")}
    open_loggers(trainer_in(tmp_path, "fit", config, []), tmp_path, True)
    config["logger"].save()
    (file,) = (tmp_path / "logs").rglob("hparams.yaml")
    assert yaml.safe_load(file.read_text()) == {"data.image_size": 8, "model.local_weight": 1.5}


def test_a_logger_that_refuses_changed_settings_stops_no_resumed_run(tmp_path, caplog):
    """MLflow is such a one, of a run that it knows by its id."""

    class Refusing(CSVLogger):
        def log_hyperparams(self, params=None):
            raise RuntimeError("changing param values is not allowed")

    (tmp_path / "config.yaml").write_text("data: {image_size: 8}\n")
    config = {**_trainer_defaults(), "logger": Refusing(tmp_path / "logs")}
    trainer = trainer_in(tmp_path, "fit", config, [])
    with pytest.raises(RuntimeError, match="not allowed"):
        open_loggers(trainer, tmp_path, True)
    open_loggers(trainer, tmp_path, False)
    assert "warning: Refusing did not take the settings: changing param" in caplog.text


def test_the_best_checkpoint_is_known_in_a_run_that_was_moved(tmp_path):
    def made(run):
        callback = ModelCheckpoint(monitor="val/loss")
        trainer = trainer_in(run, "fit", {**_trainer_defaults(), "callbacks": [callback]}, [])
        callback.setup(trainer, trainer.lightning_module, "fit")
        return callback, trainer.strategy.checkpoint_io

    here, there = tmp_path / "here" / "1", tmp_path / "there" / "1"
    callback, files = made(here)
    best = f"{callback.dirpath}/best.ckpt"
    callback.best_model_path, callback.best_model_score = best, torch.tensor(0.9)
    callback.best_k_models = {best: callback.best_model_score}
    state = {"state_dict": {}, "callbacks": {callback.state_key: callback.state_dict()}}
    files.save_checkpoint(state, here / "checkpoints" / "last.ckpt")
    shutil.copytree(here, there)
    for run in (here, there):
        again, files = made(run)
        loaded = files.load_checkpoint(run / "checkpoints" / "last.ckpt")
        again.load_state_dict(loaded["callbacks"][again.state_key])
        moved = str(run / "checkpoints" / "kept" / "best.ckpt")
        assert again.best_model_path == moved
        assert again.best_k_models == {moved: torch.tensor(0.9)}


def test_a_checkpoint_callback_of_ones_own_writes_below_the_runs_checkpoints(tmp_path):
    run = tmp_path / "name" / "1"
    own, elsewhere = ModelCheckpoint(), ModelCheckpoint(tmp_path / "elsewhere", monitor="val/loss")
    config = {**_trainer_defaults(), "callbacks": [own, elsewhere]}
    trainer = trainer_in(run, "fit", config, [])
    for callback in (own, elsewhere):
        callback.setup(trainer, trainer.lightning_module, "fit")
    assert own.dirpath == str(run / "checkpoints" / "kept")
    assert elsewhere.dirpath == str(tmp_path / "elsewhere")


def test_what_logs_knows_that_the_time_is_over(tmp_path):
    """The clock of max_time stops the run before the other callbacks log their last step."""
    config = {**_trainer_defaults(), "max_time": "00:00:00:01"}
    trainer = trainer_in(tmp_path, "fit", config, [LinearProbe()])
    kinds = [type(callback) for callback in trainer.callbacks]
    assert kinds.index(Timer) < kinds.index(LinearProbe)
