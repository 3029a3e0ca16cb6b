"""The numbers of a table: what the paper says, what the runs say, and how far these are."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dim_lightning.errors import InputError, nearest
from dim_lightning.run.accuracies import KINDS, unsolved
from dim_lightning.run.environment import (
    DATA,
    commit_text,
    processors_text,
    read_environment,
    starts_of,
    threads_text,
)
from dim_lightning.run.result import TRANSFER, read_result
from dim_lightning.run.settings import flat_config, precision_text
from dim_lightning.table.cell import Cell
from dim_lightning.table.definition import Row, Table
from dim_lightning.table.floors import NOT_ASKED_FOR, measures_floor
from dim_lightning.table.runs import Found, State, figures_of

ACCURACY = "/top1"
IN_PERCENT = (*(f"/{kind}" for kind in KINDS), f"{ACCURACY}_std")


class Figure(NamedTuple):
    """One figure of one row.

    Attributes:
        key: its name in the results of `test`.
        heading: of its column.
        paper: the paper's number; None if it has none.
        values: ours, one a run; accuracies in percent.
    """

    key: str
    heading: str
    paper: float | None
    values: tuple[float, ...]

    @property
    def mean(self) -> float | None:
        """Over the runs; None before there is one."""
        return statistics.mean(self.values) if self.values else None

    @property
    def deviation(self) -> float | None:
        """The sample's standard deviation over the runs; None of fewer than two."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def difference(self) -> float | None:
        """Ours less the paper's."""
        return None if self.mean is None or self.paper is None else self.mean - self.paper


class Line(NamedTuple):
    """One row with all that is to be shown of it.

    Attributes:
        row: the row.
        figures: one a column.
        done: how many of its seeds are trained and tested.
        state: how far the row is, in words.
        epochs: how many these were trained for, from the least to the most.
        seconds: how long they trained, on average; None before there is one.
        runs: the folders of those that are done.
        data: the names of what these were trained on, once each.
        images: how many the splits of it have, each kind once.
        machines: on what and how precisely they were trained, each kind once.
        commits: of the code that trained them, as they began and went on, one a run.
        unsolved: the probes of theirs that ended before they converged.
        protocol: how their figures were measured, a kind each.
        settings: of its config and overrides together, by their full name; none of a floor.
    """

    row: Row
    figures: tuple[Figure, ...]
    done: int
    state: str
    epochs: tuple[int, ...] = ()
    seconds: float | None = None
    runs: tuple[Path, ...] = ()
    data: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    machines: tuple[str, ...] = ()
    commits: tuple[str, ...] = ()
    unsolved: tuple[str, ...] = ()
    protocol: tuple[str, ...] = ()
    settings: Mapping[str, Any] = {}


def lines_of(table: Table, found: Found, failures: Mapping[str, str]) -> list[Line]:
    """The rows of the table.

    Args:
        table: from its file.
        found: every row and seed, and how far it is.
        failures: row and seed -> what it said when it failed just now.
    """
    return [
        _floor(table, row, found) if row.floor else _line(table, row, found, failures)
        for row in table.rows
    ]


def check_columns(table: Table, found: Found) -> None:
    """Looks at whether the tests that there are know what the columns ask for.

    Raises:
        InputError: there are some, and none measures what a column is about.
    """
    open_rows = any(state.missing for _, state in found)
    known = {
        key for cell, state in found if state.is_tested for key in figures_of(cell, _run(state))
    }
    # the layer is one of those of the row's encoder, which may be other ones in rows to come
    to_come = {_without_layer(key) for key in known} if open_rows else set()
    for key in table.columns:
        if key.startswith("test/") and open_rows:
            continue  # a term of one method, whose rows may be to come
        if key.startswith(TRANSFER) and not any(_is_of_same_data(key, each) for each in known):
            continue  # tests on other data sets come when somebody asks for them
        if known and key not in known and _without_layer(key) not in to_come:
            raise InputError(
                f"{table.path}: columns.{key}: no test has this figure; {nearest(key, known)}"
            )


def check_layers(table: Table, layers: Mapping[str, Sequence[str]]) -> None:
    """Looks at whether the columns' layers are there.

    Args:
        table: from its file.
        layers: row -> the layers of its encoder.

    Raises:
        InputError: no row has a layer that a column is about.
    """
    known = {layer for names in layers.values() for layer in names} | {"pixels"}
    for key in table.columns:
        if not key.endswith(IN_PERCENT) or key.count("/") < 2:
            continue
        protocol, layer, name = key.rsplit("/", 2)
        if layer not in known:
            near = [f"{protocol}/{other}/{name}" for other in sorted(known)]
            raise InputError(
                f"{table.path}: columns.{key}: no row's encoder has the layer {layer!r}; expected "
                f"one of {', '.join(sorted(known))}; {nearest(key, near)}"
            )


def check_labels(table: Table, labelled: Sequence[bool]) -> None:
    """Looks at whether there are labels where a column is about them.

    Args:
        table: from its file.
        labelled: of each row, whether its pictures have labels.

    Raises:
        InputError: no row's pictures have.
    """
    own = [key for key in table.columns if not key.startswith(TRANSFER)]
    wanted = [key for key in own if key.endswith(IN_PERCENT)]
    if wanted and labelled and not any(labelled):
        raise InputError(
            f"{table.path}: columns.{wanted[0]}: the pictures of no row have labels, and without "
            "them there is no accuracy; choose columns such as mine/code/nats, or other pictures"
        )


def protocols(found: Found) -> list[str]:
    """How the figures of all tests were measured, as these themselves say it; each kind once."""
    tests = [_told(_run(state)) for _, state in found if state.is_tested]
    return [line for line in (tests[0] if tests else ()) if all(line in told for told in tests)]


def _line(table: Table, row: Row, found: Found, failures: Mapping[str, str]) -> Line:
    own = [(cell, state) for cell, state in found if cell.row.folder == row.folder]
    done = [(cell, _run(state)) for cell, state in own if state.is_tested]
    runs = tuple(run for _, run in done)
    tests = [figures_of(cell, run) for cell, run in done]
    fits = [read_result(run)["fit"] for run in runs]
    return Line(
        row=row,
        figures=tuple(_figure(table, row, key, tests) for key in table.columns),
        done=len(runs),
        state=_state(own, failures),
        epochs=tuple(sorted({int(fit["epochs"]) for fit in fits})),
        seconds=statistics.mean(fit["seconds"] for fit in fits) if fits else None,
        runs=runs,
        data=tuple(dict.fromkeys(map(_data, runs))),
        images=tuple(dict.fromkeys(filter(None, map(_images, runs)))),
        machines=tuple(dict.fromkeys(map(_machine, runs))),
        commits=tuple(map(_commit, runs)),
        unsolved=tuple(dict.fromkeys(filter(None, map(_unsolved, runs)))),
        protocol=tuple(dict.fromkeys(told for run in runs for told in _told(run))),
        settings=own[0][0].settings if own else {},
    )


def _floor(table: Table, row: Row, found: Found) -> Line:
    """A floor: what the first of the tests that have most of it measured beside its own row."""
    own = [(cell, state) for cell, state in found if measures_floor(row, cell)]
    best: tuple[dict[str, float], Cell, Path] | None = None
    for cell, state in own:
        figures = figures_of(cell, _run(state)) if state.is_tested else {}
        known = {key: figures.get(_floor_key(key, row.floor)) for key in table.columns}
        values = {key: value for key, value in known.items() if value is not None}
        if len(values) > len(best[0] if best else ()):
            best = values, cell, _run(state)
    if best:
        values, cell, run = best
        shown = tuple(_figure(table, row, key, [values]) for key in table.columns)
        said = f"measured by test of {cell}"
        return Line(row, shown, done=1, state=said, runs=(run,), data=(_data(run),))
    shown = tuple(_figure(table, row, key, []) for key in table.columns)
    return Line(row, shown, done=0, state="not run" if own else NOT_ASKED_FOR)


def _figure(table: Table, row: Row, key: str, tests: Sequence[Mapping[str, float]]) -> Figure:
    factor = 100.0 if key.endswith(IN_PERCENT) else 1.0
    heading = table.columns[key]
    values = tuple(factor * test[key] for test in tests if key in test)
    return Figure(key, heading, row.paper.get(heading), values)


def _floor_key(key: str, floor: str | None) -> str:
    """The floor that belongs to a figure: pixels have no layers."""
    if key.startswith(TRANSFER):
        _, name, own = key.split("/", 2)
        return f"{TRANSFER}{name}/{_floor_key(own, floor)}"
    if floor == "random":
        return f"random/{key}"
    if not key.endswith(IN_PERCENT):
        return f"{key}/pixels{ACCURACY}"
    subject, _, ending = key.rpartition("/")
    protocol = subject.rpartition("/")[0] or subject  # a classifier's own accuracy has no layer
    return f"{protocol}/pixels/{ending}"


def _is_of_same_data(key: str, other: str) -> bool:
    """Whether both are figures of one other data set."""
    return other.split("/")[:2] == key.split("/")[:2]


def _without_layer(key: str) -> str:
    """Of a figure such as probe/linear/y/top1 or mine/y/nats, what it measures of a layer."""
    protocol, _, name = key.rpartition("/")
    return f"{protocol.rpartition('/')[0]}/{name}" if "/" in protocol else key


def _state(own: Found, failures: Mapping[str, str]) -> str:
    """How far a row is."""
    texts = [_text(cell, state, failures) for cell, state in own]
    if len(set(texts)) == 1:
        return texts[0]
    others = [text for text in texts if text not in ("done", "not run")]
    return "; ".join([f"{texts.count('done')} of {len(own)} seeds", *dict.fromkeys(others)])


def _text(cell: Cell, state: State, failures: Mapping[str, str]) -> str:
    said = failures.get(str(cell))
    if not said or not state.missing:
        return state.text
    return f"failed: {said.splitlines()[-1]}"


def _data(run: Path) -> str:
    """The data set by its recorded name, or that of its source."""
    source = str(flat_config(run).get("data.source.class_path", "unknown"))
    return str(read_environment(run).get(DATA) or source.rsplit(".", 1)[-1])


def _images(run: Path) -> str:
    """How many each split has; '' of a test that did not note it."""
    test = read_result(run)["test"]
    parts = {"num_train": "to train on", "num_val": "to validate", "num_test": "to test"}
    return ", ".join(f"{test[key]:,} {what}" for key, what in parts.items() if key in test)


def _machine(run: Path) -> str:
    """Processors, threads and precision; several where a run went on elsewhere."""
    texts = [(processors_text(s), threads_text(s)) for s in starts_of(read_environment(run))]
    found = dict.fromkeys(", ".join(filter(None, text)) for text in texts)
    return f"{', then '.join(found)}, {precision_text(flat_config(run))}"


def _commit(run: Path) -> str:
    """The commit of the code; several where a run went on with another."""
    return ", then ".join(dict.fromkeys(map(commit_text, starts_of(read_environment(run)))))


def _told(run: Path) -> list[str]:
    """How the figures of a run were measured, a kind each."""
    return read_result(run).get("test", {}).get("protocol", "").splitlines()


def _unsolved(run: Path) -> str:
    """The probes that ended before they were solved; '' if none did."""
    return ", ".join(unsolved(read_result(run)["test"]))


def _run(state: State) -> Path:
    assert state.run is not None
    return state.run
