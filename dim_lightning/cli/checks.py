"""What is looked at before a run folder is made."""

import os
import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy, Strategy
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from dim_lightning.cli.words import state_words
from dim_lightning.encoder_module import EncoderModule
from dim_lightning.errors import InputError, check_least
from dim_lightning.hyperparameters import PARTS
from dim_lightning.parts import check_precision, check_scheduler
from dim_lightning.run.checkpoint import check_fits, is_own
from dim_lightning.run.folder import CHECKPOINTS, CONFIG
from dim_lightning.run.settings import differing, num_devices
from dim_lightning.writing import disk_reason

_SHELLS = ("bash", "interactive")  # jobs of SLURM's of these names are shells to Lightning
_VARIABLE = re.compile(r"(^|/)\$\w")
_LEAST = {
    "accumulate_grad_batches": 1,
    "check_val_every_n_epoch": 1,
    "gradient_clip_val": 0,
    "log_every_n_steps": 1,
    "num_sanity_val_steps": -1,
}


def check_trained(command: str, config: Mapping[str, Any]) -> None:
    """Refuses to look at an encoder that was never trained, or at another than that of a run.

    Raises:
        InputError: a command other than fit is given neither a run nor a checkpoint, or a run with
            a checkpoint that is not its own.
    """
    if command == "fit":
        return
    run, path = config.get("run"), config.get("ckpt_path")
    if run and path and not is_own(Path(path), Path(run)):
        raise InputError(
            f"--ckpt_path is {path}, which does not lie in {run}: its figures would stand there as "
            f"that run's; expected one of {Path(run) / CHECKPOINTS}; or, for a folder of its own, "
            f"give --config {Path(run) / CONFIG} in place of --run"
        )
    if not run and not path:
        raise InputError(
            f"{command} is given nothing to look at; expected --run FOLDER, or the settings of a "
            "model and --ckpt_path FILE"
        )


def check_checkpoint(path: Path, model: L.LightningModule) -> dict[str, Any]:
    """The content of a checkpoint to start from; says which settings differ from its own.

    Raises:
        InputError: there is none, it is unreadable, or of another model.
    """
    checkpoint = check_fits(path, model)
    stored = {**checkpoint.get("hyper_parameters", {}), **checkpoint.get(PARTS, {})}
    ours = {name: value for name, value in dict(model.hparams).items() if not callable(value)}
    lines = [
        f"\n  model.{name}: {old} in the checkpoint, {new} now"
        for name, old, new in sorted(differing(stored, ours))
    ]
    if lines:
        listed = "".join(lines)
        rank_zero_info(
            f"{path} was trained with other settings:{listed}\nThose asked for now hold."
        )
    return checkpoint


def check_optimizer(model: EncoderModule) -> None:
    """Builds the optimiser and its schedule once; Lightning does it when the run has begun.

    Raises:
        InputError: the schedule needs a figure.
        Exception: as their classes refuse what they are given.
    """
    with suppress(RuntimeError):  # of a device: the model is not where it will train yet
        optimizer = model.make_optimizer(model.parameter_groups())
        if model.make_lr_scheduler is not None:
            check_scheduler(model.make_lr_scheduler(optimizer))


def check_weights_only(asked: bool | None) -> None:
    """Refuses to read checkpoints that could run code.

    Raises:
        InputError: weights_only is false.
    """
    if asked is False:
        raise InputError(
            "weights_only is false, but a checkpoint that holds more than tensors and plain values "
            "could run code; expected true or null; leave weights_only out"
        )


def check_seed(seed: int) -> None:
    """Refuses a seed that NumPy does not take.

    Raises:
        InputError: it is negative or too large.
    """
    if not 0 <= seed < 2**32:
        raise InputError(f"seed_everything is {seed}; expected 0 to {2**32 - 1}")


def check_place(runs_dir: str, experiment: str) -> None:
    """Refuses names that a shell or a script gives where it has none.

    Raises:
        InputError: one is empty or null.
    """
    for name, value in {"runs_dir": runs_dir, "experiment": experiment}.items():
        if value in ("", "null", "None"):
            raise InputError(
                f"{name} is {value!r}; expected a name; leave {name} out for its default"
            )


def check_folders(places: Mapping[str, str | None]) -> None:
    """Refuses what a shell's variables may leave: no name, or their own, folders that begin with $.

    Args:
        places: setting -> path.

    Raises:
        InputError: one has a variable, or is empty.
    """
    for name, path in places.items():
        if path == "":
            raise InputError(
                f"{name} is empty; expected a folder; leave {name} out for its default"
            )
        if _VARIABLE.search(path or ""):
            raise InputError(
                f"{name} is {path!r}, in which no variable is replaced; expected a path; for $NAME "
                "write ${oc.env:NAME} in a file, or on a command line leave its quotes out"
            )


def check_writable(run_dir: Path) -> None:
    """Looks, before anything is measured, at whether a run's folder takes the figures.

    Raises:
        InputError: it does not, as that of somebody else.
    """
    try:
        with tempfile.TemporaryFile(dir=run_dir):
            pass
    except OSError as error:
        raise InputError(
            f"cannot write {run_dir}, where the figures go: {disk_reason(error, '--run')[0]}; give "
            "--run a copy of it, or, for a folder of its own, in place of --run "
            f"{state_words(run_dir)} --runs_dir PLACE"
        ) from error


def check_clock(interval: Any, processes: int) -> None:
    """Refuses to let each process look at its own clock: one would validate while others train.

    Args:
        interval: trainer.val_check_interval.
        processes: how many train together.

    Raises:
        InputError: validation is timed, and there are several processes.
    """
    if processes > 1 and not isinstance(interval, int | float | None):
        raise InputError(
            f"trainer.val_check_interval is {interval}, a time, and {processes} processes do not "
            "agree on the time; expected a number of steps or a share of the epoch"
        )


def check_launched(
    devices: Any, num_nodes: int, environment: Mapping[str, str] = os.environ
) -> None:
    """Refuses other processes than torchrun or SLURM has started.

    Each would train alone, or wait for processes that nobody starts.

    Args:
        devices: trainer.devices.
        num_nodes: trainer.num_nodes.
        environment: the variables of this process.

    Raises:
        InputError: they are not as many, or SLURM has started several in a job that Lightning
            takes for a shell.
    """
    name, started = "torchrun", environment.get("WORLD_SIZE")
    if "TORCHELASTIC_RUN_ID" not in environment:
        name, started = "SLURM", environment.get("SLURM_STEP_NUM_TASKS")
        if environment.get("SLURM_JOB_NAME") in _SHELLS:
            _check_shell(environment)
            return
        if started is None and "SLURM_NTASKS" in environment:  # a batch job's script, without srun
            started = "1"
    count = num_devices(devices)
    if started is None or count is None or count * num_nodes == int(started):
        return
    raise InputError(
        f"{name} has started {started} process{'es' * (started != '1')}, but trainer.devices is "
        f"{devices} and trainer.num_nodes {num_nodes}; expected as many; set them to the processes "
        "of a host and the number of hosts, as the scripts in experiments/cluster do, which in a "
        "job of SLURM start them by srun"
    )


def _check_shell(environment: Mapping[str, str]) -> None:
    """Refuses several tasks of SLURM where Lightning starts processes itself: it would in each.

    Raises:
        InputError: there are several. The shell of `srun --pty` is the first of them, and alone.
    """
    started = environment.get("SLURM_STEP_NUM_TASKS", "1")
    is_typed = "SLURM_PTY_PORT" in environment and environment.get("SLURM_PROCID") == "0"
    if started == "1" or is_typed:
        return
    raise InputError(
        f"SLURM has started {started} processes, but Lightning takes a job of the name "
        f"{environment['SLURM_JOB_NAME']} for a shell, so that each would train alone; expected "
        "another name, such as salloc --job-name=train gives, or a single process: leave srun out"
    )


def check_trainer(config: dict[str, Any]) -> None:
    """Refuses what the run folder decides, and what Lightning would stumble over or drop.

    Raises:
        InputError: trainer.default_root_dir or barebones is set, or a number is too small, or a
            precision, a strategy or a number of processes is none that can be.
    """
    check_precision(config["precision"])
    _check_strategy(config["strategy"])
    check_launched(config["devices"], config["num_nodes"])
    for name, least in _LEAST.items():
        check_least(f"trainer.{name}", config[name], least)
    if config["limit_train_batches"] == 0:
        raise InputError(
            "trainer.limit_train_batches is 0, which trains nothing; expected a number of batches, "
            "or a share above 0"
        )
    interval = config["val_check_interval"]
    if isinstance(interval, int | float) and not interval > 0:
        raise InputError(f"trainer.val_check_interval is {interval}; expected more than 0")
    if config["barebones"]:
        raise InputError(
            "trainer.barebones is true; expected false: it forbids the checkpoints, logs and "
            "figures that a run is made of"
        )
    if config.get("default_root_dir") is not None:
        raise InputError(
            f"trainer.default_root_dir is {config['default_root_dir']!r}, but a run's files lie "
            "in <runs_dir>/<experiment>/<n>; set runs_dir and experiment instead"
        )


def check_no_transfer(transfer: str | None) -> None:
    """Looks at whether a training is said to be of another data set than its own.

    Raises:
        InputError: it is.
    """
    if transfer is not None:
        raise InputError(
            f"evaluation.transfer is {transfer}, which is for `test` of a run on pictures that it "
            "was not trained on; expected null in a training; give it to `test`, with data.source"
        )


def _check_strategy(strategy: str | Strategy) -> None:
    """Refuses to cut weights up between processes: figures of the encoder need it whole.

    Raises:
        InputError: the strategy may do so.
    """
    name = strategy.lower() if isinstance(strategy, str) else type(strategy).__name__
    if isinstance(strategy, DDPStrategy | SingleDeviceStrategy) or name == "auto":
        return
    if not name.startswith("ddp"):
        raise InputError(
            f"trainer.strategy is {name}, but probes and figures need the whole encoder on each "
            "device; expected auto or ddp"
        )
