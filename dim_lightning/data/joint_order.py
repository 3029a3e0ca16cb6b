"""Which images of a split a process takes, and in which order."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import Dataset, DistributedSampler

from dim_lightning.seeding import Draws, generator_for


class JointOrder(DistributedSampler[Any]):
    """The share of one process in an order of all images that all processes know.

    Joint batch s has the images at [s B, (s + 1) B) of that order, where B is the number of
    processes times `batch_size`; the first process has its first rows, and so on. So the images of
    a joint batch and their order in it depend on B alone, not on the number of processes. No image
    is taken twice. It is a DistributedSampler so that Lightning puts none of its own in its place.

    Args:
        images: the split.
        batch_size: images of a batch and process.
        processes: how many there are.
        rank: which of them this is.
        seed: with the epoch it draws the order, and what does not fill a joint batch is left out;
            if None the order is that of the split, and the last joint batch is shared out as
            evenly as can be, more rows to the first processes.
        epoch: the one that comes first.
        num_done: of its images, how many this process has met before; they are left out.
    """

    def __init__(
        self,
        images: Dataset[Any],
        batch_size: int,
        processes: int = 1,
        rank: int = 0,
        seed: int | None = None,
        epoch: int = 0,
        num_done: int = 0,
    ) -> None:
        super().__init__(images, processes, rank, shuffle=seed is not None, seed=seed or 0)
        self.batch_size = batch_size
        self.count = len(images)  # type: ignore[arg-type]
        self.num_samples = len(self._own(torch.arange(self.count)))
        self._resumed_epoch, self._num_done = epoch, num_done
        self.set_epoch(epoch)

    def __iter__(self) -> Iterator[int]:
        """The positions, anew in each epoch if they are drawn."""
        order = torch.arange(self.count)
        if self.shuffle:
            generator = generator_for(self.seed, Draws.ORDER, self.epoch)
            order = torch.randperm(self.count, generator=generator)
        skipped = self._num_done if self.epoch == self._resumed_epoch else 0
        return iter(self._own(order)[skipped:].tolist())

    def _own(self, order: torch.Tensor) -> torch.Tensor:
        full = self.count - self.count % (self.num_replicas * self.batch_size)
        batches = order[:full].view(-1, self.num_replicas, self.batch_size)
        own = batches[:, self.rank].flatten()
        if self.shuffle:
            return own
        return torch.cat([own, order[full:].tensor_split(self.num_replicas)[self.rank]])
