"""Sums over all processes, for a statistic of the joint batch."""

from typing import cast

import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor


def total(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The sum of `x` over all processes, equal on each; `x` itself where there is only one.

    Its gradient is the sum of the processes' gradients. So the mean of the gradients over the
    processes, which data-parallel training takes, is that of one process with the joint batch.
    """
    if _alone():
        return x
    from torch.distributed.nn.functional import all_reduce

    return cast(Tensor, all_reduce(x.contiguous()))


def from_first(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """What the first process holds as `x`, on every process: for draws that must agree."""
    if not _alone():
        dist.broadcast(x, src=0)
    return x


def _alone() -> bool:
    return not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1
