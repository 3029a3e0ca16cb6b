"""Which files a user's own classes and functions stand in, and what is said when they change."""

import hashlib
import importlib
import json
import sys

import pytest
import yaml

from dim_lightning.cli.inputs import say_changed_code, write_inputs
from dim_lightning.run.compared import load_runs, not_the_same
from dim_lightning.run.own_code import changed_code, codes_of, own_code
from dim_lightning.run.result import update_result

PARTS = """
import contextlib

class Critic:
    pass

@contextlib.contextmanager  # whose code stands in another file
def bound(scores):
    yield scores

plain = 3
"""
SETTINGS = {
    "model": {
        "local_critic": {"class_path": "own_parts.Critic", "init_args": {"width": 8}},
        "encoder": {"class_path": "dim_lightning.encoders.BlogEncoder"},
        "optimizer": {"class_path": "torch.optim.Adam"},
        "estimator": "own_parts.bound",
        "report": [
            "own_parts.plain",
            "own_parts.gone",
            "json.dumps",
            "math.sqrt",
            "yaml.safe_load",
        ],
    },
    "trainer": {"callbacks": [{"class_path": "own_package.Callback"}]},
    "experiment": "own_unused.Critic",
}


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """The file of a critic and a bound, beside a package whose class stands in a file of it."""
    folder = tmp_path / "code"
    (folder / "own_package").mkdir(parents=True)
    (folder / "own_package" / "__init__.py").write_text("from own_package.inner import Callback\n")
    (folder / "own_package" / "inner.py").write_text("class Callback:\n    pass\n")
    (folder / "own_unused.py").write_text(PARTS)
    (folder / "own_parts.py").write_text(PARTS)
    monkeypatch.syspath_prepend(folder)
    for name in ("own_parts", "own_package"):
        importlib.import_module(name)
    yield folder / "own_parts.py"
    for name in ("own_parts", "own_package", "own_package.inner"):
        del sys.modules[name]


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_files_of_own_classes_and_functions_are_hashed_and_no_others(parts):
    assert own_code(SETTINGS) == {
        "own_package.Callback": sha256(parts.parent / "own_package" / "inner.py"),
        "own_parts.Critic": sha256(parts),
        "own_parts.bound": sha256(parts),
    }
    assert "own_unused" not in sys.modules


def test_a_run_keeps_them_and_says_what_changed_when_it_goes_on(parts, tmp_path, caplog):
    run, settings = tmp_path / "run", yaml.safe_dump(SETTINGS)
    run.mkdir()
    write_inputs(run, settings, ["fit"], {}, is_resumed=False)
    kept = json.loads((run / "environment.json").read_text())["own_code"]
    assert kept["own_parts.Critic"] == sha256(parts)
    assert str(tmp_path) not in json.dumps(kept)
    write_inputs(run, settings, ["fit"], {}, is_resumed=True)
    assert "changed" not in caplog.text
    parts.write_text(PARTS + "changed = True\n")
    said = "own_parts.Critic: its file was changed since; its new code from here on"
    for times in (1, 1):  # the second start with it is no change any more
        write_inputs(run, settings, ["fit"], {}, is_resumed=True)
        assert caplog.text.count(said) == times
    assert [code["own_parts.Critic"] == sha256(parts) for code in codes_of(run)] == [
        *(False, False),
        *(True, True),
    ]
    assert changed_code(codes_of(run)) == ["own_parts.Critic", "own_parts.bound"]


def test_figures_of_a_run_whose_code_was_changed_are_noted(parts, tmp_path, caplog):
    run, settings = tmp_path / "run", yaml.safe_dump(SETTINGS)
    run.mkdir()
    write_inputs(run, settings, ["fit"], {}, is_resumed=False)
    assert say_changed_code("test", run, settings) == {}
    assert "changed" not in caplog.text
    parts.write_text(PARTS + "changed = True\n")
    note = {"other_code": "own_parts.Critic, own_parts.bound"}
    assert say_changed_code("test", run, settings) == note
    said = f"own_parts.Critic: its file was changed since {run} was trained; what follows is of its"
    assert said in caplog.text
    update_result(run, "test", note)
    parts.write_text(PARTS)
    assert say_changed_code("predict", run, settings) == {}
    assert say_changed_code("test", run, settings) == {"other_code": None}
    parts.write_text(PARTS + "changed = True\n")
    write_inputs(run, settings, ["fit"], {}, is_resumed=True)  # trained on by the new code
    assert say_changed_code("validate", run, settings) == {}


def test_a_run_from_before_they_were_kept_goes_on_without_a_word(parts, tmp_path, caplog):
    (tmp_path / "environment.json").write_text("{}")
    settings = yaml.safe_dump(SETTINGS)
    assert say_changed_code("test", tmp_path, settings) == {}
    write_inputs(tmp_path, settings, ["fit"], {}, is_resumed=True)
    assert "changed" not in caplog.text


def test_a_comparison_says_that_code_was_changed(make_run, tmp_path):
    folders = [make_run(tmp_path / name / "1") for name in ("old", "new", "early")]
    for folder, code in zip(folders[:2], "ab", strict=True):
        (folder / "environment.json").write_text(json.dumps({"own_code": {"nets.Critic": code}}))
    assert not_the_same(load_runs([folders[0], folders[2]])) == []
    warnings = not_the_same(load_runs(folders))
    assert warnings == ["the file of nets.Critic was changed between or in the runs"]
