"""A job that is started again by itself goes on with the run that it has begun.

The command of such a job is fixed beforehand, so it cannot name the run. What lasts is the name
that torchrun or SLURM has for the job: it stands in the environment.json of the run, together with
the command, as a job may run several.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from dim_lightning.run.environment import full_command, read_environment
from dim_lightning.run.folder import LAST_CHECKPOINT, numbered_folders

JOB = "job"  # its key in environment.json


def job_name(environment: Mapping[str, str] = os.environ) -> str | None:
    """What the job of this process is called wherever and however often it is started, if anything.

    torchrun: its --rdzv-id; whoever gives the same one again means the same job. SLURM: the
    number, which a requeued job keeps.
    """
    if environment.get("TORCHELASTIC_RUN_ID", "none") != "none":  # none was given
        return f"torchrun {environment['TORCHELASTIC_RUN_ID']}"
    if "SLURM_JOB_ID" in environment:
        return f"slurm {environment['SLURM_JOB_ID']}"
    return None


def begun_run(
    runs_dir: Path,
    experiment: str,
    arguments: list[str],
    environment: Mapping[str, str] = os.environ,
) -> Path | None:
    """The newest run of this job and command that has a checkpoint; None if there is none.

    Within an allocation of SLURM people start the same command twice and mean two runs: there it
    needs a job that was requeued. Every process finds the same run, as none is written before all
    have joined.

    Args:
        runs_dir: where runs lie, for all hosts the same disk.
        experiment: the name of the run's folder.
        arguments: the command line after the program's name.
        environment: the variables of this process.
    """
    job = job_name(environment)
    requeued = int(environment.get("SLURM_RESTART_COUNT", "0")) > 0
    if job is None or (job.startswith("slurm") and not requeued):
        return None
    for folder in reversed(numbered_folders(runs_dir / experiment)):
        found = read_environment(folder)
        same = (found.get(JOB), found.get("command")) == (job, full_command(arguments))
        if same and (folder / LAST_CHECKPOINT).is_file():
            return folder
    return None
