"""What a source gives, looked at before anything is made of it."""

import os
from typing import Any

import numpy as np

from dim_lightning.data.sources.source import Found, Part, Parts
from dim_lightning.errors import InputError


def read_parts(found: Found) -> Parts:
    """The data set that was found, with labels as int64 [n] and paths of files as text.

    A source may give lists of labels and `Path` objects.

    Raises:
        InputError: see `checked_part` and `check_class_names`.
    """
    parts, said = found.read(), f"the source {found.name} gives"
    train = checked_part(parts.train, said)
    test = None if parts.test is None else checked_part(parts.test, said, "test_")
    read = Parts(train, test, parts.class_names)
    check_class_names(read, said)
    return read


def checked_part(part: Part, said: str, prefix: str = "") -> Part:
    """A part with labels as int64 [n] and paths of files as text.

    Args:
        part: as it was given.
        said: by whom, e.g. "the source cifar10 gives"; begins a message.
        prefix: of the names "pictures" and "labels" in it.

    Raises:
        InputError: the pictures are no sequence, or the labels not a whole number a picture.
    """
    pictures: Any = part.pictures
    if not (hasattr(pictures, "__len__") and hasattr(pictures, "__getitem__")):
        raise InputError(
            f"{said} {prefix}pictures as a {type(pictures).__name__}; expected a list of paths or "
            "of pixels, or an array"
        )
    is_file = isinstance(next(iter(pictures), None), str | os.PathLike)
    if is_file and any(isinstance(picture, os.PathLike) for picture in pictures):
        pictures = [os.fspath(picture) for picture in pictures]
    return Part(pictures, _labels(part.labels, len(pictures), f"{said} {prefix}labels"))


def highest_class(train: Part, test: Part | None) -> int:
    """The largest label of all, -1 where no picture has one."""
    parts = [train] if test is None else [train, test]
    return max(int(part.labels.max(initial=-1)) for part in parts)


def check_class_names(parts: Parts, said: str) -> None:
    """Look at whether each class has a name.

    Args:
        parts: the data set.
        said: as for `checked_part`.

    Raises:
        InputError: one has none.
    """
    count, highest = len(parts.class_names or ()), highest_class(parts.train, parts.test)
    if count <= highest:
        raise InputError(
            f"{said} {count} class_names and the class {highest}; expected a name for each class "
            f"from 0 to {highest}"
        )


def _labels(given: object, count: int, said: str) -> np.ndarray:
    labels = np.asarray(given)
    is_whole = labels.shape == (count,) and labels.dtype.kind in "iu"
    if not is_whole or labels.min(initial=0) < -1:
        raise InputError(
            f"{said} {labels.dtype} {list(labels.shape)} of {count} images; expected a whole "
            "number an image, -1 where unlabelled"
        )
    return labels.astype(np.int64)
