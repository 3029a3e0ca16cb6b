"""One batch over several processes: what each of them draws, gathers and owns.

The images of all processes form one joint batch, in the order of the ranks. Whatever is random is
drawn for the joint batch by every process alike, and each takes its own rows: so the loss of
several processes is that of one process with the joint batch. On one process all this is nothing.
"""

from typing import Any

import torch
from torch import Tensor, distributed


def num_processes() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if _is_distributed() else 1


def own_rows(joint: Tensor) -> Tensor:
    """The rows of a joint batch that belong to this process, [n, ...]."""
    if not _is_distributed():
        return joint
    return joint.chunk(distributed.get_world_size())[distributed.get_rank()]


def first_own_row(num_rows: int) -> int:
    """Where this process's `num_rows` rows begin in the joint batch."""
    return distributed.get_rank() * num_rows if _is_distributed() else 0


def gather(rows: Tensor) -> Tensor:
    """The rows of all processes in the order of their ranks, [num_processes * n, ...].

    The gradient is exact: what any process's loss owes to these rows flows back to the process
    that owns them. As data-parallel training averages the gradients of the processes' losses, a
    loss that is a mean over the joint batch keeps its gradient.
    """
    return _Gather.apply(rows) if _is_distributed() else rows


def total(values: Tensor) -> Tensor:
    """The sum of `values` over all processes, equal on each, with its exact gradient."""
    return gather(values[None]).sum(dim=0) if _is_distributed() else values


def largest(value: int, device: torch.device | str = "cpu") -> int:
    """The largest `value` of all processes: how they agree on what to do next.

    Args:
        value: of this process.
        device: on which the processes exchange tensors.
    """
    if not _is_distributed():
        return value
    joint = torch.tensor(value, device=device)
    distributed.all_reduce(joint, distributed.ReduceOp.MAX)
    return int(joint)


def uniform(
    num_rows: int,
    *shape: int,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """This process's rows of a joint draw from [0, 1), float32 [num_rows, *shape]."""
    joint = torch.rand(num_processes() * num_rows, *shape, generator=generator, device=device)
    return own_rows(joint)


def normal_like(rows: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """This process's rows of a joint draw from N(0, 1), in the shape and type of `rows`."""
    joint = rows.new_empty(num_processes() * len(rows), *rows.shape[1:])
    return own_rows(joint.normal_(generator=generator))


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        shape = (distributed.get_world_size() * len(rows), *rows.shape[1:])
        joint = rows.new_empty(shape)
        distributed.all_gather_into_tensor(joint, rows.contiguous())
        return joint

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(gradient)
        return own_rows(gradient)


def _is_distributed() -> bool:
    return (
        distributed.is_available()
        and distributed.is_initialized()
        and distributed.get_world_size() > 1
    )
