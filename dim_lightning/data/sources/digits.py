"""The handwritten digits that come with scikit-learn."""

from pathlib import Path

import numpy as np

from dim_lightning.data.sources.source import Found, Part, Parts, Source


class Digits(Source):
    """1,797 handwritten digits of 8x8 pixels, ten classes; needs no download, has no test part.

    Source: scikit-learn's `load_digits`, the test part of the UCI set of Alpaydin and Kaynak, 1998.
    """

    def find(self, root: Path) -> Found:
        """Always found, wherever `root` is."""
        return Found("digits", "scikit-learn", ["load_digits"], _read)


def _read() -> Parts:
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)  # ink from 0 to 16
    part = Part(pixels, digits.target.astype(np.int64))
    return Parts(part, None, [str(name) for name in digits.target_names])
