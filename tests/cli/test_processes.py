"""Several processes: one run, one folder; and a process that is told to stop."""

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
from pathlib import Path

import forked
import pytest
from forked import Forked

from dim_lightning.run.checkpoint import read_checkpoint
from dim_lightning.run.folder import LAST_CHECKPOINT
from dim_lightning.run.result import read_result


def _words(workshop, *words):
    places = ["--data.root", str(workshop.folder / "data"), "--runs_dir", str(workshop.runs)]
    return ["fit", "--config", workshop.config, *places, *words]


@pytest.mark.slow
def test_a_parameter_that_nothing_trains_is_named_before_processes_wait_for_it(workshop, tmp_path):
    words = ["--model.prior", "NoiseInjection", "--trainer.strategy", "ddp"]
    words = _words(workshop, *words, "--experiment", "idle", "--trainer.devices", "2")
    done = forked.run(tmp_path, forked.command, *words, OMP_NUM_THREADS="1")
    assert done.returncode == 2
    assert "encoder.log_variance.weight has no gradient" in done.stderr
    assert "ddp_find_unused_parameters_true" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("process", "where"), [(0, ""), (1, " on process 1")])
def test_what_ends_one_process_is_said_and_ends_the_others(workshop, tmp_path, process, where):
    callback = {"class_path": "failing_step.OutOfMemory", "init_args": {"process": process}}
    trainer = {"callbacks": [callback], "strategy": "ddp", "devices": 2}
    config = workshop.write(f"fails{process}.yaml", {"trainer": trainer, "experiment": "fails"})
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    words = _words(workshop, "--config", config)
    done = forked.run(tmp_path, forked.command, *words, OMP_NUM_THREADS="1", PYTHONPATH=path)
    assert done.returncode != 0
    assert f"error{where}: out of memory: memory more could not be had" in done.stderr
    assert "[rank1]" not in done.stderr  # it has no time to complain that the first is gone


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stop", "code", "said"), [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "terminated")]
)
def test_a_stopped_run_says_how_to_go_on(workshop, tmp_path, stop, code, said):
    words = _words(workshop, "--experiment", stop, "--trainer.max_epochs", "1000")
    with Forked(tmp_path, forked.command, *words) as process:
        process.says("epoch 2/")
        process.send(getattr(signal, stop))
        done = process.ended()
    run = workshop.runs / stop / "1"
    assert done.returncode == code
    assert f"{said}; to go on: python -m dim_lightning fit --resume {run}" in done.stderr
    assert "Traceback" not in done.stderr
    assert read_result(run)["fit"]["status"] == "interrupted"


def _into_a_pipe(writer, *words):
    forked.say_to(writer.fileno(), writer.fileno())
    writer.close()
    return forked.command(*words)


@pytest.mark.slow
def test_ctrl_c_saves_the_state_though_it_ends_the_program_that_reads_what_is_said(
    workshop, tmp_path
):
    """As tee, by which people keep a log; without a terminal, on which the rest would be said."""
    words = _words(workshop, "--experiment", "tee", "--trainer.max_epochs", "1000")
    reader, writer = forked.CONTEXT.Pipe(duplex=False)
    with Forked(tmp_path, _into_a_pipe, writer, *words) as process:
        writer.close()
        said = b""
        while b"epoch 2/" not in said:
            said += os.read(reader.fileno(), 1024)
            assert process.running(), said
        reader.close()
        process.send(signal.SIGINT)
        assert process.ended().returncode == 130
    _check_saved(workshop.runs / "tee" / "1")


def _take_terminal():
    """Signals come from there; the tests may have been started by nohup, which ignores its end."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.mark.slow
def test_a_run_whose_terminal_is_gone_saves_its_state_and_ends(workshop):
    ours, terminal = pty.openpty()
    words = _words(workshop, "--experiment", "gone", "--trainer.max_epochs", "1000")
    process = subprocess.Popen(
        [sys.executable, "-m", "dim_lightning", *words],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=_take_terminal,
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
