"""How exactly products of float32 matrices are computed in training, and in validation."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from lightning.pytorch.callbacks import Callback

Precision = Literal["highest", "high", "medium"]
HELP = (
    "Precision of products of float32 matrices in training: highest, or the quicker high "
    "(TensorFloat32 on NVIDIA GPUs from Ampere on) and medium (bfloat16). Validation has the "
    "highest."
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


class PlainValidation(Callback):
    """Validates as `test` computes: with exact products of float32 matrices, and uncompiled.

    Neighbours, which differences of products decide, are those that `test` finds so. Convolutions
    are not concerned: cuDNN computes them in TensorFloat32 unless `torch.backends.cudnn` is told
    otherwise. And a CUDA graph may write where the outputs of one before it lie as soon as no
    gradient is waited for: in a validation a critic's over the feature map that it reads.

    Args:
        precision: of the training.
        compiled: whether parts of the model are compiled in it.
    """

    def __init__(self, precision: Precision, compiled: bool) -> None:
        self.precision = precision
        self.compiled = compiled

    def on_validation_start(self, *_: Any) -> None:
        """Is plain from here on."""
        self._compute("highest", "force_eager")

    def on_validation_end(self, *_: Any) -> None:
        """Goes on as in training."""
        self._compute(self.precision, "default")

    def on_exception(self, *_: Any) -> None:
        """Leaves the process as it was in training."""
        self._compute(self.precision, "default")

    def _compute(self, precision: Precision, stance: Literal["default", "force_eager"]) -> None:
        torch.set_float32_matmul_precision(precision)
        if self.compiled:  # what sets the stance takes seconds to load
            torch.compiler.set_stance(stance)
