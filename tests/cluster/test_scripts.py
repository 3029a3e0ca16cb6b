"""The scripts that start a job: they are sound, and they start one."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small_job import assert_equal, environment, fit, free_port

SCRIPTS = Path(__file__).parents[2] / "experiments" / "cluster"
NAMES = ("elastic.sh", "slurm.sh", "torchrun.sh")
JOB = {  # what SLURM tells the script of a job of two tasks
    "SLURM_JOB_ID": "77",
    "SLURM_JOB_NAME": "dim_lightning",
    "SLURM_NNODES": "1",
    "SLURM_NTASKS": "2",
    "SLURM_NTASKS_PER_NODE": "2",
}


def start(script, words, **variables):
    """Runs a script to its end, its processes at a port of their own.

    The usual ones, torchrun's and the one that Lightning makes of the number of a job of SLURM, may
    be those of other tests on this machine.
    """
    port = free_port()
    variables = {"PORT": port, "MASTER_PORT": port, **variables}
    return subprocess.run(
        [str(SCRIPTS / script), *words],
        env=environment(PYTHON=sys.executable, **variables),
        capture_output=True,
        text=True,
        timeout=1800,
    )


def test_every_script_is_tested():
    assert sorted(path.name for path in SCRIPTS.glob("*.sh")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("checker", [["bash", "-n"], ["shellcheck"]])
def test_a_script_is_sound(name, checker):
    if shutil.which(checker[0]) is None:
        pytest.skip(f"there is no program {checker[0]}")
    subprocess.run([*checker, str(SCRIPTS / name)], check=True)


def stand_ins(folder, **programs):
    """PATH with these programs, lines of a shell, first."""
    for name, lines in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{lines}\n")
        (folder / name).chmod(0o755)
    return f"{folder}:{environment()['PATH']}"


@pytest.mark.parametrize(("code", "waits"), [(143, ["600"]), (1, [])])
def test_a_job_that_was_told_to_end_waits_until_slurm_ends_it(tmp_path, code, waits):
    """SLURM queues no job again that has ended by itself within the grace of a preemption."""
    srun = f"echo $SRUN_CPUS_PER_TASK; exit {code}"
    path = stand_ins(tmp_path, srun=srun, sleep="echo waits $1")
    done = start("slurm.sh", ["fit"], **JOB, SLURM_CPUS_PER_TASK="4", PATH=path)
    assert done.returncode == code
    assert done.stdout.splitlines() == ["4", *(f"waits {seconds}" for seconds in waits)]


def test_at_the_end_of_its_time_a_job_saves_before_it_is_queued_again(tmp_path):
    """The script hears of it; the training is told, and SLURM only when that has ended."""
    told, sleep = tmp_path / "told", shutil.which("sleep")
    path = stand_ins(
        tmp_path,
        srun=f"kill -USR1 $PPID; until [ -e {told} ]; do {sleep} 0.1; done; echo saved; exit 143",
        scancel=f"echo scancel $@; {sleep} 1; touch {told}",
        scontrol="echo scontrol $@",
        sleep=f"[ $1 = 600 ] || {sleep} 4; echo waits $1",
    )
    done = start("slurm.sh", ["fit"], **JOB, PATH=path)
    assert done.returncode == 143
    said = ["scancel --signal=TERM 77", "saved", "scontrol requeue 77", "waits 600"]
    assert done.stdout.splitlines() == said


def test_a_training_that_takes_too_long_to_save_is_queued_again_all_the_same(tmp_path):
    queued, sleep = tmp_path / "queued", shutil.which("sleep")
    path = stand_ins(
        tmp_path,
        srun=f"kill -USR1 $PPID; until [ -e {queued} ]; do {sleep} 0.1; done; exit 9",
        scancel="",
        scontrol=f"echo $@ > {queued}",
        sleep="",
    )
    assert start("slurm.sh", ["fit"], **JOB, PATH=path).returncode == 9
    assert queued.read_text() == "requeue 77\n"


@pytest.mark.slow
def test_a_requeued_job_ends_as_if_it_had_never_stopped(tmp_path):
    """Both processes of a job of SLURM are killed in mid-epoch; torchrun's goes through."""
    calm = start("torchrun.sh", fit(tmp_path, "calm", 2), DEVICES="2")
    assert calm.returncode == 0, calm.stderr
    path = f"{Path(__file__).parent / 'programs'}:{environment()['PATH']}"
    words = fit(tmp_path, "cut", 2)
    cut = start("slurm.sh", words, **JOB, PATH=path, POWER_CUT_AT="15")
    assert cut.returncode != 0
    again = start("slurm.sh", words, **JOB, PATH=path, SLURM_RESTART_COUNT="1")
    assert again.returncode == 0, again.stderr
    assert "slurm 77 was started again and goes on where it was saved" in again.stdout
    assert [path.name for path in (tmp_path / "runs" / "cut").iterdir()] == ["1"]
    assert_equal(tmp_path / "runs" / "calm" / "1", tmp_path / "runs" / "cut" / "1")
