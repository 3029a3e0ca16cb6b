"""Images that a script holds in memory."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dim_lightning.data.sources.checked import check_class_names, checked_part, highest_class
from dim_lightning.data.sources.source import Found, Part, Parts, Source
from dim_lightning.errors import InputError


class Arrays(Source):
    """Images in memory, such as those of another library's data set: for scripts.

    They are known by their content, of which a hash is taken when they are looked for.

    Args:
        images: training images uint8 [n, h, w, 3], RGB, or [n, h, w], gray.
        labels: class of each, [n], from 0 on, -1 where unlabelled; all unlabelled if None.
        test_images: test images, as `images`; if None a share of the training images is set aside.
        test_labels: class of each of these.
        class_names: name of each class; the numbers if None.

    Raises:
        InputError: another type or shape, labels that are not one an image, or classes without
            names.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray | Sequence[int] | None = None,
        test_images: np.ndarray | None = None,
        test_labels: np.ndarray | Sequence[int] | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        said = "Arrays was given"
        train = checked_part(_part("images", images, labels), said)
        test = None
        if test_images is not None:
            test = _part("test_images", test_images, test_labels)
            test = checked_part(test, said, "test_")
        elif test_labels is not None:
            raise InputError("Arrays was given test_labels without test_images; give both")
        self.parts = Parts(train, test, _names(highest_class(train, test), class_names))
        check_class_names(self.parts, said)

    def find(self, root: Path) -> Found:
        """Always found, wherever `root` is."""
        parts = [part for part in (self.parts.train, self.parts.test) if part is not None]
        hashes = [_hash(np.asarray(array)) for part in parts for array in part]
        fingerprint = [*hashes, self.parts.class_names]
        known_by = hashlib.sha256(repr(fingerprint).encode()).hexdigest()[:16]
        return Found(
            "arrays", "arrays in memory", fingerprint, lambda: self.parts, contents=known_by
        )


def _part(name: str, images: np.ndarray, labels: object) -> Part:
    """The images, looked at, with their labels as they were given."""
    images = np.asarray(images)
    right = images.ndim == 3 or (images.ndim == 4 and images.shape[3] == 3)
    if images.dtype != np.uint8 or not right:
        raise InputError(
            f"Arrays was given {name} {images.dtype} {list(images.shape)}; expected uint8 "
            "[n, h, w, 3], RGB, or [n, h, w], gray, values from 0 to 255"
        )
    return Part(images, np.full(len(images), -1) if labels is None else np.asarray(labels))


def _names(highest: int, names: Sequence[str] | None) -> list[str] | None:
    """Name of each class; None where no image has one."""
    if highest < 0:
        return None
    return [str(each) for each in (range(highest + 1) if names is None else names)]


def _hash(array: np.ndarray) -> str:
    return f"{array.shape} {hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()}"
