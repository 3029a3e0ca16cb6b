"""The callbacks that every run has, whatever its configuration says."""

import sys
from pathlib import Path

from lightning.pytorch.callbacks import Callback

from dim_lightning.callbacks.joint_start import JointStart
from dim_lightning.callbacks.non_finite import NonFiniteGuard
from dim_lightning.callbacks.run_record import RunRecord
from dim_lightning.callbacks.running_best import RunningBest
from dim_lightning.callbacks.screen import EpochLines, TerminalBar
from dim_lightning.callbacks.stop_at_once import StopAtOnce
from dim_lightning.run.folder import LAST_CHECKPOINT


def fixed_callbacks(run_dir: Path, command: str, bar: bool) -> list[Callback]:
    """Screen, and what belongs to `command`, in the order they have to be called.

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
        callbacks.append(StopAtOnce())
    return callbacks
