"""Checkpoints: written whole or not at all, and looked at before anything starts from them."""

import io
import pickle
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from torch import nn

from dim_lightning.errors import InputError
from dim_lightning.run.folder import disk_error, write_atomically


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it, so a crash never leaves half a file.

    Lightning's own writer moves it over from the system's temporary folder, which is a copy, not
    a rename, when that lies on another disk.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Saves `checkpoint`.

        Raises:
            InputError: the disk is full or read-only; the file that was there is whole.
        """
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(Path(path), buffer.getvalue())
        except OSError as error:
            raise disk_error(error, path) from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The checkpoint's content, on the CPU; tensors stay on disk until they are used.

    Raises:
        InputError: there is no such file, or it is cut short, or it is no checkpoint.
    """
    if not path.is_file():
        raise InputError(f"there is no checkpoint {path}; expected a file such as last.ckpt")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError, ValueError) as error:
        size = path.stat().st_size
        raise InputError(
            f"{path} ({size} bytes) cannot be read as a checkpoint; it is cut short or another "
            "kind of file; take another checkpoint of the run"
        ) from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise InputError(f"{path} holds no state_dict; expected a checkpoint that fit wrote")
    return checkpoint


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


def differences(stored: dict[str, Any], asked: dict[str, Any], key: str = "") -> list[str]:
    """The settings in which a checkpoint's model differs from the one asked for, one a line."""
    lines = []
    for name in sorted({*stored, *asked}):
        old, new, where = stored.get(name), asked.get(name), f"{key}{name}"
        if isinstance(old, dict) and isinstance(new, dict):
            lines += differences(old, new, f"{where}.")
        elif old != new:
            lines.append(f"{where}: {old} in the checkpoint, {new} now")
    return lines


def _refuse(path: Path, difference: str) -> None:
    raise InputError(
        f"{path} is a checkpoint of another model: {difference}; "
        "give the config.yaml of its own run, or --run with its folder"
    )


def _shape(tensor: torch.Tensor) -> str:
    return str(list(tensor.shape))
