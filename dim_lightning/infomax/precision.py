"""The precision in which exponentials, logarithms and means are taken."""

import torch
from torch import Tensor


def wide_type(dtype: torch.dtype) -> torch.dtype:
    """float32, or `dtype` if that is more exact; bfloat16 keeps three digits at best."""
    return torch.promote_types(dtype, torch.float32)


def widened(values: Tensor) -> Tensor:
    """The values in float32, or in their own type if that is more exact."""
    return values.to(wide_type(values.dtype))
