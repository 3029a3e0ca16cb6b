"""result.json and environment.json."""

import errno
import fcntl
import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from dim_lightning.errors import InputError
from dim_lightning.run.environment import (
    describe_environment,
    git_state,
    read_environment,
    write_environment,
)
from dim_lightning.run.result import change_result, read_result, update_result


def test_sections_and_names_are_kept(tmp_path):
    update_result(tmp_path, "fit", {"epochs": 3, "a": 1})
    update_result(tmp_path, "test", {"probe/linear/y/top1": 0.9})
    update_result(tmp_path, "fit", {"a": 2})
    assert read_result(tmp_path) == {
        "fit": {"epochs": 3, "a": 2},
        "test": {"probe/linear/y/top1": 0.9},
    }


def test_of_two_writers_at_once_neither_loses_a_figure(tmp_path):
    other = []

    def change(before):
        other.append(threading.Thread(target=update_result, args=(tmp_path, "test", {"top1": 0.5})))
        other[0].start()
        other[0].join(0.3)  # long enough to write, were it not to wait
        return {**before, "epochs": 3}

    change_result(tmp_path, "fit", change)
    other[0].join()
    assert read_result(tmp_path) == {"fit": {"epochs": 3}, "test": {"top1": 0.5}}


def test_without_locks_figures_are_kept_all_the_same(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, "no locks here")

    monkeypatch.setattr(fcntl, "flock", flock)
    update_result(tmp_path, "fit", {"epochs": 3})
    assert read_result(tmp_path) == {"fit": {"epochs": 3}}


def test_values_become_plain(tmp_path):
    values = {"t": torch.tensor([1.0, 2.0]), "n": np.float32(0.5), "p": Path("a"), "x": (1, 2)}
    update_result(tmp_path, "fit", {**values, "nested": {"nan": float("nan")}})
    assert read_result(tmp_path)["fit"] == {
        "t": [1.0, 2.0],
        "n": 0.5,
        "p": "a",
        "x": [1, 2],
        "nested": {"nan": None},
    }


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(InputError, match=r"result\.json"):
        read_result(tmp_path)


def test_environment_says_what_a_reader_needs(tmp_path):
    write_environment(tmp_path, describe_environment(["fit", "--config", "a b.yaml"]))
    write_environment(tmp_path, {"finished": "later"})
    found = read_environment(tmp_path)
    assert found["command"] == "python -m dim_lightning fit --config 'a b.yaml'"
    assert found["packages"]["torch"] == torch.__version__.partition("+")[0]
    assert found["threads"] == torch.get_num_threads()
    assert found["finished"] == "later"
    assert json.loads((tmp_path / "environment.json").read_text()) == found


def test_no_commit_of_somebody_elses_repository(tmp_path):
    assert git_state(tmp_path) == {"commit": None, "uncommitted_changes": None}
