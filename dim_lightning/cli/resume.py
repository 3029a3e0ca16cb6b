"""`fit --resume`: where a run goes on, and which settings may be others than before."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_only

from dim_lightning.callbacks.own_settings import OwnSettings
from dim_lightning.cli.checks import check_checkpoint
from dim_lightning.cli.words import state_words
from dim_lightning.errors import InputError, cut
from dim_lightning.run.checkpoint import (
    JOINT_BATCH,
    METRICS_ROWS,
    PROCESSES,
    newest_checkpoint,
    position,
)
from dim_lightning.run.environment import known_pictures
from dim_lightning.run.folder import remove_leftovers
from dim_lightning.run.metrics import MetricsFile
from dim_lightning.run.result import read_result
from dim_lightning.run.settings import PLACES, WHERE, belongs, differing

# what changes how long, where or how visibly a run trains, but not what it computes
_SAFE = (
    *WHERE,
    "trainer.max_epochs",
    "trainer.min_epochs",
    "trainer.max_steps",
    "trainer.min_steps",
    "trainer.max_time",
    "compile",
    "data.batch_size",  # with the number of processes: their joint batch has to stay
)
_LONGEST = 60
_MISSING = "nothing"


class Start(NamedTuple):
    """Where a run goes on.

    Attributes:
        path: the checkpoint; None for the beginning.
        epochs: that have ended.
        batches: that have been met of the next epoch.
        steps: of the optimiser.
        metrics_rows: how many rows of metrics.csv belong to it.
        joint_batch_size: images a step on all processes; None where it is not known.
        processes: how many trained; None where it is not known.
        callbacks: that the Trainer needs to start so.
    """

    path: Path | None = None
    epochs: int = 0
    batches: int = 0
    steps: int = 0
    metrics_rows: int = 0
    joint_batch_size: int | None = None
    processes: int | None = None
    callbacks: Sequence[Callback] = ()

    def __str__(self) -> str:
        if self.path is None:
            return "there is no checkpoint yet: training starts from the beginning"
        within = f" and {self.batches} batches" if self.batches else ""
        unit = "epoch" if self.epochs == 1 else "epochs"
        return f"goes on from {self.path} after {self.epochs} {unit}{within}, step {self.steps}"


def where_to_start(
    run: Path | None, path: str | None, model: L.LightningModule, limits: Mapping[str, Any]
) -> Start:
    """The checkpoint to start from, looked at.

    Args:
        run: the folder of a run that goes on; None for a new one.
        path: a checkpoint that was asked for, for a run that has none of its own.
        model: which has to fit it.
        limits: the arguments of the Trainer that say when training ends; empty if nothing trains.

    Raises:
        InputError: it cannot be read, is of another model, or lies behind the end.
    """
    own = None if run is None else usable_checkpoint(run)
    if run is not None and own is not None:
        start = start_from(own, check_checkpoint(own, model))
        end = limits["max_epochs"]
        if end is not None and -1 < end < start.epochs:
            raise InputError(
                f"trainer.max_epochs is {end}, but {run} has trained for {start.epochs}; expected "
                f"at least {start.epochs}"
            )
        return start
    if not path:
        return Start()
    checkpoint = check_checkpoint(Path(path), model)
    return _begun_by_another(Path(path), checkpoint, limits) if limits else Start(Path(path))


def usable_checkpoint(run_dir: Path) -> Path | None:
    """The newest checkpoint of a run that can be read; says which newer one cannot.

    Raises:
        InputError: there are some and none can be read.
    """
    path, refused = newest_checkpoint(run_dir)
    for reason in refused:
        rank_zero_info(f"refused: {reason}\n{path}, the one before, is used instead")
    return path


def start_from(path: Path, checkpoint: Mapping[str, Any]) -> Start:
    """Where the content of a checkpoint stands."""
    epochs, batches = position(checkpoint)
    rows = checkpoint.get(METRICS_ROWS) or 0
    known = (checkpoint.get(JOINT_BATCH), checkpoint.get(PROCESSES))
    return Start(path, epochs, batches, checkpoint["global_step"], rows, *known)


def limits_met(start: Start, limits: Mapping[str, Any]) -> list[str]:
    """The Trainer's settings, with their values, for which training ends where it starts."""
    done = {"max_epochs": start.epochs, "max_steps": start.steps}
    asked = {name: limits[name] for name in done if limits[name] is not None}
    return [f"trainer.{n} is {value}" for n, value in asked.items() if -1 < value <= done[n]]


def nothing_left(start: Start, limits: Mapping[str, Any]) -> str:
    """What to say of a training that has ended where it started."""
    met = limits_met(start, limits)
    if not met and limits["max_time"] is not None:
        met = [f"trainer.max_time is {limits['max_time']}"]
    reason = f": {' and '.join(met)}; more goes on" if met else ""
    return f"nothing was left to train{reason}"


def allowed_changes(stored: dict[str, Any], asked: dict[str, Any], run_dir: Path) -> list[str]:
    """The settings asked for that differ from those of the run and may, a line each.

    Raises:
        InputError: others differ; they are listed with both values.
    """
    found = list(differing(stored, asked, _MISSING))
    changes = [(key, _shown(old), _shown(new)) for key, old, new in found]
    places = () if known_pictures(run_dir) is None else PLACES
    is_path = {key: not {None, _MISSING} & {old, new} for key, old, new in found if key in places}
    moved = [key for key, given in is_path.items() if given]
    safe = (*_SAFE, *moved)
    refused = [change for change in changes if not belongs(change[0], safe)]
    if refused:
        listed = "".join(f"\n  {key}: asked {new}, stored {old}" for key, old, new in refused)
        raise InputError(
            f"{run_dir} goes on as it was begun, and these settings differ:{listed}\n"
            "Leave them out, or start a new run from its state: python -m dim_lightning fit "
            f"{state_words(run_dir)} --trainer.max_epochs MORE and them"
        )
    return [f"{key}: {new} from here on, {old} before" for key, old, new in changes]


def check_joint_batch(start: Start, processes: int, batch_size: int) -> None:
    """Looks at whether a step still sees as many images as before.

    Raises:
        InputError: it does not: the negatives, the epoch's length and so the results would differ.
    """
    expected = start.joint_batch_size
    if expected is None or processes * batch_size == expected:
        return
    advice = f"use a number of processes that divides {expected}"
    if expected % processes == 0:
        advice = f"set data.batch_size to {expected // processes}"
    raise InputError(
        f"data.batch_size is {batch_size} on {processes} process{'es' * (processes > 1)}, a joint "
        f"batch of {processes * batch_size} images; the run was trained with {expected}; {advice}"
    )


def check_order(start: Start, processes: int, is_stream: bool) -> None:
    """Looks at whether an epoch of a stream that was begun can be ended.

    Raises:
        InputError: other processes have other shards: images would be met twice and others never.
    """
    begun = start.processes
    if not (is_stream and start.batches) or begun in (None, processes):
        return
    raise InputError(
        f"an epoch of the stream was begun by {begun} process{'es' * (begun != 1)} (batches done: "
        f"{start.batches}), and {processes} would go through it in another order; expected {begun} "
        f"until it ends; set trainer.devices so, and trainer.max_epochs to {start.epochs + 1} if "
        "others are to go on from there"
    )


@rank_zero_only
def cut_back(run_dir: Path, num_rows: int) -> None:
    """Takes away what was written after the state that a run goes on from.

    Raises:
        InputError: what it logged before is damaged, which would end the run after its next epoch.
    """
    remove_leftovers(run_dir)
    MetricsFile(run_dir).keep(num_rows)
    read_result(run_dir)


def _begun_by_another(
    path: Path, checkpoint: Mapping[str, Any], limits: Mapping[str, Any]
) -> Start:
    """Where a run begins that takes up the state of another one.

    Raises:
        InputError: it would end there, or the checkpoint does not say where that is.
    """
    if "loops" not in checkpoint:
        raise InputError(f"{path} holds weights alone; expected a checkpoint that fit wrote")
    start = start_from(path, checkpoint)._replace(metrics_rows=0, callbacks=(OwnSettings(),))
    met = limits_met(start, limits)
    if met:
        raise InputError(
            f"{' and '.join(met)}, which {path} has reached (epochs: {start.epochs}, steps: "
            f"{start.steps}): nothing would be left to train; expected more, as those count"
        )
    return start


def _shown(value: Any) -> str:
    text = "null" if value is None else str(value)
    return cut(text, _LONGEST)
