"""How exactly products of float32 matrices are computed while an encoder trains."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

Precision = Literal["highest", "high", "medium"]
HELP = (
    "Of products of float32 matrices in training: highest, or quicker: high (TensorFloat32 on "
    "NVIDIA GPUs from Ampere on) or medium (bfloat16). Validation has the highest."
)


@contextmanager
def multiplying(precision: Precision) -> Iterator[None]:
    """Multiplies in a precision of `torch.set_float32_matmul_precision`, and then as before."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


class ExactValidation(Callback):
    """Validates with exact products of float32 matrices, whatever a training is told.

    Neighbours, which differences of products decide, are those that `test` finds so. Convolutions
    are not concerned: cuDNN computes them in TensorFloat32 unless `torch.backends.cudnn` is told
    otherwise.

    Args:
        precision: of the training.
    """

    def __init__(self, precision: Precision) -> None:
        self.precision = precision

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Is exact from here on."""
        torch.set_float32_matmul_precision("highest")

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Goes on as in training."""
        torch.set_float32_matmul_precision(self.precision)
