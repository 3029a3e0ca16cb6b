"""What a source of pictures gives: where they lie, what they are, nothing decoded yet."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Part(NamedTuple):
    """The training or the test part of a data set.

    Attributes:
        pictures: paths of picture files, or pixels uint8 [h, w, 3] or [h, w]; an array [n, h, w, 3]
            will do.
        labels: class of each picture, int64 [n] (a list will do); -1 where unlabelled.
    """

    pictures: Sequence[str] | Sequence[Path] | Sequence[np.ndarray] | np.ndarray
    labels: np.ndarray

    @property
    def named(self) -> bool:
        """Whether the pictures are files, and not pixels."""
        return len(self.pictures) > 0 and isinstance(self.pictures[0], str)


class Parts(NamedTuple):
    """A whole data set.

    Attributes:
        train: the training part.
        test: the test part, None where the data set has none of its own.
        class_names: name of each class, None where unlabelled.
    """

    train: Part
    test: Part | None
    class_names: list[str] | None

    @property
    def given(self) -> dict[str, Part]:
        """Those that there are, by name."""
        return {"train": self.train} | ({"test": self.test} if self.test is not None else {})


class Found(NamedTuple):
    """A data set that was found.

    Attributes:
        name: short and fit for a file's name, e.g. "cifar10".
        origin: where it was found, for people to read.
        fingerprint: everything that the pictures and labels depend on. If it is the same, so are
            they; it is made without opening a picture.
        read: gives the data set, its pictures not yet decoded.
        passed_by: gives what lies there and is not taken, for people to read; "" if nothing.
        contents: hash of the pictures, if neither names nor labels tell them from others.
        labels: everything that the labels of these files depend on, if other labels are to come:
            then they are no part of the fingerprint, nor of what is cached.
    """

    name: str
    origin: str
    fingerprint: Sequence[object]
    read: Callable[[], Parts]
    passed_by: Callable[[], str] = lambda: ""
    contents: str | None = None
    labels: Sequence[object] | None = None


class Source(ABC):
    """A data set of pictures."""

    @abstractmethod
    def find(self, root: Path) -> Found:
        """Find the data set, or download it.

        Args:
            root: folder in which data sets lie, and into which they are downloaded.

        Raises:
            InputError: it is neither there nor can it be had, or it is not laid out as expected.
        """
