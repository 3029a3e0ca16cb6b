"""Two coordinates of a code, to be looked at."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

_LARGEST_MOMENT = 4096  # dimensions of which a d x d matrix is decomposed in seconds
_TOLERANCE = 1e-6


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


def principal_projection(
    passes: Callable[[], Iterable[Float[np.ndarray, "_ d"]]],
) -> Projection:
    """The first two principal components.

    Of up to 4,096 dimensions from one pass over the vectors, with the sums of x and of x x' in
    memory. Of more, SciPy's Lanczos method finds them with tens of passes and little memory, as
    exactly as products in float32 allow. Of the two directions of an axis that one is taken in
    which its largest entry is positive.

    Source: Pearson, 1901.

    Args:
        passes: gives the vectors, some at a time and at least one, each time it is called.
    """
    dim = next(iter(passes())).shape[1]
    axes, mean = _from_moments(passes()) if dim <= _LARGEST_MOMENT else _by_lanczos(passes, dim)
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0)
    axes = axes * np.where(largest < 0, -1.0, 1.0)
    return Projection(mean, np.pad(axes, ((0, 0), (0, 2 - axes.shape[1]))))


def _from_moments(parts: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The axes [d, 1 or 2] and the mean [d], from the first and second moments."""
    count, first, second = 0, np.zeros(()), np.zeros(())
    for part in parts:
        wide = part.astype(np.float64)
        count += len(wide)
        first = first + wide.sum(axis=0)
        second = second + wide.T @ wide
    mean = first / count
    _, vectors = np.linalg.eigh(second / count - np.outer(mean, mean))
    return vectors[:, ::-1][:, :2], mean


def _by_lanczos(
    passes: Callable[[], Iterable[np.ndarray]], dim: int
) -> tuple[np.ndarray, np.ndarray]:
    """The same from products with the covariance, each of which is a pass over the vectors."""
    from scipy.sparse.linalg import LinearOperator, eigsh  # takes half a second to import

    parts = [(len(part), part.sum(axis=0, dtype=np.float64)) for part in passes()]
    count = sum(rows for rows, _ in parts)
    mean = sum((total for _, total in parts), np.zeros(dim)) / count

    def times_covariance(direction: np.ndarray) -> np.ndarray:
        product, along = np.zeros(dim), mean @ direction
        for part in passes():
            # in float32 where the vectors are, as a wide copy of each part would take longest
            seen = part @ direction.astype(part.dtype) - along
            product += part.T @ seen.astype(part.dtype) - mean * seen.sum()
        return product / count

    start = np.random.default_rng(0).standard_normal(dim)
    if not times_covariance(start).any():  # no vector differs from another
        return np.eye(dim, 2), mean
    operator: Any = LinearOperator  # whose type stubs are wrong
    covariance = operator(shape=(dim, dim), matvec=times_covariance, dtype=np.float64)
    variances, vectors = eigsh(covariance, k=2, which="LA", v0=start, tol=_TOLERANCE)
    return vectors[:, np.argsort(variances)[::-1]], mean
