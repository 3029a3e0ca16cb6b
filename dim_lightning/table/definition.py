"""A table file: columns, rows, seeds and the paper's numbers, checked before anything starts."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dim_lightning.errors import InputError, nearest
from dim_lightning.run.settings import EXACT, FLOAT32, read_yaml
from dim_lightning.table.transfers import read_transfers

FLOORS = ("random", "pixels")
PLACED = ("seed_everything", "runs_dir", "experiment", "resume", "config")
# setting -> what it is without being named; as it is what the processor is quick at, one asked for
# by --set is that of the runs to come alone
ARITHMETIC = {"trainer.precision": FLOAT32, "matmul_precision": EXACT}
_KEYS = ("title", "note", "name", "runs", "overrides", "seeds", "columns", "transfer", "rows")
_ROW_KEYS = ("name", "config", "overrides", "fixed", "seeds", "paper", "from_memory", "floor", "of")
_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*")
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


def read_table(
    path: Path, changes: Mapping[str, Any] | None = None, seeds: Sequence[int] | None = None
) -> Table:
    """What the table file at `path` asks for.

    Args:
        path: of the file.
        changes: settings that win over those of the file in all rows, but for what is fixed.
        seeds: of all rows; those of the file if None.

    Raises:
        InputError: there is no such file, it is no YAML, or it asks for what there is not.
    """
    content = read_yaml(path, _EXAMPLE, f"columns and rows, as in {_EXAMPLE}")
    _check_keys(content, _KEYS, str(path))
    columns = _columns(content.get("columns"), path)
    common = _overrides(content.get("overrides"), f"{path}: overrides")
    seeds_of_all = _seeds(content.get("seeds", [0]), f"{path}: seeds")
    name = _plain_name(content.get("name", path.stem), f"{path}: name")
    runs = _plain_name(content.get("runs", name), f"{path}: runs")
    found = content.get("rows")
    if not isinstance(found, list) or not found:
        raise InputError(f"{path}: rows is {found!r}; expected a list of rows, as in {_EXAMPLE}")
    free = [key for key in ARITHMETIC if key in (changes or {})]
    rows = []
    for number, settings in enumerate(found, 1):
        where = f"{path}: row {number}"
        row = _row(settings, where, path.parent, columns, seeds_of_all)
        fixed = _overrides(settings.get("fixed"), f"{where} ({row.name}): fixed")
        own = _merged(common, row.overrides, _overrides(changes, "--set"), fixed)
        rows.append(row._replace(overrides=own, free=tuple(k for k in free if k not in fixed)))
    if seeds is not None:
        asked = _seeds(list(seeds), "--seeds")
        rows = [row if row.floor else row._replace(seeds=asked) for row in rows]
    _check_names(rows, path)
    rows = [_with_source(row, rows, path) for row in rows]
    title, note = str(content.get("title", name)), str(content.get("note") or "")
    overrides = _merged(common, changes or {})
    overrides = {key: value for key, value in overrides.items() if key not in free}
    transfers = read_transfers(content.get("transfer"), columns, path)
    return Table(path, name, runs, title, columns, tuple(rows), overrides, note, transfers)


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


def _plain_name(found: Any, where: str) -> str:
    if not isinstance(found, str) or not _NAME.fullmatch(found):
        raise InputError(f"{where} is {found!r}; expected a plain name such as paper_cifar10")
    return found


def _row(
    found: Any, where: str, folder: Path, columns: Mapping[str, str], seeds: tuple[int, ...]
) -> Row:
    if not isinstance(found, dict) or not isinstance(found.get("name"), str):
        raise InputError(f"{where} is {found!r}; expected settings with a name")
    where = f"{where} ({found['name']})"
    _check_keys(found, _ROW_KEYS, where)
    floor = found.get("floor")
    paper = _paper(found.get("paper"), f"{where}: paper", columns)
    return Row(
        name=found["name"],
        folder=re.sub(r"\W+", "_", found["name"].lower(), flags=re.ASCII).strip("_"),
        config=_config(found, where, folder),
        overrides=_overrides(found.get("overrides"), f"{where}: overrides"),
        seeds=() if floor else _seeds(found.get("seeds", list(seeds)), f"{where}: seeds"),
        paper=paper,
        from_memory=_from_memory(
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


def _columns(found: Any, path: Path) -> dict[str, str]:
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


def _overrides(found: Any, where: str) -> dict[str, Any]:
    """Settings by their full names; those of which a table decides itself are refused."""
    if found is None:
        return {}
    if not isinstance(found, Mapping) or not all(found):
        raise InputError(
            f"{where} is {found!r}; expected settings by their full names, such as "
            "{trainer.max_epochs: 40}"
        )
    for key in found:
        if key in PLACED:
            advice = "set seeds instead" if key == "seed_everything" else "leave it out"
            raise InputError(f"{where}: {key} is what the table itself decides; {advice}")
    return dict(found)


def _seeds(found: Any, where: str) -> tuple[int, ...]:
    def fits(seed: Any) -> bool:
        return isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**32

    if not (isinstance(found, list) and found and all(map(fits, found))):
        raise InputError(f"{where} is {found!r}; expected a list of whole numbers, such as [0, 1]")
    if len(set(found)) < len(found):
        raise InputError(f"{where} is {found}, which has a seed twice; expected different ones")
    return tuple(found)


def _paper(found: Any, where: str, columns: Mapping[str, str]) -> dict[str, float]:
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


def _from_memory(found: Any, where: str, known: Sequence[str]) -> frozenset[str]:
    if isinstance(found, bool):
        return frozenset(known if found else ())
    if not isinstance(found, list):
        raise InputError(f"{where} is {found!r}; expected true or false, or headings, as [conv]")
    for heading in found:
        if heading not in known:
            near = nearest(str(heading), known, "the row's paper")
            raise InputError(f"{where}: paper has no number for {heading!r}; {near}")
    return frozenset(found)


def _check_keys(found: Mapping[Any, Any], known: Sequence[str], where: str) -> None:
    for key in found:
        if key not in known:
            raise InputError(f"{where}: unknown key {key}; {nearest(str(key), known)}")


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
