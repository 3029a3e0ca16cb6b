"""Pictures that lie in a data set more than once, which a random split deals to both sides."""

import hashlib
import sys
from array import array
from collections.abc import Mapping

import numpy as np

from dim_lightning.data.sources.listing import SHOWN
from dim_lightning.data.sources.source import Part
from dim_lightning.errors import printable

_DIGEST = 8  # bytes: among ten million pictures, three in a million chances of a false alarm


class Copies:
    """Finds files that show, pixel by pixel, what another one does, whatever they are called.

    Of pixels without files nothing is told: nobody has put them there twice by mistake.

    Attributes:
        named: whether the pictures are files.
    """

    def __init__(self, parts: Mapping[str, Part]) -> None:
        """Begin with none.

        Args:
            parts: of the source, or its splits, by their names; one is "train".
        """
        self._parts = parts
        self._rows = {name: array("q") for name in parts}
        self._hashes = {name: array("Q") for name in parts}
        self.named = next(iter(parts.values())).named

    def add(self, name: str, row: int, pixels: bytes | memoryview) -> None:
        """Note a picture.

        Args:
            name: of its part.
            row: of the part.
            pixels: of the picture as it was decoded.
        """
        if self.named:
            digest = hashlib.blake2b(pixels, digest_size=_DIGEST).digest()
            self._rows[name].append(row)
            self._hashes[name].append(int.from_bytes(digest, "big"))

    def say(self, origin: str, size: int) -> None:
        """Name some of them, if there are any.

        Args:
            origin: where the pictures lie.
            size: height and width at which they were looked at, in pixels.
        """
        hashes = np.concatenate([np.frombuffer(each, np.uint64) for each in self._hashes.values()])
        _, first, group = np.unique(hashes, return_index=True, return_inverse=True)
        originals = first[group].tolist()
        again = np.setdiff1d(np.arange(len(hashes)), first).tolist()
        if not again:
            return
        pairs = [f"{self._name(i)} of {self._name(originals[i])}" for i in again[:SHOWN]]
        more = f" and {len(again) - SHOWN:,} more" if len(again) > SHOWN else ""
        trained = np.frombuffer(self._hashes["train"], np.uint64)
        among = [
            f"{count:,} of {name} are in train, too"
            for name, each in self._hashes.items()
            if name != "train" and (count := int(np.isin(each, trained).sum()))
        ]
        sys.stderr.write(
            f"{len(again):,} of {len(hashes):,} pictures in {printable(origin)} are copies of "
            f"others, by their pixels at {size}x{size}: {printable(', '.join(pairs))}{more}"
            f"{''.join(f'; {each}' for each in among)}; a picture that is trained on measures "
            "nothing: keep one of each\n"
        )

    def _name(self, position: int) -> str:
        """The file of a picture, by its place among all."""
        for name, rows in self._rows.items():
            if position < len(rows):
                return str(self._parts[name].pictures[rows[position]])
            position -= len(rows)
        raise IndexError(position)
