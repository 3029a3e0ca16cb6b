"""One split of a data set in shards."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Int64

from dim_lightning.data.batch import Batch, Split
from dim_lightning.data.joint_order import Sampling
from dim_lightning.data.shards.layout import Layout, Shard
from dim_lightning.data.shards.order import ShardOrder
from dim_lightning.data.shards.reader import ShardReader
from dim_lightning.data.shards.store import Store

_IN_ORDER = 2  # shards in memory where images are read in order: a batch goes on in the next one


class ShardedSplit(Split):
    """The images of some shards, in their order.

    Attributes:
        reader: of the shards.
    """

    def __init__(
        self, store: Store, layout: Layout, shards: Sequence[Shard], window_bytes: int
    ) -> None:
        """Take some shards; nothing is read yet.

        Args:
            store: where they lie.
            layout: the data set.
            shards: which of its shards.
            window_bytes: pixels that are mixed with one another in training; twice as many are in
                memory then.
        """
        self._named = layout.named
        of = {shard: name for name, each in layout.shards.items() for shard in each}
        self._shards = [(of[shard], shard.rows) for shard in shards]
        # The others lie in the order of the source, which may be that of the classes.
        self._is_shuffled = set(shards) <= set(layout.shards["train"])
        self._ends = np.cumsum([shard.rows for shard in shards], dtype=np.int64)
        largest = max(shard.rows for shard in shards)
        self._window = max(1, window_bytes // (largest * 3 * layout.image_size**2))
        self.reader = ShardReader(store, shards, layout.image_size, _IN_ORDER)

    @property
    def split_names(self) -> np.ndarray:  # type: ignore[override]
        """The split that each image is of."""
        names, rows = zip(*self._shards, strict=True)
        return np.repeat(names, rows)

    @property
    def names(self) -> list[str] | None:
        """Path of the file of each image, None where the images were no files."""
        return self._origins["path"].to_pylist() if self._named else None

    @property
    def source_rows(self) -> Int64[np.ndarray, " n"]:  # type: ignore[override]
        """Position of each image in its part of the source."""
        return self._origins["row"].to_numpy()

    @cached_property
    def _origins(self) -> pa.Table:
        return self.reader.columns("path", "row")  # at once: each may be fetched whole for them

    @cached_property
    def labels(self) -> Int64[np.ndarray, " n"]:  # type: ignore[override]
        """Class of each image of the split; -1 where unlabelled."""
        return self.reader.columns("label")["label"].to_numpy().copy()  # which can be written

    def __len__(self) -> int:
        return int(self._ends[-1])

    def ranges(self) -> list[range]:
        """The positions of the images of each shard."""
        starts = [0, *self._ends.tolist()]
        return [range(a, b) for a, b in pairwise(starts)]

    def expect(self, pieces: Iterable[range]) -> None:
        """Begin to read the shards of these positions."""
        self.reader.expect(self._shards_of([piece.start for piece in pieces]).tolist())

    def close(self) -> None:
        """Read no more ahead."""
        self.reader.close()

    def chosen(self, count: int, seed: int, among: np.ndarray | None = None) -> list[int]:
        """The first training images, in few shards: they were shuffled when written; else any."""
        if not self._is_shuffled:
            return super().chosen(count, seed, among)
        return list(range(count)) if among is None else np.sort(among)[:count].tolist()

    def shuffled(self, sampling: Sampling, seed: int) -> ShardOrder:
        """Shard by shard, mixed within windows of shards, each at least of a batch."""
        window = max(self._window, -(-sampling.batch_size // max(map(len, self.ranges()))))
        # Those of a window, of the next one, and a shard that a batch between them still needs.
        self.reader.capacity = 2 * window + 1
        return ShardOrder(self, sampling, seed, window=window)

    def __getitems__(self, indices: list[int]) -> Batch:
        """A whole batch; each shard is looked at once."""
        positions = np.asarray(indices, np.int64)
        size = self.reader.size
        pixels = np.empty((len(positions), size, size, 3), np.uint8)
        labels = np.empty(len(positions), np.int64)
        shards = self._shards_of(positions)
        starts = self._ends - [shard.rows for shard in self.reader.shards]
        for number in np.unique(shards).tolist():
            here = np.flatnonzero(shards == number)
            found = self.reader.get(number)
            rows = positions[here] - starts[number]
            pixels[here], labels[here] = found.pixels[rows], found.labels[rows]
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        return Batch(images, torch.from_numpy(labels), torch.from_numpy(positions))

    def _shards_of(self, positions: Sequence[int] | np.ndarray) -> np.ndarray:
        """The number of the shard of each position."""
        return np.searchsorted(self._ends, positions, side="right")
