"""The splits of a data set, from which whole batches are fetched at once."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import Dataset, DistributedSampler

from dim_lightning.data.cache import Cached
from dim_lightning.data.joint_order import JointOrder, Sampling


class Batch(NamedTuple):
    """n images and what is known of them.

    Attributes:
        images: from a loader uint8 [n, 3, h, w]; in the model's hands float32 in [0, 1], and
            augmented when training. Always in the channels_last memory format.
        labels: class of each image, int64 [n]; -1 where unlabelled.
        indices: position of each image in its split, int64 [n].
        more_views: further views of the same images, each float [n, 3, h_v, w_v] in [0, 1] and
            channels_last; only in training, and only where the data module is asked for them.
        small_views: those of `more_views`, the last ones, that are small, whatever their size.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor
    more_views: tuple[Tensor, ...] = ()
    small_views: tuple[Tensor, ...] = ()  # a number would make Lightning doubt a batch's size


class Split(Dataset[Batch], ABC):
    """The images of one split, wherever they lie.

    Attributes:
        labels: class of each image of the split, int64 [n]; -1 where unlabelled.
        split_names: the split that each image is of, 'train', 'val' or 'test', [n]; None where not
            kept.
        source_rows: position of each image in its part of the source, int64 [n]; None where not
            kept.
    """

    labels: np.ndarray
    split_names: np.ndarray | None = None
    source_rows: np.ndarray | None = None

    @property
    @abstractmethod
    def names(self) -> list[str] | None:
        """Path of the file of each image, None where the images were no files."""

    @abstractmethod
    def __len__(self) -> int:
        """How many images there are."""

    def pictures(
        self, indices: Sequence[int] | np.ndarray | Tensor
    ) -> UInt8[Tensor, "n 3 height width"]:
        """The images at these positions of the split, channels_last."""
        return self.__getitems__(torch.as_tensor(indices).tolist()).images

    def chosen(self, count: int, seed: int, among: np.ndarray | None = None) -> list[int]:
        """The positions of `count` of the images, in order; a random choice for `seed`.

        Args:
            count: how many, at most as many as there are.
            seed: of the choice.
            among: positions to choose from; all if None.
        """
        given = len(self) if among is None else among
        order = np.random.default_rng((seed, count)).permutation(given)
        return np.sort(order[:count]).tolist()

    def shuffled(self, sampling: Sampling, seed: int) -> DistributedSampler[Any]:
        """The order of training: one process's share, drawn from (seed, epoch) alone.

        Args:
            sampling: which process it is of, and where it begins; all get equally many images.
            seed: of the order.
        """
        return JointOrder(self, sampling, seed)

    def close(self) -> None:
        """Ends what goes on in the background to have later batches sooner, if anything does."""

    @abstractmethod
    def __getitems__(self, indices: list[int]) -> Batch:
        """A whole batch: what a DataLoader asks for where a data set has this method."""

    def __getitem__(self, index: int) -> Batch:
        """The image at one position, as a batch of one."""
        return self.__getitems__([index])


class ImageSplit(Split):
    """Chosen rows of a memory-mapped array.

    Attributes:
        part: path of the array, without the ".npy".
        rows: the rows of `images` that belong to this split, int64 [n].
        labels: class of each image of the split, int64 [n]; -1 where unlabelled.
        split_names: the split that each image is of, [n], where several are joined.
    """

    def __init__(
        self,
        part: Path,
        rows: np.ndarray,
        labels: np.ndarray,
        split_names: np.ndarray | None = None,
    ) -> None:
        """Take some pictures of a part.

        Args:
            part: path of its array uint8 [N, h, w, 3] in numpy's format, without the ".npy".
            rows: int64 [n], rows of that array.
            labels: int64 [N], the class of every row of that array.
            split_names: [n], the split that each of them is of, if several are joined here.
        """
        self.part = part
        self.rows = rows
        self.labels = labels[rows]
        self.split_names = split_names

    @classmethod
    def of_part(
        cls, cached: Cached, name: str, rows: np.ndarray, split_names: np.ndarray | None = None
    ) -> "ImageSplit":
        """The given rows of a part of a cache."""
        return cls(cached.folder / name, rows, cached.labels_of(name), split_names)

    @property
    def names(self) -> list[str] | None:
        """Path of the file of each image, None where the images were no files."""
        file = self.part.with_name(f"{self.part.name}_names.json")
        if not file.exists():
            return None
        names = json.loads(file.read_text("utf-8"))
        return [names[row] for row in self.rows]

    @cached_property
    def images(self) -> np.ndarray:
        """Every image of the file, uint8 [N, h, w, 3], mapped into memory and not read."""
        return np.load(self.part.with_name(f"{self.part.name}.npy"), mmap_mode="r")

    def __getstate__(self) -> dict[str, Any]:
        """Without the map: it would be sent to another process as a copy of all its pixels."""
        return {name: value for name, value in vars(self).items() if name != "images"}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, indices: list[int]) -> Batch:
        """A whole batch, of rows that are copied at once."""
        positions = np.asarray(indices, np.int64)
        pixels = self.images[self.rows[positions]]
        return Batch(
            images=torch.from_numpy(pixels).permute(0, 3, 1, 2),
            labels=torch.from_numpy(self.labels[positions]),
            indices=torch.from_numpy(positions),
        )


class JoinedSplit(Split):
    """The images of several arrays, one array after the other.

    Attributes:
        splits: of these arrays.
        labels: class of each image, int64 [n]; -1 where unlabelled.
        split_names: the split that each image is of, [n]; None where an array does not keep it.
    """

    def __init__(self, splits: Sequence[ImageSplit]) -> None:
        """Join them; their images are of one size."""
        self.splits = list(splits)
        self.labels = np.concatenate([split.labels for split in splits])
        self._ends = np.cumsum([len(split) for split in splits])
        names = [each for split in splits if (each := split.split_names) is not None]
        self.split_names = np.concatenate(names) if len(names) == len(splits) else None

    @property
    def names(self) -> list[str] | None:
        """Path of the file of each image, None where the images were no files."""
        names = [each for split in self.splits if (each := split.names) is not None]
        return [name for each in names for name in each] if len(names) == len(self.splits) else None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, indices: list[int]) -> Batch:
        """A whole batch; the rows of each array are copied at once."""
        positions = np.asarray(indices, np.int64)
        pixels = np.empty((len(positions), *self.splits[0].images.shape[1:]), np.uint8)
        numbers = np.searchsorted(self._ends, positions, side="right")
        for number in np.unique(numbers).tolist():
            here, split = np.flatnonzero(numbers == number), self.splits[number]
            start = self._ends[number] - len(split)
            pixels[here] = split.images[split.rows[positions[here] - start]]
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        labels = torch.from_numpy(self.labels[positions])
        return Batch(images, labels, torch.from_numpy(positions))
