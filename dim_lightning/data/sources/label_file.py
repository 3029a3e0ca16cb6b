"""Labels of some pictures of a folder, from a CSV file."""

import csv
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dim_lightning.data.sources.listing import first_few
from dim_lightning.data.sources.source import Part, Parts
from dim_lightning.errors import InputError

COLUMNS = ("path", "label")


def labelled_parts(parts: Parts, file: Path, folder: Path) -> Parts:
    """The pictures with the labels that the file has; -1 where it has none.

    Args:
        parts: the pictures.
        file: a table with the columns `path` and `label`; spaces behind commas and around labels
            are no part of them, and a row with an empty label counts for nothing.
        folder: that paths are relative to.

    Raises:
        InputError: the file cannot be read or has other columns, or a row is of a picture that is
            not there or has another label.
    """
    labels = _labels(file, folder)
    names = sorted(set(labels.values()))
    given = [part for part in (parts.train, parts.test) if part is not None]
    keys = [[_key(str(path)) for path in part.pictures] for part in given]
    strange = sorted(labels.keys() - {key for each in keys for key in each})
    if strange or not labels:
        raise InputError(
            f"{file} labels {len(labels)} pictures, {len(strange)} of them not among those of "
            f"{folder}: {first_few(strange) or 'none'}; expected some of these, by their paths "
            "below that folder; correct them, or set data.source.init_args.labels to null"
        )
    numbers = {name: number for number, name in enumerate(names)}
    found = [_numbered(part, each, labels, numbers) for part, each in zip(given, keys, strict=True)]
    return Parts(found[0], found[1] if len(found) > 1 else None, names)


def _numbered(
    part: Part, keys: Sequence[str], labels: dict[str, str], numbers: dict[str, int]
) -> Part:
    known = [numbers[labels[key]] if key in labels else -1 for key in keys]
    return part._replace(labels=np.asarray(known, np.int64))


def _labels(file: Path, folder: Path) -> dict[str, str]:
    """Label of each picture, by its absolute path."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            rows = list(csv.DictReader(opened, skipinitialspace=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{file} cannot be read ({error}); expected a CSV file with the columns path and "
            "label; set data.source.init_args.labels"
        ) from error
    labels: dict[str, str] = {}
    for number, row in enumerate(rows, start=1):
        path, label = (row.get(column) for column in COLUMNS)
        if path is None or label is None:
            raise InputError(
                f"row {number} of {file} has no {'path' if path is None else 'label'}; expected "
                "the columns path and label, named in the first line, with commas between"
            )
        if any(map(str.strip, row.get(None, ()))):  # what DictReader has no column for
            raise InputError(
                f"row {number} of {file}, of {path}, has more cells than the first line names; "
                'expected as many; a name with a comma in it stands in quotes, "New York, NY"'
            )
        label = label.strip()
        key = _key(folder / path)
        if label and labels.setdefault(key, label) != label:
            raise InputError(f"{file} labels {path} as {labels[key]} and as {label}; expected one")
    return labels


def _key(path: str | Path) -> str:
    """The path by which a picture is known, whichever way its letters with accents are written.

    Macs have files whose names take them for two characters each, and tables for one.
    """
    absolute = os.path.abspath(path)  # noqa: PTH100  # keeps links, and is quick
    return unicodedata.normalize("NFC", absolute)
