"""A table file: columns, rows, seeds and the paper's numbers, checked before anything starts."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dim_lightning.errors import InputError, nearest
from dim_lightning.run.settings import EXACT, FLOAT32, read_yaml
from dim_lightning.table.transfers import read_transfers
from dim_lightning.table.values import (
    as_columns,
    as_from_memory,
    as_name,
    as_paper,
    as_seeds,
    as_settings,
    check_keys,
)

FLOORS = ("random", "pixels")
# setting -> what it is without being named; as it is what the processor is quick at, one asked for
# by --set is that of the runs to come alone
ARITHMETIC = {"trainer.precision": FLOAT32, "matmul_precision": EXACT}
_KEYS = ("title", "note", "name", "runs", "overrides", "seeds", "columns", "transfer", "rows")
_ROW_KEYS = ("name", "config", "overrides", "fixed", "seeds", "paper", "from_memory", "floor", "of")
_EXAMPLE = "the project's experiments/paper/cifar10.yaml"


class Row(NamedTuple):
    """One row.

    Attributes:
        name: as the table shows it.
        folder: the name of its folder of runs.
        config: its configuration; None for a floor.
        overrides: settings by their full names over those of the configuration.
        seeds: of its runs.
        paper: heading -> the paper's number, as the table shows it.
        from_memory: the headings of those that were never checked against the paper.
        floor: 'random' or 'pixels', what the tests of other rows measure beside them; or None.
        of: the folder of the row whose tests measure the floor; None if any may that does.
        free: those of the overrides that runs which count need not have.
    """

    name: str
    folder: str
    config: Path | None
    overrides: dict[str, Any]
    seeds: tuple[int, ...]
    paper: dict[str, float]
    from_memory: frozenset[str]
    floor: str | None
    of: str | None = None
    free: tuple[str, ...] = ()

    @property
    def kept(self) -> dict[str, Any]:
        """The overrides that all runs which count have."""
        return {key: value for key, value in self.overrides.items() if key not in self.free}


class Table(NamedTuple):
    """What a table file asks for.

    Attributes:
        path: of the file.
        name: of the folder that it is written to.
        runs: of the folder of its runs, which tables may share.
        title: of the table.
        columns: name of a figure of `test` -> heading.
        rows: in order.
        overrides: the settings common to all rows, but for what their runs need not have.
        note: what a reader has to know of it, such as what the paper's numbers are of.
        transfers: name of another data set that the runs are tested on as well -> its settings of
            `data`.
        text: of the file, which may be another one by the time that the table is written.
    """

    path: Path
    name: str
    runs: str
    title: str
    columns: dict[str, str]
    rows: tuple[Row, ...]
    overrides: dict[str, Any]
    note: str = ""
    transfers: Mapping[str, Mapping[str, Any]] = {}
    text: str = ""


def read_table(path: Path, changes: Mapping[str, Any] | None = None) -> Table:
    """What the table file at `path` asks for.

    Args:
        path: of the file.
        changes: settings that win over those of the file in all rows, but for what is fixed.

    Raises:
        InputError: there is no such file, it is no YAML, or it asks for what there is not.
    """
    content = read_yaml(path, _EXAMPLE, f"columns and rows, as in {_EXAMPLE}")
    check_keys(content, _KEYS, str(path))
    columns = as_columns(content.get("columns"), path)
    common = as_settings(content.get("overrides"), f"{path}: overrides")
    seeds_of_all = as_seeds(content.get("seeds", [0]), f"{path}: seeds")
    name = as_name(content.get("name", path.stem), f"{path}: name")
    runs = as_name(content.get("runs", name), f"{path}: runs")
    found = content.get("rows")
    if not isinstance(found, list) or not found:
        raise InputError(f"{path}: rows is {found!r}; expected a list of rows, as in {_EXAMPLE}")
    changes = as_settings(changes, "--set")
    free = [key for key in ARITHMETIC if key in changes]
    rows = []
    for number, settings in enumerate(found, 1):
        where = f"{path}: row {number}"
        row = _row(settings, where, path.parent, columns, seeds_of_all)
        fixed = as_settings(settings.get("fixed"), f"{where} ({row.name}): fixed")
        own = _merged(common, row.overrides, changes, fixed)
        rows.append(row._replace(overrides=own, free=tuple(k for k in free if k not in fixed)))
    _check_names(rows, path)
    rows = [_with_source(row, rows, path) for row in rows]
    title, note = str(content.get("title", name)), str(content.get("note") or "")
    overrides = _merged(common, changes)
    overrides = {key: value for key, value in overrides.items() if key not in free}
    transfers = read_transfers(content.get("transfer"), columns, path)
    text = path.read_text("utf-8")
    return Table(path, name, runs, title, columns, tuple(rows), overrides, note, transfers, text)


def chosen(table: Table, names: str | None) -> tuple[Row, ...]:
    """The rows of these names, or folders, with commas between; all if None.

    A name may hold commas itself: the longest that there is counts.

    Raises:
        InputError: there is no row of a name.
    """
    if names is None:
        return table.rows
    known = {key: row.folder for row in table.rows for key in (row.name, row.folder)}
    wanted = set()
    left = names.split(",")
    while left:
        heads = [",".join(left[:end]).strip() for end in range(len(left), 0, -1)]
        name = next((head for head in heads if head in known), None)
        if name is None:
            advice = nearest(heads[-1], [row.folder for row in table.rows], str(table.path))
            raise InputError(f"--only: {table.path} has no row {heads[-1]!r}; {advice}")
        wanted.add(known[name])
        left = left[len(heads) - heads.index(name) :]
    return tuple(row for row in table.rows if row.folder in wanted)


def _row(
    found: Any, where: str, folder: Path, columns: Mapping[str, str], seeds: tuple[int, ...]
) -> Row:
    if not isinstance(found, dict) or not isinstance(found.get("name"), str):
        raise InputError(f"{where} is {found!r}; expected settings with a name")
    where = f"{where} ({found['name']})"
    check_keys(found, _ROW_KEYS, where)
    floor = found.get("floor")
    paper = as_paper(found.get("paper"), f"{where}: paper", columns)
    return Row(
        name=found["name"],
        folder=re.sub(r"\W+", "_", found["name"].lower(), flags=re.ASCII).strip("_"),
        config=_config(found, where, folder),
        overrides=as_settings(found.get("overrides"), f"{where}: overrides"),
        seeds=() if floor else as_seeds(found.get("seeds", list(seeds)), f"{where}: seeds"),
        paper=paper,
        from_memory=as_from_memory(
            found.get("from_memory", False), f"{where}: from_memory", [*paper]
        ),
        floor=floor,
        of=found.get("of"),
    )


def _config(found: Mapping[str, Any], where: str, folder: Path) -> Path | None:
    """The row's configuration, given relative to the table file."""
    config, floor = found.get("config"), found.get("floor")
    if floor is None and "of" in found:
        raise InputError(f"{where}: of has a meaning for a floor alone; leave it out")
    if floor is not None:
        extra = [key for key in ("config", "overrides", "fixed", "seeds") if key in found]
        if floor not in FLOORS:
            raise InputError(f"{where}: floor is {floor!r}; expected one of {', '.join(FLOORS)}")
        if extra:
            raise InputError(f"{where}: {extra[0]} has no meaning for a floor; leave it out")
        return None
    if not isinstance(config, str):
        raise InputError(
            f"{where}: config is {config!r}; expected the path of a configuration, relative to "
            f"the table file; or floor: one of {', '.join(FLOORS)}"
        )
    path = Path(os.path.normpath(folder / config))
    if not path.is_file():
        near = nearest(path.stem, sorted(p.stem for p in path.parent.glob("*.yaml")))
        raise InputError(f"{where}: config: there is no file {path}; {near}")
    return path


def _check_names(rows: Sequence[Row], path: Path) -> None:
    for number, row in enumerate(rows):
        if not row.folder:
            raise InputError(f"{path}: row {number + 1}: name is {row.name!r}; expected letters")
        if row.folder in (other.folder for other in rows[:number]):
            raise InputError(
                f"{path}: row {number + 1} ({row.name}): another row's runs lie in {row.folder}/, "
                "too; expected names that differ in letters or digits"
            )


def _with_source(row: Row, rows: Sequence[Row], path: Path) -> Row:
    """A floor with the folder of the row that it is of."""
    if row.of is None:
        return row
    folders = {other.name: other.folder for other in rows if not other.floor}
    if str(row.of) not in folders:
        raise InputError(
            f"{path}: row {row.name}: of is {row.of!r}; expected the name of a row with a config; "
            f"{nearest(str(row.of), folders)}"
        )
    return row._replace(of=folders[str(row.of)])


def _merged(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of all, later ones over earlier ones and behind them."""
    merged: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            merged.pop(key, None)
            merged[key] = value
    return merged
