"""The values of a table file: what each has to be, or a refusal that names its place.

All raise `InputError`; `where` is what it calls the place in the file.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dim_lightning.errors import InputError, nearest

_PLACED = ("seed_everything", "runs_dir", "experiment", "resume", "config")
_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*")


def as_name(found: Any, where: str) -> str:
    """A plain name, as of a folder."""
    if not isinstance(found, str) or not _NAME.fullmatch(found):
        raise InputError(f"{where} is {found!r}; expected a plain name such as paper_cifar10")
    return found


def as_columns(found: Any, path: Path) -> dict[str, str]:
    """Name of a figure -> heading."""
    if not isinstance(found, dict) or not found:
        raise InputError(
            f"{path}: columns is {found!r}; expected names of figures and their headings, such as "
            "{probe/mlp200/conv/top1: conv}"
        )
    for key, heading in found.items():
        if not isinstance(heading, str | int) or not str(heading):
            raise InputError(f"{path}: columns.{key} is {heading!r}; expected a heading")
    headings = [str(heading) for heading in found.values()]
    for heading in headings:
        if headings.count(heading) > 1:
            raise InputError(f"{path}: columns has the heading {heading!r} twice; expected others")
    return dict(zip(found, headings, strict=True))


def as_settings(found: Any, where: str) -> dict[str, Any]:
    """Settings by their full names; those of which a table decides itself are refused."""
    if found is None:
        return {}
    if not isinstance(found, Mapping) or not all(found):
        raise InputError(
            f"{where} is {found!r}; expected settings by their full names, such as "
            "{trainer.max_epochs: 40}"
        )
    for key in found:
        if key in _PLACED:
            advice = "set seeds instead" if key == "seed_everything" else "leave it out"
            raise InputError(f"{where}: {key} is what the table itself decides; {advice}")
    return dict(found)


def as_seeds(found: Any, where: str) -> tuple[int, ...]:
    """Seeds, each once."""

    def fits(seed: Any) -> bool:
        return isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**32

    if not (isinstance(found, list) and found and all(map(fits, found))):
        raise InputError(f"{where} is {found!r}; expected a list of whole numbers, such as [0, 1]")
    if len(set(found)) < len(found):
        raise InputError(f"{where} is {found}, which has a seed twice; expected different ones")
    return tuple(found)


def as_paper(found: Any, where: str, columns: Mapping[str, str]) -> dict[str, float]:
    """Heading -> the paper's number."""
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise InputError(f"{where} is {found!r}; expected headings and numbers, as {{conv: 75.21}}")
    for heading, value in found.items():
        if heading not in columns.values():
            raise InputError(
                f"{where}: no column has the heading {heading!r}; "
                f"{nearest(str(heading), columns.values())}"
            )
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"{where}.{heading} is {value!r}; expected a number")
    return {heading: float(value) for heading, value in found.items()}


def as_from_memory(found: Any, where: str, known: Sequence[str]) -> frozenset[str]:
    """The headings of the numbers that were never checked; `known` are those that there are."""
    if isinstance(found, bool):
        return frozenset(known if found else ())
    if not isinstance(found, list):
        raise InputError(f"{where} is {found!r}; expected true or false, or headings, as [conv]")
    for heading in found:
        if heading not in known:
            near = nearest(str(heading), known, "the row's paper")
            raise InputError(f"{where}: paper has no number for {heading!r}; {near}")
    return frozenset(found)


def check_keys(found: Mapping[Any, Any], known: Sequence[str], where: str) -> None:
    """Refuses a key that is not known."""
    for key in found:
        if key not in known:
            raise InputError(f"{where}: unknown key {key}; {nearest(str(key), known)}")
