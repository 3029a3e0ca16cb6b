"""Which folder this process works in: a new one, that of --run, or that of the first process."""

import os
from pathlib import Path

from lightning.pytorch.utilities.rank_zero import rank_zero_only

from dim_lightning.run.folder import existing_run_folder, last_checkpoint, new_run_folder

_VARIABLE = "DIM_LIGHTNING_RUN_DIR"  # how the processes that Lightning starts learn the folder


def is_first_process() -> bool:
    """Whether this process is the one of several that writes and speaks."""
    return getattr(rank_zero_only, "rank", 0) == 0


def work_folder(runs_dir: Path, experiment: str, run: str | None) -> Path:
    """The folder of this run; only the first process of several makes one.

    Args:
        runs_dir: where runs lie.
        experiment: the name of a new run's folder.
        run: the folder of a run that exists, if the command is about one.

    Raises:
        InputError: a new folder cannot be written, or `run` holds no run.
    """
    if run is not None:
        return existing_run_folder(Path(run))
    if is_first_process():
        folder = new_run_folder(runs_dir, experiment)
        os.environ[_VARIABLE] = str(folder)
        return folder
    # under torchrun nobody hands a folder over, and only the first process ever writes into it
    return Path(os.environ.get(_VARIABLE, runs_dir / experiment))


def with_run_files(arguments: list[str]) -> list[str]:
    """`arguments` with the configuration and the last checkpoint of --run put before the rest.

    What else is given comes later, so it wins.

    Raises:
        InputError: the folder holds no run, or the run has no checkpoint yet.
    """
    folder = _run_option(arguments)
    if folder is None:
        return arguments
    config = existing_run_folder(Path(folder)) / "config.yaml"
    files = ["--config", str(config), "--ckpt_path", str(last_checkpoint(Path(folder)))]
    return [arguments[0], *files, *arguments[1:]]


def _run_option(arguments: list[str]) -> str | None:
    for position, word in enumerate(arguments):
        if word == "--run" and position + 1 < len(arguments):
            return arguments[position + 1]
        if word.startswith("--run="):
            return word.removeprefix("--run=")
    return None
