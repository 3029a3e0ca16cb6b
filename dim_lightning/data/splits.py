"""Which pictures train, validate and test."""

from typing import NamedTuple

import numpy as np

from dim_lightning.data.batch import ImageSplit, Split
from dim_lightning.data.cache import Cached
from dim_lightning.errors import InputError


class Shares(NamedTuple):
    """How a training part is shared out.

    Attributes:
        validation_fraction: share of the training images that validation takes.
        test_fraction: share set aside for testing where the source has no test part.
        split_seed: chooses these shares.
    """

    validation_fraction: float
    test_fraction: float
    split_seed: int

    def rows(self, count: int, own_test: bool) -> dict[str, np.ndarray]:
        """The rows of a training part of `count` pictures that train, validate and test, sorted.

        Args:
            count: pictures of the part.
            own_test: whether the source has a test part, so that no rows of this one are taken.
        """
        order = np.random.default_rng(self.split_seed).permutation(count)
        num_test = 0 if own_test else round(self.test_fraction * count)
        num_val = round(self.validation_fraction * (count - num_test))
        tested, validated, trained = np.split(order, [num_test, num_test + num_val])
        return {"train": np.sort(trained), "val": np.sort(validated), "test": np.sort(tested)}


class Splits(NamedTuple):
    """The splits of a data set.

    Attributes:
        train: to train on.
        val: to choose by.
        test: to quote.
        predicted: the test part of the source; all pictures where it has none of its own.
        class_names: name of each class, None where the pictures are unlabelled.
    """

    train: Split
    val: Split
    test: Split
    predicted: Split
    class_names: list[str] | None


def mapped_splits(cached: Cached, shares: Shares) -> Splits:
    """The splits of a data set that lies decoded on the disk.

    Raises:
        InputError: there are too few images.
    """
    own_test = "test" in cached.parts
    rows = shares.rows(cached.parts["train"], own_test)
    splits = {name: ImageSplit.of_part(cached, "train", chosen) for name, chosen in rows.items()}
    if own_test:
        splits["test"] = ImageSplit.of_part(cached, "test")
    check_sizes(cached.parts["train"], {name: len(split) for name, split in splits.items()})
    predicted = splits["test"] if own_test else ImageSplit.of_part(cached, "train")
    return Splits(**splits, predicted=predicted, class_names=cached.class_names)


def check_sizes(count: int, sizes: dict[str, int]) -> None:
    """Look at how many images each split has.

    Args:
        count: pictures of the training part.
        sizes: images of each split.

    Raises:
        InputError: there are too few images.
    """
    for name, size in sizes.items():
        if size < 2:
            raise InputError(
                f"{count} training pictures leave {size} for the split {name}; expected "
                "at least 2; add pictures, or raise data.validation_fraction or "
                "data.test_fraction"
            )
