"""Several processes: one run, one folder; and a process that is told to stop."""

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from dim_lightning.run.checkpoint import read_checkpoint
from dim_lightning.run.folder import LAST_CHECKPOINT
from dim_lightning.run.result import read_result


def _command(workshop, *words):
    command = [sys.executable, "-m", "dim_lightning", "fit", "--config", workshop.config]
    places = ["--data.root", str(workshop.folder / "data"), "--runs_dir", str(workshop.runs)]
    return [*command, *places, *words]


@pytest.mark.slow
def test_a_parameter_that_nothing_trains_is_named_before_processes_wait_for_it(workshop):
    words = ["--model.prior", "NoiseInjection", "--trainer.strategy", "ddp"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = _command(workshop, *words, "--experiment", "idle", "--trainer.devices", "2")
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 2
    assert "encoder.log_variance.weight has no gradient" in done.stderr
    assert "ddp_find_unused_parameters_true" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("process", "where"), [(0, ""), (1, " on process 1")])
def test_what_ends_one_process_is_said_and_ends_the_others(workshop, process, where):
    callback = {"class_path": "failing_step.OutOfMemory", "init_args": {"process": process}}
    trainer = {"callbacks": [callback], "strategy": "ddp", "devices": 2}
    config = workshop.write(f"fails{process}.yaml", {"trainer": trainer, "experiment": "fails"})
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    command = _command(workshop, "--config", config)
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode != 0
    assert f"error{where}: out of memory: memory more could not be had" in done.stderr
    assert "[rank1]" not in done.stderr  # it has no time to complain that the first is gone


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stop", "code", "said"), [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "terminated")]
)
def test_a_stopped_run_says_how_to_go_on(workshop, stop, code, said):
    command = _command(workshop, "--experiment", stop, "--trainer.max_epochs", "1000")
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell's background jobs ignore SIGINT, and so would what they start
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch 2/"):
            process.send_signal(getattr(signal, stop))
            break
    _, errors = process.communicate(timeout=300)
    run = workshop.runs / stop / "1"
    assert process.returncode == code
    assert f"{said}; to go on: python -m dim_lightning fit --resume {run}" in errors
    assert "Traceback" not in errors
    assert read_result(run)["fit"]["status"] == "interrupted"


@pytest.mark.slow
def test_ctrl_c_saves_the_state_though_it_ends_the_program_that_reads_what_is_said(workshop):
    """As tee, by which people keep a log."""
    command = _command(workshop, "--experiment", "tee", "--trainer.max_epochs", "1000")
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # without a terminal, on which the rest would be said
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    while "epoch 2/" not in process.stdout.readline():
        assert process.poll() is None
    process.stdout.close()
    process.send_signal(signal.SIGINT)
    assert process.wait(300) == 130
    _check_saved(workshop.runs / "tee" / "1")


@pytest.mark.slow
def test_a_run_whose_terminal_is_gone_saves_its_state_and_ends(workshop):
    ours, terminal = pty.openpty()
    process = subprocess.Popen(
        _command(workshop, "--experiment", "gone", "--trainer.max_epochs", "1000"),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # signals come from there
    )
    os.close(terminal)
    said = b""
    while b"epoch 2/" not in said:
        said += os.read(ours, 1024)
    os.close(ours)
    assert process.wait(300) == 143
    _check_saved(workshop.runs / "gone" / "1")


def _check_saved(run):
    fit = read_result(run)["fit"]
    assert fit["status"] == "interrupted"
    assert read_checkpoint(run / LAST_CHECKPOINT)["global_step"] == fit["steps"]
