"""Checkpoints: written whole or not at all, and looked at before anything starts from them."""

import io
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from torch import nn

from dim_lightning.errors import InputError
from dim_lightning.run.folder import (
    CHECKPOINTS,
    KEPT_CHECKPOINTS,
    LAST_CHECKPOINT,
    PREVIOUS_CHECKPOINT,
)
from dim_lightning.writing import disk_error, write_atomically

# what a run adds to Lightning's
METRICS_ROWS, JOINT_BATCH, PROCESSES = "metrics_rows", "joint_batch_size", "processes"
_LAST, _PREVIOUS = Path(LAST_CHECKPOINT).name, Path(PREVIOUS_CHECKPOINT).name
_KEPT = Path(KEPT_CHECKPOINTS).name


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it, so a crash never leaves half a file.

    The last.ckpt that it replaces stays as previous.ckpt, unless it was spoilt. Only tensors and
    plain values are read, so that no file can run code.

    Lightning's own writer moves the file over from the system's temporary folder, which is a copy,
    not a rename, when that lies on another disk.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Saves `checkpoint`.

        Raises:
            InputError: the disk is full or read-only; the file that was there is whole.
        """
        buffer, path = io.BytesIO(), Path(path)
        torch.save(checkpoint, buffer)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            is_good = path.name == _LAST and _is_whole(path)
            kept = path.with_name(_PREVIOUS) if is_good else None
            write_atomically(path, buffer.getvalue(), kept)
        except OSError as error:
            raise disk_error(error, path) from error

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable | None = None,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """The content of a file, on the CPU.

        Raises:
            InputError: it is damaged, or holds more than tensors and plain values.
        """
        path = Path(path).absolute()
        checkpoint = read_checkpoint(path, mmap=False)  # the file may go while the run goes on
        for state in checkpoint.get("callbacks", {}).values():
            _follow(state, path.with_name(_KEPT))
        return checkpoint


def read_checkpoint(path: Path, mmap: bool = True) -> dict[str, Any]:
    """The checkpoint's content, on the CPU.

    Args:
        path: the file.
        mmap: whether tensors stay on disk until they are used.

    Raises:
        InputError: there is no such file, or it is cut short or damaged, or it is no checkpoint.
    """
    if not path.is_file():
        raise InputError(f"there is no checkpoint {path}; expected a file such as last.ckpt")
    size = path.stat().st_size
    if not _is_whole(path):
        raise InputError(
            f"{path} ({size} bytes) cannot be read: it is cut short, damaged or another kind of "
            "file; take another checkpoint of the run"
        )
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError, ValueError) as error:
        raise InputError(
            f"{path} ({size} bytes) cannot be read as a checkpoint; it is damaged or another kind "
            "of file, or holds more than tensors and plain values, which could run code; take "
            "another checkpoint of the run"
        ) from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise InputError(f"{path} holds no state_dict; expected a checkpoint that fit wrote")
    return checkpoint


def _follow(state: Any, kept: Path) -> None:
    """Tells the state of a ModelCheckpoint where its files lie, in a run that was moved.

    Lightning forgets the best of one whose folder has another name.
    """
    before = Path(state.get("dirpath") or "") if isinstance(state, dict) else Path()
    if before.parts[-2:] != kept.parts[-2:]:
        return

    def moved(text: str) -> str:
        return str(kept / Path(text).name) if text and Path(text).parent == before else text

    state["dirpath"] = str(kept)
    for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
        state[name] = moved(state.get(name, ""))
    best = state.get("best_k_models", {})
    state["best_k_models"] = {moved(text): score for text, score in best.items()}


def newest_checkpoint(run_dir: Path) -> tuple[Path | None, list[str]]:
    """The newest checkpoint of a run that can be read, and why newer ones are refused.

    Returns:
        None if the run has saved none yet.

    Raises:
        InputError: there are some and none can be read.
    """
    refused = []
    for path in (run_dir / LAST_CHECKPOINT, run_dir / PREVIOUS_CHECKPOINT):
        if path.is_file():
            try:
                read_checkpoint(path)
            except InputError as error:
                refused.append(str(error))
            else:
                return path, refused
    if refused:
        raise InputError(
            f"{run_dir} has no checkpoint to go on from: {'; '.join(refused)}; delete them to "
            "train from the beginning"
        )
    return None, []


def is_own(checkpoint: Path, run_dir: Path) -> bool:
    """Whether a checkpoint lies in a run's folder, or where its `checkpoints` is a link to."""
    places = (run_dir.resolve(), (run_dir / CHECKPOINTS).resolve())
    return any(checkpoint.parent.resolve().is_relative_to(place) for place in places)


def no_checkpoint(run_dir: Path) -> InputError:
    """What to say of a run that has saved none yet."""
    return InputError(
        f"{run_dir} has no {LAST_CHECKPOINT}; expected a run that finished at least one epoch; "
        "trainer.fast_dev_run and trainer.enable_checkpointing false save none"
    )


def position(checkpoint: Mapping[str, Any]) -> tuple[int, int]:
    """How many epochs a checkpoint has seen end, and how many batches of the next it has seen."""
    loop = checkpoint["loops"]["fit_loop"]
    epochs = loop["epoch_progress"]["current"]
    is_within = epochs["ready"] > epochs["processed"]
    batches = loop["epoch_loop.batch_progress"]["current"]["ready"] if is_within else 0
    return epochs["processed"], batches


def check_fits(path: Path, module: nn.Module) -> dict[str, Any]:
    """The checkpoint at `path`, if its tensors are those of `module`.

    Raises:
        InputError: it is unreadable or of another model; names the first tensor that differs.
    """
    checkpoint = read_checkpoint(path)
    found, expected = checkpoint["state_dict"], module.state_dict()
    for name, tensor in expected.items():
        if name not in found:
            _refuse(path, f"it has no {name}; this model has one of shape {_shape(tensor)}")
        if found[name].shape != tensor.shape:
            _refuse(path, f"its {name} is {_shape(found[name])}; expected {_shape(tensor)}")
    for name in found:
        if name not in expected:
            _refuse(path, f"it has {name} of shape {_shape(found[name])}; this model has none")
    return checkpoint


def _is_whole(path: Path) -> bool:
    """Whether each record has the CRC-32 that torch.save noted of it; torch.load compares none."""
    try:
        with zipfile.ZipFile(path) as file:
            return file.testzip() is None
    except Exception:  # a damaged file makes it raise nearly anything
        return False


def _refuse(path: Path, difference: str) -> None:
    raise InputError(
        f"{path} is a checkpoint of another model: {difference}; "
        "give the config.yaml of its own run, or --run with its folder"
    )


def _shape(tensor: torch.Tensor) -> str:
    return str(list(tensor.shape))
