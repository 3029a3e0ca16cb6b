"""Other data sets that a table's runs are tested on as well, with the encoders as they are."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dim_lightning.errors import InputError, nearest
from dim_lightning.run.result import SOURCE, TRANSFER, TRANSFER_NAME, read_result, test_section
from dim_lightning.run.settings import WHERE, belongs, changes, flat_settings

_SOURCE = "data.source"


class Transfer(NamedTuple):
    """A test on another data set.

    Attributes:
        settings: those of `data`, by their full names, in which it is not the run's own.
        source: the settings of `data.source` then, by their full names.
    """

    settings: Mapping[str, Any]
    source: Mapping[str, Any]


def read_transfers(found: Any, columns: Mapping[str, str], path: Path) -> dict[str, dict[str, Any]]:
    """Name of another data set -> its settings of `data`, by their full names.

    Args:
        found: what stands in the table file.
        columns: of the table; each other data set has to be in one.
        path: of the file.

    Raises:
        InputError: they are no such settings, or not of the data sets that the columns name.
    """
    if found is None:
        return {}
    example = "such as {cifar100: {data.source: CIFAR100}}"
    if not isinstance(found, Mapping) or not found:
        raise InputError(f"{path}: transfer is {found!r}; expected names and settings, {example}")
    shown = list(dict.fromkeys(k.split("/")[1] for k in columns if k.startswith(TRANSFER)))
    for name, settings in found.items():
        where = f"{path}: transfer.{name}"
        if not re.fullmatch(TRANSFER_NAME, name):
            raise InputError(f"{where}: expected a name of letters, digits, -, _ and points")
        if not isinstance(settings, Mapping) or not any(belongs(k, (_SOURCE,)) for k in settings):
            raise InputError(f"{where} is {settings!r}; expected a data.source, {example}")
        for key in settings:
            if not belongs(key, ("data",)):
                raise InputError(f"{where}: {key} is no setting of data; set it for the rows")
        if name not in shown:
            column = f"{test_section(name)}/probe/linear/y/top1"
            raise InputError(f"{where}: no column shows it; add one such as {column}")
    for name in shown:
        if name not in found:
            near = nearest(name, list(found))
            raise InputError(f"{path}: columns: transfer has no data set {name!r}; {near}")
    return {name: dict(settings) for name, settings in found.items()}


def source_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of `data.source` by their full names, but for where it lies."""
    flat = flat_settings(settings)
    return {k: v for k, v in flat.items() if belongs(k, (_SOURCE,)) and not belongs(k, WHERE)}


def other_source(run: Path, name: str, transfer: Transfer) -> str:
    """How the source that a run was tested on is not the one asked for; nothing if it is.

    Args:
        run: its folder.
        name: of the other data set.
        transfer: the test asked for.
    """
    tested = read_result(run).get(test_section(name), {}).get(SOURCE)
    if tested is None:  # by hand, before tests noted it
        return ""
    return changes(transfer.source, source_of({"data": {"source": tested}}))
