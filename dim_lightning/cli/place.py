"""Which folder this process works in: a new one, that of a run, or that of the first process."""

import os
from pathlib import Path

from lightning.pytorch.utilities.rank_zero import rank_zero_only

from dim_lightning.cli.resume import usable_checkpoint
from dim_lightning.cli.words import as_path, last_value
from dim_lightning.errors import InputError
from dim_lightning.run.checkpoint import no_checkpoint
from dim_lightning.run.folder import CONFIG, existing_run_folder, new_run_folder

_VARIABLE = "DIM_LIGHTNING_RUN_DIR"  # how the processes that Lightning starts learn the folder


def process_number() -> int:
    """Which of several processes this is, from 0."""
    return getattr(rank_zero_only, "rank", 0)


def is_first_process() -> bool:
    """Whether this process is the one of several that writes and speaks."""
    return process_number() == 0


def work_folder(runs_dir: Path, experiment: str, run: Path | None) -> Path:
    """The folder of this run; only the first process of several makes one.

    Args:
        runs_dir: where runs lie.
        experiment: the name of a new run's folder.
        run: the folder of a run that exists, if the command is about one.

    Raises:
        InputError: a new folder cannot be written, or `run` holds no run.
    """
    if is_first_process():
        folder = existing_run_folder(run) if run else new_run_folder(runs_dir, experiment)
        os.environ[_VARIABLE] = str(folder)
        return folder
    if run is not None:
        return existing_run_folder(run)
    # under torchrun nobody hands a folder over, and only the first process ever writes into it
    return Path(os.environ.get(_VARIABLE, runs_dir / experiment))


def with_run_files(arguments: list[str]) -> list[str]:
    """`arguments` with the configuration of the run that they are about put before the rest.

    What else is given comes later, so it wins. `validate`, `test` and `predict` take the run's
    newest checkpoint as well; `fit --resume` looks for it when the model is built.

    Raises:
        InputError: the folder holds no run, or the run has no checkpoint to look at yet.
    """
    if not arguments:
        return arguments
    is_fit = arguments[0] == "fit"
    option, other = ("--resume", "--run") if is_fit else ("--run", "--resume")
    if last_value(arguments, other) is not None:
        raise InputError(
            f"{other} is not an option of {arguments[0]}; a run's folder is given to it by {option}"
        )
    folder = last_value(arguments, option)
    if folder is None:
        return arguments
    if not folder:
        raise InputError(f"{option} is empty; expected the folder of a run, such as runs/digits/1")
    run_dir = existing_run_folder(as_path(folder))
    files = ["--config", str(run_dir / CONFIG)]
    if not is_fit:
        checkpoint = usable_checkpoint(run_dir)
        if checkpoint is None:
            raise no_checkpoint(run_dir)
        files += ["--ckpt_path", str(checkpoint)]
    return [arguments[0], *files, *arguments[1:]]
