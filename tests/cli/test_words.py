"""What stands on a command line, before it is parsed."""

import shlex
from pathlib import Path

from dim_lightning.cli.ending import _stopped
from dim_lightning.cli.words import as_path, config_files, last_value, options, state_words


def test_both_ways_to_give_a_value():
    words = ["fit", "--a", "1", "--b=2=3", "-c", "x.yaml", "--last"]
    named = {option.name: (option.value, option.place) for option in options(words)}
    assert named["--a"] == ("1", 2)
    assert named["--b"] == ("2=3", 3)
    assert named["--config"] == ("x.yaml", 5)
    assert "--last" not in named


def test_the_last_one_counts():
    assert last_value(["fit", "--run", "a", "--run=b"], "--run") == "b"
    assert last_value(["fit", "--run=b", "--run", "a"], "--run") == "a"
    assert last_value(["fit", "--running", "a"], "--run") is None


def test_a_path_in_the_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    assert as_path("~/runs") == Path("/home/ann/runs")
    for other in ("runs/~", "~nobody-of-this-name/x"):
        assert as_path(other) == Path(other)


def test_commands_that_are_advised_can_be_typed():
    """A folder's name may have spaces."""
    run = Path("/my runs/digits/1")
    assert str(_stopped(KeyboardInterrupt(), run, "fit")).endswith("--resume '/my runs/digits/1'")
    files = [f"/my runs/digits/1/{name}" for name in ("config.yaml", "checkpoints/last.ckpt")]
    assert shlex.split(state_words(run)) == ["--config", files[0], "--ckpt_path", files[1]]


def test_files_and_settings_themselves(tmp_path):
    path = tmp_path / "a=b.yaml"
    path.write_text("experiment: x")
    text = f"experiment: {'x' * 9999}"
    words = ["fit", f"--config={path}", "--config", text, "-c", str(tmp_path), "-c", str(path)]
    assert config_files(words) == {1: path, 7: path}
