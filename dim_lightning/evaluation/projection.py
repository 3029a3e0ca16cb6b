"""Two coordinates of a code, to be looked at."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Projection(NamedTuple):
    """Onto the directions in which vectors vary most.

    Attributes:
        mean: of the vectors, float64 [d].
        axes: orthonormal, the one of most variance first, float64 [d, 2]; zeros where d is 1.
    """

    mean: Float[np.ndarray, " d"]
    axes: Float[np.ndarray, "d 2"]

    def of(self, vectors: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n 2"]:
        """The coordinates of some vectors."""
        return ((vectors - self.mean) @ self.axes).astype(np.float32)


def principal_projection(parts: Iterable[Float[np.ndarray, "_ d"]]) -> Projection:
    """The first two principal components, from one pass over the vectors.

    Only the sums of x and of x x' are in memory. Of the two directions of an axis that one is taken
    in which its largest entry is positive.

    Source: Pearson, 1901.

    Args:
        parts: the vectors, some at a time; at least one.
    """
    count, first, second = 0, np.zeros(()), np.zeros(())
    for part in parts:
        wide = part.astype(np.float64)
        count += len(wide)
        first = first + wide.sum(axis=0)
        second = second + wide.T @ wide
    mean = first / count
    _, vectors = np.linalg.eigh(second / count - np.outer(mean, mean))
    axes = vectors[:, ::-1][:, :2]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0)
    axes = axes * np.where(largest < 0, -1.0, 1.0)
    return Projection(mean, np.pad(axes, ((0, 0), (0, 2 - axes.shape[1]))))
