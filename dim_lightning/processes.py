"""One batch over several processes: what each of them draws, gathers and owns.

The images of all processes form one joint batch, in the order of the ranks. Whatever is random is
drawn for the joint batch by every process alike, and each takes its own rows: so the loss of
several processes is that of one process with the joint batch. On one process all this is nothing.

Bytes are sent where nothing smaller would do: n rows to all others (`gather`), to the owner of a
row what was computed for it elsewhere (`to_owners`), sums (`total`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, distributed

_alone = False
_row_counts: ContextVar[list[int] | None] = ContextVar("row_counts", default=None)


def num_processes() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if _is_distributed() else 1


@contextmanager
def uneven_rows(num_rows: int) -> Iterator[None]:
    """Within, a joint batch has as many rows of each process as that one says, here `num_rows`.

    Elsewhere each has as many as the others, as when training. The last joint batch of an
    evaluation may not be divisible; the numbers are exchanged once, on entering.
    """
    if not _is_distributed():
        yield
        return
    counts: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(counts, num_rows)
    token = _row_counts.set(counts)
    try:
        yield
    finally:
        _row_counts.reset(token)


@contextmanager
def alone() -> Iterator[None]:
    """Within, this process draws and gathers as if it were the only one.

    For what all of them do alike, with the same images.
    """
    global _alone  # no ContextVar: it is asked for in compiled code
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


def joint_size(num_rows: int) -> int:
    """How many rows the joint batch has of which this process has `num_rows`."""
    return sum(_counts(num_rows))


def own_rows(joint: Tensor, dim: int = 0) -> Tensor:
    """The rows of a joint batch that belong to this process, [n, ...]; rows lie along `dim`."""
    if not _is_distributed():
        return joint
    counts = _row_counts.get()
    if counts is None:
        return joint.tensor_split(distributed.get_world_size(), dim)[distributed.get_rank()]
    return joint.split(counts, dim)[distributed.get_rank()]


def first_own_row(num_rows: int) -> int:
    """Where this process's `num_rows` rows begin in the joint batch."""
    return sum(_counts(num_rows)[: distributed.get_rank()]) if _is_distributed() else 0


def gather(rows: Tensor) -> Tensor:
    """The rows of all processes in the order of their ranks, [N, ...].

    The gradient is exact: what any process's loss owes to these rows flows back to the process
    that owns them. As data-parallel training averages the gradients of the processes' losses, a
    loss that is a mean over the joint batch keeps its gradient.
    """
    return _Gather.apply(rows, _counts(len(rows))) if _is_distributed() else rows


def of_each(value: Tensor) -> Tensor:
    """The values of all processes in the order of their ranks, [num_processes, ...]; as `gather`.

    Args:
        value: of the same shape on each.
    """
    if not _is_distributed():
        return value[None]
    return _Gather.apply(value[None], [1] * distributed.get_world_size())


def to_owners(joint: Tensor) -> Tensor:
    """What each process has for the rows of this one, [num_processes, n, ...], with its gradient.

    Args:
        joint: what this process has for every row of the joint batch, [N, ...].
    """
    if not _is_distributed():
        return joint[None]
    return _ToOwners.apply(joint, _row_counts.get() or _even(len(joint)))


def total(values: Tensor) -> Tensor:
    """The sum of `values` over all processes, equal on each, with its exact gradient."""
    return _Total.apply(values) if _is_distributed() else values


def joint_terms(terms: Mapping[str, Tensor], num_rows: int) -> dict[str, Tensor]:
    """Scalars of each process's `num_rows` rows, as means over the joint batch, without gradient.

    All in one exchange.
    """
    own = {name: term.detach() for name, term in terms.items()}
    if not _is_distributed():
        return own
    joint = total(torch.stack([*own.values()]) * num_rows) / joint_size(num_rows)
    return dict(zip(own, joint, strict=True))


def take_from_first(tensors: Iterable[Tensor]) -> None:
    """Gives the tensors of every process the values of the first one's."""
    if _is_distributed():
        for tensor in tensors:
            distributed.broadcast(tensor, src=0)


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


def uniform(num_rows: int, *shape: int, generator: torch.Generator) -> Tensor:
    """This process's rows of a joint draw from [0, 1), float32 [num_rows, *shape].

    They are on the device of the generator, which is equal on every process.
    """
    size = joint_size(num_rows), *shape
    joint = torch.rand(size, generator=generator, device=generator.device)
    return own_rows(joint)


def normal_like(rows: Tensor, generator: torch.Generator) -> Tensor:
    """This process's rows of a joint draw from N(0, 1), in the shape and type of `rows`."""
    joint = rows.new_empty(joint_size(len(rows)), *rows.shape[1:])
    return own_rows(joint.normal_(generator=generator))


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: list[int]) -> Tensor:
        ctx.counts = counts
        return _all_gathered(rows, counts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _exchanged(gradient, ctx.counts).sum(dim=0), None


class _ToOwners(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, joint: Tensor, counts: list[int]) -> Tensor:
        ctx.counts = counts
        return _exchanged(joint, counts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        shares = gradient.flatten(0, 1).contiguous()
        joint = shares.new_empty((sum(ctx.counts), *shares.shape[1:]))
        own = [gradient.shape[1]] * len(ctx.counts)
        distributed.all_to_all_single(joint, shares, ctx.counts, own)
        return joint, None


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return _sum(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _sum(gradient)


def _all_gathered(rows: Tensor, counts: Sequence[int]) -> Tensor:
    """The rows of all processes; sent as if each had as many as the one that has most."""
    most = max(counts)
    missing = rows.new_zeros((most - len(rows), *rows.shape[1:]))
    sent = torch.cat([rows, missing]) if len(missing) else rows.contiguous()
    joint = rows.new_empty((len(counts) * most, *rows.shape[1:]))
    # the name of before PyTorch 2.14, where this one is missing
    name = "all_gather_single"
    name = name if hasattr(distributed, name) else "all_gather_into_tensor"
    getattr(distributed, name)(joint, sent)
    if min(counts) == most:
        return joint
    return torch.cat([part[:n] for part, n in zip(joint.split(most), counts, strict=True)])


def _exchanged(joint: Tensor, counts: list[int]) -> Tensor:
    """The rows of this process from each process's `joint`, [num_processes, n, ...]."""
    own = counts[distributed.get_rank()]
    shares = joint.new_empty((len(counts) * own, *joint.shape[1:]))
    distributed.all_to_all_single(shares, joint.contiguous(), [own] * len(counts), counts)
    return shares.unflatten(0, (len(counts), own))


def _sum(values: Tensor) -> Tensor:
    values = values.clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(values)
    return values


def _counts(num_rows: int) -> list[int]:
    """How many rows each process has, if this one has `num_rows`."""
    counts = _row_counts.get() if _is_distributed() else None
    return counts or [num_rows] * num_processes()


def _even(joint_rows: int) -> list[int]:
    return [joint_rows // num_processes()] * num_processes()


def _is_distributed() -> bool:
    return (
        not _alone
        and distributed.is_available()
        and distributed.is_initialized()
        and distributed.get_world_size() > 1
    )
