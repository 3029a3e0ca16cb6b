"""Which pictures train, validate and test."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal, NamedTuple

import numpy as np

from dim_lightning.data.batch import ImageSplit, JoinedSplit, Split
from dim_lightning.data.cache import Cached
from dim_lightning.data.contents import Contents, cached_contents
from dim_lightning.errors import InputError

_MORE = {  # what gives a split more images
    "train": "lower data.validation_fraction and data.test_fraction",
    "val": "raise data.validation_fraction or lower data.test_fraction",
    "test": "raise data.test_fraction",
}

SplitName = Literal["train", "val", "test"]
Predicted = Literal["train", "test", "all"]
PREDICTED: dict[Predicted, tuple[str, ...]] = {  # the splits whose images `predict` takes
    "train": ("train", "val"),
    "test": ("test",),
    "all": ("train", "val", "test"),
}


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

    def rows(self, count: int, own_test: int | None) -> dict[str, np.ndarray]:
        """The rows of the training part that train and validate, and those that test.

        Those that train are sorted, as an epoch draws its own order. The others come as drawn:
        pictures often lie one class after the other, and the negatives of a batch of one class are
        not those of training.

        Args:
            count: pictures of the training part.
            own_test: pictures of the source's test part, all of which test; None if it has none,
                so that rows of the training part do.
        """
        order = np.random.default_rng(self.split_seed).permutation(count)
        num_test = 0 if own_test is not None else round(self.test_fraction * count)
        num_val = round(self.validation_fraction * (count - num_test))
        tested, validated, trained = np.split(order, [num_test, num_test + num_val])
        if own_test is not None:
            tested = np.random.default_rng((self.split_seed, own_test)).permutation(own_test)
        return {"train": np.sort(trained), "val": validated, "test": tested}


class Splits(NamedTuple):
    """The splits of a data set.

    Attributes:
        train: to train on.
        val: to choose by.
        test: to quote.
        own_test: whether the source has a test part of its own.
        joined: gives the images of some of these splits, by name, in the order of the source, or
            of the shards.
        class_names: name of each class, None where the pictures are unlabelled.
        origin: where the data set was found, for people to read.
        contents: tells which pictures the data set consists of.
    """

    train: Split
    val: Split
    test: Split
    own_test: bool
    joined: Callable[[Sequence[str]], Split]
    class_names: list[str] | None
    origin: str
    contents: Callable[[], Contents]


def mapped_splits(cached: Cached, shares: Shares) -> Splits:
    """The splits of a data set that lies decoded on the disk."""
    test_part = "test" if "test" in cached.parts else "train"
    parts = {"train": "train", "val": "train", "test": test_part}
    rows = shares.rows(cached.parts["train"], cached.parts.get("test"))
    splits = {name: ImageSplit.of_part(cached, parts[name], rows[name]) for name in parts}
    return Splits(
        **splits,
        own_test="test" in cached.parts,
        joined=partial(_joined, cached, parts, rows),
        class_names=cached.class_names,
        origin=cached.origin,
        contents=partial(cached_contents, cached),
    )


def _joined(
    cached: Cached,
    parts: Mapping[str, str],
    rows: Mapping[str, np.ndarray],
    names: Sequence[str],
) -> Split:
    """The images of some splits, in the order of the source, its training part first.

    Args:
        cached: the data set.
        parts: split -> the part that its images are of.
        rows: split -> their rows in it.
        names: of the splits.
    """
    joined = []
    for part in cached.parts:
        here = [name for name in names if parts[name] == part]
        if here:
            found = np.concatenate([rows[name] for name in here])
            splits = np.repeat(here, [len(rows[name]) for name in here])
            order = np.argsort(found)
            joined.append(ImageSplit.of_part(cached, part, found[order], splits[order]))
    return joined[0] if len(joined) == 1 else JoinedSplit(joined)


def check_labels(class_names: list[str] | None, labels: Mapping[str, np.ndarray]) -> None:
    """Look at whether there is something to measure by: of the pictures, few may have labels.

    Args:
        class_names: name of each class, None where the pictures are unlabelled.
        labels: of each split, int64 [n], -1 where there is none.

    Raises:
        InputError: a split has none.
    """
    for name, known in labels.items():
        if class_names is not None and not (known >= 0).any():
            raise InputError(
                f"none of the {len(known):,} pictures of the split {name} has a label; expected "
                "some in each split; label more, or all of a folder test/"
            )


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
                f"{count} training picture{'s' * (count != 1)} leave{'s' * (count == 1)} {size} "
                f"for the split {name}; expected at least 2; add pictures, or {_MORE[name]}"
            )
