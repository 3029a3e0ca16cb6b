"""What a command line means is what its config.yaml means."""

import inspect
from functools import reduce
from operator import or_
from typing import get_args

import lightning as L
import pytest

from dim_lightning.cli import main
from dim_lightning.cli.entry import _quiet
from dim_lightning.cli.place import with_run_files
from dim_lightning.cli.resolved import Resolved

TEXTS = {
    "experiment": "1e5",
    "embeddings.layer": "7e12345",  # as a commit may be called
    "evaluation.transfer": "1.5e3",
    "runs_dir": "-1e-4",
}


def _set(settings, name):
    for part in name.split("."):
        settings = settings[part]
    return settings


def test_text_that_looks_like_a_number_is_read_back_as_text(tmp_path):
    words = [f"--{name}={text}" for name, text in TEXTS.items()]
    path = tmp_path / "config.yaml"
    with _quiet():
        first = Resolved(["fit", *words, "--probe.learning_rate=1e-05"])
        path.write_text(first._dumped(first.config))
        again = Resolved(["fit", "--config", str(path)]).settings
    assert {name: _set(again, name) for name in TEXTS} == TEXTS
    assert again == first.settings
    assert again["probe"]["learning_rate"] == 1e-5


@pytest.mark.parametrize("name", ["limit_train_batches", "overfit_batches", "val_check_interval"])
def test_one_batch_is_not_all_batches_whoever_was_imported_before(monkeypatch, tmp_path, name):
    """typing gives a Union of the same types as it was written by whoever wrote it first."""
    annotations = inspect.unwrap(L.Trainer.__init__).__annotations__
    others = [part for part in get_args(annotations[name]) if part is not float]
    monkeypatch.setitem(annotations, name, reduce(or_, others, float))
    path = tmp_path / "config.yaml"
    path.write_text(f"trainer: {{{name}: 1}}\n")
    with _quiet():
        for words in (f"--trainer.{name}=1", f"--config={path}"):
            found = Resolved(["fit", words]).settings["trainer"][name]
            assert (found, type(found)) == (1, int)
        found = Resolved(["fit", f"--trainer.{name}=0.5"]).settings["trainer"][name]
    assert found == 0.5


def test_a_folder_of_runs_in_the_home(workshop, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert workshop.fit("--runs_dir=~/runs", "--trainer.limit_val_batches=1") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_a_run_in_the_home(finished, monkeypatch):
    """A shell leaves the sign behind an equals sign."""
    monkeypatch.setenv("HOME", str(finished.parent))
    for words in (["test", f"--run=~/{finished.name}"], ["fit", f"--resume=~/{finished.name}"]):
        assert str(finished / "config.yaml") in with_run_files(words)


@pytest.mark.parametrize("setting", ["runs_dir", "data.root", "data.cache_dir"])
def test_a_variable_in_a_file_is_no_folder(workshop, setting, capsys):
    assert main(["fit", "--config", workshop.config, f"--{setting}=$SCRATCH/x"]) == 2
    assert f"{setting} is '$SCRATCH/x'" in capsys.readouterr().err
