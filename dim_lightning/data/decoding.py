"""The pictures of a part as pixels, in order and a window at a time."""

import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np

from dim_lightning.data.pictures import decode
from dim_lightning.data.sources.listing import SHOWN, as_text, shortened
from dim_lightning.data.sources.source import Found, Part
from dim_lightning.errors import InputError

MAX_UNREADABLE = 0.01  # share of the pictures
WINDOW = 512  # pictures decoded at a time: bounds the memory


def decoded(
    part: Part,
    rows: Iterable[int],
    size: int,
    unreadable: list[str],
    advance: Callable[[int], object],
) -> Iterator[list[tuple[int, np.ndarray]]]:
    """Windows of readable pictures with their rows in the part.

    Args:
        part: the pictures.
        rows: which of them, in this order.
        size: height and width of the result, in pixels.
        unreadable: is given the others' names, each with the reason.
        advance: is told how many more were looked at.
    """

    def attempt(row: int) -> np.ndarray | Exception:
        try:
            return decode(part.pictures[row], size)
        except Exception as error:  # the readers of broken files raise nearly anything
            return error

    left = iter(rows)
    # Threads do: Pillow decodes and scales outside the interpreter's lock.
    with ThreadPoolExecutor() as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of pictures that are odd and yet readable
        while window := list(islice(left, WINDOW)):
            good = []
            for row, result in zip(window, pool.map(attempt, window), strict=True):
                if isinstance(result, Exception):
                    unreadable.append(f"{_name(part, row)} ({result})")
                else:
                    good.append((row, result))
            advance(len(window))
            yield good


def _name(part: Part, row: int) -> str:
    picture = part.pictures[row]
    return picture if isinstance(picture, str) else f"picture {row}"


def say_passed_by(found: Found) -> None:
    """Tell what of a data set is not taken: pictures of a kind that is not read, perhaps."""
    passed_by = found.passed_by()
    if passed_by:
        sys.stderr.write(f"passed by in {found.origin}: {passed_by}\n")


def judge(unreadable: list[str], total: int, origin: str, listed: Path, kept: Path) -> None:
    """Name the pictures that cannot be read.

    Args:
        unreadable: their names, each with the reason.
        total: how many pictures there are.
        origin: where they lie.
        listed: the file to write the names to, if they are more than a message shows.
        kept: the folder of those that can be read, which stays as it is.

    Raises:
        InputError: there are too many of them.
    """
    if not unreadable:
        return
    found = f"{len(unreadable):,} of {total:,} pictures in {origin} cannot be read"
    names = shortened(unreadable)
    if len(unreadable) > SHOWN:
        listed.write_text("".join(f"{as_text(name)}\n" for name in unreadable), "utf-8")
        names += f" (all are listed in {listed})"
    if len(unreadable) >= MAX_UNREADABLE * total:
        raise InputError(
            f"{found}: {names}; expected fewer than {MAX_UNREADABLE:.0%}; mend or remove them"
        )
    sys.stderr.write(
        f"{found} and are left out: {names}; once they can, remove {kept} to look again\n"
    )
