"""How far a long piece of work has come."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm


@contextmanager
def progress(
    what: str, total: int, *, unit: str, done: int = 0
) -> Iterator[Callable[[int], object]]:
    """A bar on a terminal; elsewhere one line at the start and one at the end.

    Args:
        what: what is being done.
        total: how many units there are; 0 if unknown.
        unit: what is counted.
        done: how many of them are done already.

    Yields:
        A function to be told how many more are done.
    """
    if sys.stderr.isatty():
        with tqdm(desc=what, total=total or None, initial=done, unit=unit, unit_scale=True) as bar:
            yield bar.update
        return
    start = time.monotonic()
    rest = f" from {done:,}" if done else ""
    sys.stderr.write(f"{what}: {f'{total:,}' if total else 'unknown number of'} {unit}{rest} ...\n")
    yield lambda count: None
    sys.stderr.write(f"{what}: done in {time.monotonic() - start:.0f} s\n")
