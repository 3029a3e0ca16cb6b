"""Features standardised, and the factor through which a linear classifier sees them as round."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from dim_lightning.errors import InputError
from dim_lightning.evaluation.labelled import check_finite

_VALUES_AT_ONCE = 2**22  # of some columns of the features

LARGEST_CURVATURE = 8192  # features beyond which their d x d second moment costs too much


def check_grid(name: str, grid: Sequence[float], zero: bool = False) -> None:
    """Looks at the weights that are tried of a penalty, or of the loss beside it.

    Args:
        name: of the setting.
        grid: what was given.
        zero: whether one may be 0.

    Raises:
        InputError: there are none, or one is negative, infinite or no number.
    """
    if len(grid) and all(0 < each < math.inf or (zero and each == 0) for each in grid):
        return
    least = "of at least 0" if zero else "above 0"
    raise InputError(
        f"{name} is {list(grid)}; expected one or more finite numbers {least}; set {name}"
    )


def standardisation(features: Float[Tensor, "n d"]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each feature, [d] and [d]; 1 for those that do not vary.

    What varies by no more than a millionth of its mean and of the widest feature together is taken
    for rounding. In float32 at least, of narrower features as well.

    Raises:
        InputError: features are no finite numbers.
    """
    dim = features.shape[1]
    dtype = torch.promote_types(features.dtype, torch.float32)
    columns = max(1, _VALUES_AT_ONCE // len(features))
    mean, scale = features.new_empty(dim, dtype=dtype), features.new_empty(dim, dtype=dtype)
    for start in range(0, dim, columns):  # wide numbers, a few columns at a time
        block = features[:, start : start + columns].to(wide(features.device))
        mean[start : start + columns] = block.mean(dim=0)
        scale[start : start + columns] = block.std(dim=0, correction=0)
    check_finite(mean)
    check_finite(scale)
    dead = scale <= 1e-6 * (mean.abs() + scale.max())
    return mean, scale.masked_fill(dead, 1.0)


def cholesky_factor(curvature: Float[Tensor, "d d"], damping: float) -> Float[Tensor, "d d"]:
    """Lower triangular L with L L' = curvature + damping on the diagonal.

    With some more where features depend on one another so much that rounding would leave it
    indefinite: any definite matrix preconditions, and none changes the solution.

    Args:
        curvature: symmetric, without negative eigenvalues but for rounding; it is overwritten.
        damping: above 0.
    """
    more = damping
    while True:
        curvature.diagonal().add_(more)
        factor, failed = torch.linalg.cholesky_ex(curvature)
        if not int(failed):
            return factor
        more *= 2


def wide(device: torch.device) -> torch.dtype:
    """float64; float32 on Apple's GPUs, which have no wider numbers."""
    return torch.float32 if device.type == "mps" else torch.float64
