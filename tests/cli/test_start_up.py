"""What is loaded before anything is done. Seconds are measured in experiments/benchmarks."""

import gc
import os
import runpy
import subprocess
import sys
from importlib import metadata

import pytest

import dim_lightning
from dim_lightning.cli import main
from dim_lightning.cli.overview import OWN_COMMANDS, RUN_COMMANDS

HEAVY = {
    *("torch", "lightning", "torchmetrics", "torchvision", "numpy", "scipy", "sklearn"),
    *("matplotlib", "jsonargparse", "omegaconf", "yaml", "pyarrow", "PIL", "wandb", "optuna"),
}
LOADED = """
import sys
from dim_lightning.cli import main
code = main(sys.argv[1:])
sys.stderr.write(" ".join({name.partition(".")[0] for name in sys.modules}))
sys.exit(code)
"""

RUN = """
import sys
import dim_lightning.cli.resolved
from lightning.pytorch.loggers.wandb import WandbLogger
parsed = WandbLogger.__subclasses__()
import dim_lightning.cli.command_line
print(*sys.modules)
print(parsed)
print(WandbLogger.__subclasses__())
"""

COLLECTED = """
import gc
import sys
from dim_lightning.cli import main
full = gc.get_stats()[2]["collections"]
code = main()
searched = gc.get_stats()[2]["collections"] - full
sys.stderr.write(f"{gc.isenabled()} {gc.get_freeze_count()} {searched}")
sys.exit(code)
"""

INTERRUPTED = """
import sys
from dim_lightning.cli import main

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[2]:
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupt())
sys.exit(main(sys.argv[1:2]))
"""


def test_help_loads_nothing_heavy():
    command = [sys.executable, "-c", LOADED, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith("usage: ")
    assert HEAVY & set(done.stderr.split()) == set()


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help_names_every_command(word, capsys):
    assert main([word]) == 0
    shown = capsys.readouterr().out
    listed = [line.split()[0] for line in shown.splitlines() if line.startswith("  ")]
    assert listed == [*RUN_COMMANDS, *OWN_COMMANDS]


def test_the_version_is_that_of_the_project(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"dim_lightning {metadata.version('dim-lightning')}\n"
    assert dim_lightning.__version__ == metadata.version("dim-lightning")


def test_a_run_loads_no_logger_and_no_drawing_of_others():
    command = [sys.executable, "-c", RUN]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    loaded, loggers, also = done.stdout.splitlines()
    assert {"wandb", "optuna", "sklearn", "pandas", "onnx"} & set(loaded.split()) == set()
    # a logger's name alone means one of those loaded: the same to a table as to its runs
    assert loggers == also


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What a process of its own, in a plain C locale, says of a configuration."""
    folder = tmp_path_factory.mktemp("printed")
    (folder / "a.yaml").write_text("# ±\nexperiment: größe\n", "utf-8")
    command = [sys.executable, "-c", COLLECTED, "fit", "--config", "a.yaml", "--print_config"]
    plain = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    return subprocess.run(command, capture_output=True, cwd=folder, env=plain, timeout=300)


def test_garbage_is_not_looked_for_in_what_is_loaded(printed):
    enabled, frozen, searched = printed.stderr.split()
    assert enabled == b"True"
    assert int(frozen) > 100_000
    assert int(searched) < 5


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "10000"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "active"}, None),
    ],
)
def test_threads_wait_briefly_unless_they_are_told_otherwise(monkeypatch, given, expected):
    variables = dict(given)
    monkeypatch.setattr(os, "environ", variables)
    assert main(["--version"]) == 0  # within another program, which has its own settings
    assert variables == given
    monkeypatch.setattr(sys, "argv", ["dim_lightning", "--version"])
    assert main() == 0
    assert variables.get("GOMP_SPINCOUNT") == expected


def test_a_program_that_gives_a_command_keeps_its_collector():
    before = gc.get_freeze_count(), gc.isenabled()
    assert main(["fiit"]) == 2
    after = gc.get_freeze_count(), gc.isenabled()
    assert after[0] <= before[0]  # some of what was frozen has gone
    assert after[1] == before[1]


def test_configurations_are_utf8_in_any_locale(printed):
    """The comments of the project's have ±; in a plain C locale jsonargparse would stumble."""
    assert printed.returncode == 0
    assert len(printed.stderr.split()) == 3  # no word beside what the test above looks at
    assert b"experiment: gr\\xf6\\xdfe\n" in printed.stdout  # what the locale cannot print


@pytest.mark.parametrize(("command", "package"), [("fit", "jsonargparse"), ("doctor", "torch")])
def test_ctrl_c_while_packages_load(command, package):
    words = [sys.executable, "-c", INTERRUPTED, command, package]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


@pytest.mark.parametrize(("given", "code"), [("", -2), ("sys.argv[1:2]", 130)])
def test_a_trial_of_an_agent_ends_by_the_signal_that_stopped_it(given, code):
    """The agent takes other ends for failures; a process of somebody else's is left alone."""
    program = INTERRUPTED.replace("sys.argv[1:2]", given)
    environment = {**os.environ, "WANDB_SWEEP_ID": "abc"}
    words = [sys.executable, "-c", program, "fit", "torch"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, env=environment)
    assert (done.returncode, done.stderr) == (code, "interrupted\n")


def test_windows_is_told_where_it_runs(monkeypatch, capsys):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(SystemExit) as stopped:
        runpy.run_module("dim_lightning.__main__", run_name="__main__")
    assert stopped.value.code == 2
    assert "on Windows, run it within WSL" in capsys.readouterr().err


def test_what_nobody_reads_any_more_is_told_by_the_exit_code():
    """As of `... | head -1`."""
    command = [sys.executable, "-m", "dim_lightning", "--version"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (141, "the program that read the output has ended\n")
