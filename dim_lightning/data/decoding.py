"""The pictures of a part as pixels, in order and a window at a time."""

import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np

from dim_lightning.data.pictures import decode
from dim_lightning.data.sources.listing import SHOWN, as_text, first_few
from dim_lightning.data.sources.source import Found, Part
from dim_lightning.errors import InputError, printable

MAX_UNREADABLE = 0.01  # share of the pictures
ADVICE = (
    "mend or remove them, or set data.max_unreadable higher; decoding then begins anew, while "
    "`python -m dim_lightning shard` would go on where it was stopped"
)
WINDOW = 512  # pictures decoded at a time: bounds the memory


class Unreadable:
    """The pictures that cannot be read, until they are too many.

    Attributes:
        names: theirs, each with the reason.
    """

    def __init__(
        self, total: int, limit: float, origin: str, listed: Path, advice: str = ADVICE
    ) -> None:
        """Begin with none.

        Args:
            total: how many pictures there are.
            limit: share of these at which they are too many; at 0, one is.
            origin: where they lie.
            listed: the file to write the names to, if they are more than a message shows.
            advice: what to do where they are too many.
        """
        self.names: list[str] = []
        self._total = total
        self._limit = limit
        self._origin = origin
        self._listed = listed
        self._advice = advice
        self._seen = 0

    def add(self, names: Sequence[str], among: int) -> None:
        """Note some more.

        Args:
            names: theirs, each with the reason.
            among: how many pictures were looked at to find them.

        Raises:
            InputError: there are too many by now.
        """
        self.names += names
        self._seen += among
        if not self.names or len(self.names) < self._limit * self._total:
            return
        left = self._total - self._seen
        more = f", and {left:,} were not looked at" if left else ""
        expected = f"fewer than {100 * self._limit:g}%" if self._limit else "none"
        raise InputError(
            f"{self._found()}{more}: {self._shown()}; expected {expected}; {self._advice}"
        )

    def say(self, kept: Path) -> None:
        """Name them, if there are any.

        Args:
            kept: the folder of those that can be read, which stays as it is.
        """
        if self.names:
            said = f"{self._found()} and are left out: {self._shown()}"
            sys.stderr.write(f"{printable(said)}; once they can, remove {kept} to look again\n")

    def _found(self) -> str:
        count = f"{len(self.names):,} of {self._total:,}"
        return f"{count} pictures in {self._origin} cannot be read"

    def _shown(self) -> str:
        if len(self.names) <= SHOWN:
            return first_few(self.names)
        text = "".join(f"{as_text(name)}\n" for name in self.names)
        self._listed.write_text(text, "utf-8")
        return f"{first_few(self.names)} (all are listed in {self._listed})"


def decoded(
    part: Part,
    rows: Iterable[int],
    size: int,
    unreadable: Unreadable,
    advance: Callable[[int], object],
) -> Iterator[list[tuple[int, np.ndarray]]]:
    """Windows of readable pictures with their rows in the part.

    Args:
        part: the pictures.
        rows: which of them, in this order.
        size: height and width of the result, in pixels.
        unreadable: is given the others.
        advance: is told how many more were looked at.

    Raises:
        InputError: too many cannot be read.
    """
    left = iter(rows)
    # Threads do: Pillow decodes and scales outside the interpreter's lock.
    with ThreadPoolExecutor() as pool, _quiet():
        while window := list(islice(left, WINDOW)):
            results = pool.map(lambda row: _attempt(part, row, size), window)
            good, bad = [], []
            for row, result in zip(window, results, strict=True):
                if isinstance(result, Exception):
                    bad.append(f"{_name(part, row)} ({result})")
                else:
                    good.append((row, result))
            advance(len(window))
            unreadable.add(bad, len(window))
            yield good


def any_readable(part: Part, rows: Iterable[int], size: int) -> bool:
    """Whether one of these pictures can be read."""
    with _quiet():
        return any(not isinstance(_attempt(part, row, size), Exception) for row in rows)


def _attempt(part: Part, row: int, size: int) -> np.ndarray | Exception:
    try:
        return decode(part.pictures[row], size)
    except Exception as error:  # the readers of broken files raise nearly anything
        return error


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of pictures that are odd and yet readable
        yield


def _name(part: Part, row: int) -> str:
    picture = part.pictures[row]
    return picture if isinstance(picture, str) else f"picture {row}"


def say_passed_by(found: Found) -> None:
    """Tell what of a data set is not taken: pictures of a kind that is not read, perhaps."""
    passed_by = found.passed_by()
    if passed_by:
        sys.stderr.write(f"passed by in {found.origin}: {passed_by}\n")
