"""Which images of a split a process takes, and in which order."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from lightning import Trainer
from torch import distributed
from torch.utils.data import Dataset, DistributedSampler

from dim_lightning.seeding import Draws, generator_for


class Sampling(NamedTuple):
    """Which of the images a process takes, and where it begins.

    Attributes:
        batch_size: images of a batch of this process.
        processes: how many processes share the images.
        rank: which of them this is.
        epoch: the one that comes first.
        num_done: of its images, how many this process has met before; they are not read.
    """

    batch_size: int
    processes: int = 1
    rank: int = 0
    epoch: int = 0
    num_done: int = 0


def processes_of(trainer: Trainer | None) -> tuple[int, int]:
    """How many processes train together, and which of them this is."""
    if trainer is not None:
        return trainer.world_size, trainer.global_rank
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size(), distributed.get_rank()
    return 1, 0


def training_share(trainer: Trainer | None, batch_size: int) -> Sampling:
    """The share of this process in the epoch in which training begins or goes on."""
    share = Sampling(batch_size, *processes_of(trainer))
    if trainer is None:
        return share
    loop = trainer.fit_loop
    epochs: Any = loop.epoch_progress.current
    is_within = epochs.ready > epochs.processed
    num_batches = loop.epoch_loop.batch_progress.current.ready if is_within else 0
    return share._replace(epoch=trainer.current_epoch, num_done=num_batches * batch_size)


class JointOrder(DistributedSampler[Any]):
    """The share of one process in an order of all images that all processes know.

    Joint batch s has the images at [s B, (s + 1) B) of that order, where B is the number of
    processes times `batch_size`; the first process has its first rows, and so on. So the images of
    a joint batch and their order in it depend on B alone, not on the number of processes. No image
    is taken twice. It is a DistributedSampler so that Lightning puts none of its own in its place.

    Args:
        images: the split.
        sampling: which process it is of, and where it begins.
        seed: with the epoch it draws the order, and what does not fill a joint batch is left out;
            if None the order is that of the split, and the last joint batch is shared out as
            evenly as can be, more rows to the first processes.
    """

    def __init__(self, images: Dataset[Any], sampling: Sampling, seed: int | None = None) -> None:
        processes, rank = sampling.processes, sampling.rank
        super().__init__(images, processes, rank, shuffle=seed is not None, seed=seed or 0)
        self.sampling = sampling
        self.count = len(images)  # type: ignore[arg-type]
        self.num_samples = len(self._own(torch.arange(self.count)))
        self.set_epoch(sampling.epoch)

    def __iter__(self) -> Iterator[int]:
        """The positions, anew in each epoch if they are drawn."""
        order = torch.arange(self.count)
        if self.shuffle:
            generator = generator_for(self.seed, Draws.ORDER, self.epoch)
            order = torch.randperm(self.count, generator=generator)
        skipped = self.sampling.num_done if self.epoch == self.sampling.epoch else 0
        return iter(self._own(order)[skipped:].tolist())

    def _own(self, order: torch.Tensor) -> torch.Tensor:
        batch_size = self.sampling.batch_size
        full = self.count - self.count % (self.num_replicas * batch_size)
        batches = order[:full].view(-1, self.num_replicas, batch_size)
        own = batches[:, self.rank].flatten()
        if self.shuffle:
            return own
        return torch.cat([own, order[full:].tensor_split(self.num_replicas)[self.rank]])
