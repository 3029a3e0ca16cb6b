"""The Trainer of a run: callbacks, loggers and files in the run's folder."""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import (
    Callback,
    Checkpoint,
    ModelCheckpoint,
    ProgressBar,
    Timer,
    WeightAveraging,
)
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_only

from dim_lightning.callbacks.checkpoints import Checkpoints
from dim_lightning.callbacks.joint_start import JointStart
from dim_lightning.callbacks.logged_step import LoggedStep
from dim_lightning.callbacks.non_finite import NonFiniteGuard
from dim_lightning.callbacks.run_record import RunRecord
from dim_lightning.callbacks.running_best import RunningBest
from dim_lightning.callbacks.screen import EpochLines, TerminalBar
from dim_lightning.callbacks.stop_at_once import StopAtOnce
from dim_lightning.cli.messages import shortened
from dim_lightning.errors import InputError
from dim_lightning.run.checkpoint import AtomicCheckpointIO
from dim_lightning.run.folder import CONFIG, KEPT_CHECKPOINTS, LAST_CHECKPOINT
from dim_lightning.run.metrics import MetricsFile
from dim_lightning.run.settings import flat_config, read_yaml
from dim_lightning.run.wandb_logger import WandbLogger


def trainer_in(
    run_dir: Path,
    command: str,
    config: dict[str, Any],
    keyed: Sequence[Callback],
) -> L.Trainer:
    """The Trainer that works in `run_dir`; loggers of a service are opened by `open_loggers`.

    Args:
        run_dir: the run's folder.
        command: fit, validate, test or predict.
        config: the arguments of the Trainer; stays as it is.
        keyed: the callbacks that have settings of their own, and those that the start needs.

    Raises:
        InputError: the Trainer refuses its arguments.
    """
    if command != "fit" or config["enable_checkpointing"] is False:
        keyed = [callback for callback in keyed if not isinstance(callback, Checkpoints)]
    own = _as_list(config["callbacks"])
    if command != "fit":  # a checkpoint's weights are the average already
        own = [callback for callback in own if not isinstance(callback, WeightAveraging)]
    for callback in own:
        if isinstance(callback, ModelCheckpoint) and callback.dirpath is None:
            callback.dirpath = str((run_dir / KEPT_CHECKPOINTS).absolute())
    has_bar = any(isinstance(callback, ProgressBar) for callback in own)
    wants_bar = config["enable_progress_bar"] is not False and not has_bar
    callbacks = [*own, *keyed, *_fixed_callbacks(run_dir, command, wants_bar)]
    bar = any(isinstance(callback, ProgressBar) for callback in callbacks)
    config = config | {
        "default_root_dir": str(run_dir),
        "callbacks": callbacks,
        "enable_progress_bar": bar,
        "enable_checkpointing": any(isinstance(c, Checkpoint) for c in callbacks),
        "logger": _loggers(config["logger"], run_dir, command),
        "plugins": [*_as_list(config["plugins"]), AtomicCheckpointIO()],
    }
    try:
        trainer = L.Trainer(**config)
    except InputError:
        raise
    except Exception as error:  # of nearly any kind: the Trainer trusts its arguments
        raise InputError(f"trainer: {shortened(str(error) or repr(error))}") from error
    if not hasattr(trainer, "val_check_interval"):  # of a time it is not, and EarlyStopping asks
        trainer.val_check_interval = config["val_check_interval"]
    trainer.callbacks.sort(key=_turn)  # type: ignore[attr-defined]
    return trainer


@rank_zero_only
def open_loggers(trainer: L.Trainer, run_dir: Path, is_new: bool) -> None:
    """Opens a run on Weights & Biases, and tells loggers of other kinds the settings of the run.

    After all checks, so that nobody sees a run that never began. The settings are those of the
    training, whatever a later command is given.

    Args:
        trainer: that logs to them.
        run_dir: the run's folder.
        is_new: whether it begins: a logger that knows a run already may refuse other settings.
    """
    try:
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.place_in(run_dir, read_yaml(run_dir / CONFIG))
            elif not isinstance(logger, MetricsFile):  # whose folder has them
                _tell_settings(logger, run_dir, is_new)
    except BaseException:
        finish_loggers(trainer, failed=True)  # it would write on into a folder that goes
        raise


def _tell_settings(logger: Logger, run_dir: Path, is_new: bool) -> None:
    try:
        logger.log_hyperparams(flat_config(run_dir))
    except Exception as error:  # of a service, whose errors are of its own kinds
        if is_new:
            raise
        rank_zero_info(f"warning: {type(logger).__name__} did not take the settings: {error}")


def finish_loggers(trainer: L.Trainer, failed: bool) -> None:
    """Closes a run on Weights & Biases, as one that failed or not."""
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.finish(failed)


def end_others(trainer: L.Trainer) -> None:
    """Ends the processes that this one started: they would wait for it, on a GPU half an hour."""
    launcher = trainer.strategy.launcher
    if launcher is not None:
        launcher.kill(signal.SIGKILL)
        # else Lightning, which looks at them every five seconds, kills this one for their end
        getattr(launcher, "procs", []).clear()


def _fixed_callbacks(run_dir: Path, command: str, bar: bool) -> list[Callback]:
    """Those that every run has: screen, and what belongs to `command`, in the order of the calls.

    Args:
        run_dir: the run's folder.
        command: fit, validate, test or predict.
        bar: whether a terminal gets a progress bar.
    """
    callbacks: list[Callback] = []
    if bar and sys.stdout.isatty():
        callbacks.append(TerminalBar())
    if command == "fit":
        # the guards first, so that nothing records or keeps a broken state; the record before the
        # line that shows its speed
        guard = NonFiniteGuard(run_dir / LAST_CHECKPOINT)
        callbacks += [JointStart(), guard, RunningBest(), RunRecord(run_dir), EpochLines()]
    else:
        callbacks += [LoggedStep(), StopAtOnce()]
    return callbacks


def _turn(callback: Callback) -> int:
    """Which callbacks are called before others, whose order stays.

    The clock of max_time is first: what logs at a stop has to know of it. An average of the weights
    is last: it takes their place from the start of a validation to its end, where all others are
    to see the same weights, and for good when training ends, after the state was saved.
    """
    if isinstance(callback, Timer):
        return 0
    if isinstance(callback, WeightAveraging):
        return 2
    return 1


def _loggers(asked: Any, run_dir: Path, command: str) -> list[Logger]:
    """metrics.csv, and the loggers asked for; none at all for `logger: false`."""
    # what later commands find stands in result.json; rows of theirs would bend the curves, and
    # figures of `validate` have the names of those of the training; `predict` has none
    if asked is False or command in ("validate", "predict"):
        return []
    others = [logger for logger in _as_list(asked) if isinstance(logger, Logger)]
    return [MetricsFile(run_dir), *others] if command == "fit" else others


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
