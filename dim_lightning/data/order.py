"""The order in which an epoch meets the training images."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from torch.utils.data import DistributedSampler


class EpochOrder(DistributedSampler[Any]):
    """This process's share of the images, in an order that (seed, epoch) alone decides.

    Also on one process: Lightning, which tells it the epoch, puts no sampler of its own in its
    place. An epoch that a run goes on with begins where it was left; what was done is skipped
    without being fetched. Workers fetch before Lightning tells the epoch, so it is known from the
    start.

    Args:
        images: the data set.
        processes: how many share it; what is left over in the end is dropped.
        rank: which of them this is.
        seed: of the order.
        epoch: the one that comes first.
        num_done: of its images, how many this process has met before.
    """

    def __init__(
        self, images: Any, processes: int, rank: int, seed: int, epoch: int = 0, num_done: int = 0
    ) -> None:
        super().__init__(images, processes, rank, shuffle=True, seed=seed, drop_last=True)
        self._resumed_epoch, self._num_done = epoch, num_done
        self.set_epoch(epoch)

    def __iter__(self) -> Iterator[Any]:
        skipped = self._num_done if self.epoch == self._resumed_epoch else 0
        return islice(super().__iter__(), skipped, None)
