"""The order in which a stream is trained on."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor
from torch.utils.data import DistributedSampler

from dim_lightning.data.joint_order import Sampling
from dim_lightning.seeding import Draws, generator_for


class ShardOrder(DistributedSampler[Any]):
    """Positions of training images, shard by shard and mixed within a window of shards.

    The shards are shuffled for each epoch and laid end to end; each process has a stretch of them,
    all of the same length, so that only a shard on a border is read by two. It goes through its
    stretch in windows of a few shards, whose images it shuffles. All is drawn from (seed, epoch)
    and the number of processes, so that any batch of an epoch is known without those before it.
    """

    def __init__(self, split: Any, sampling: Sampling, seed: int, window: int) -> None:
        """Say whose order it is, and where it begins.

        Args:
            split: the training images, a ShardedSplit.
            sampling: which process it is of, and where it begins; what is left over when all
                processes have equally many images is dropped.
            seed: of the order.
            window: shards that are mixed with one another.
        """
        processes, rank = sampling.processes, sampling.rank
        # Also on one process: Lightning, which tells it the epoch, puts no other in its place.
        super().__init__(split, processes, rank, shuffle=True, seed=seed, drop_last=True)
        self.split = split
        self.sampling = sampling
        self.window = window
        self.set_epoch(sampling.epoch)

    def __iter__(self) -> Iterator[int]:
        """The positions of this process, in order; shards are read ahead on the way."""
        left = self.sampling.num_done if self.epoch == self.sampling.epoch else 0
        windows = [*self.windows(), []]
        for number, (pieces, following) in enumerate(pairwise(windows)):
            rows = sum(map(len, pieces))
            if left >= rows:
                left -= rows
                continue
            self.split.expect(pieces)
            mixed = self._mixed(number, pieces)[left:].tolist()
            left = 0
            # A first batch may still need the window before: the next one is read after it.
            yield from mixed[: self.sampling.batch_size]
            self.split.expect([*pieces, *following])
            yield from mixed[self.sampling.batch_size :]

    def windows(self) -> list[list[range]]:
        """The stretch of this process: positions of a shard or of a part of it, by window."""
        ranges = self.split.ranges()
        generator = generator_for(self.seed, Draws.SHARD_ORDER, self.epoch, 0)
        first, begin, pieces = self.rank * self.num_samples, 0, []
        for shard in torch.randperm(len(ranges), generator=generator).tolist():
            rows = ranges[shard]
            piece = rows[max(0, first - begin) : max(0, first + self.num_samples - begin)]
            begin += len(rows)
            if piece:
                pieces.append(piece)
        return [pieces[i : i + self.window] for i in range(0, len(pieces), self.window)]

    def _mixed(self, number: int, pieces: list[range]) -> Int64[Tensor, " n"]:
        """The positions of a window in a random order."""
        positions = torch.cat([torch.arange(piece.start, piece.stop) for piece in pieces])
        generator = generator_for(self.seed, Draws.SHARD_ORDER, self.epoch, 1 + number, self.rank)
        return positions[torch.randperm(len(positions), generator=generator)]
