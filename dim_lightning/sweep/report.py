"""What a sweep found: a table for the screen, sweep.csv and sweep.html."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dim_lightning.errors import cut
from dim_lightning.run.environment import mixed_pictures_note
from dim_lightning.run.folder import write_atomically
from dim_lightning.run.metrics import csv_text
from dim_lightning.run.own_code import mixed_code_note
from dim_lightning.run.page import rendered
from dim_lightning.run.report import duration
from dim_lightning.sweep.definition import Definition, searched
from dim_lightning.sweep.figure import parallel_coordinates
from dim_lightning.sweep.page import TEMPLATE
from dim_lightning.sweep.record import Trial, run_folder

CSV, PAGE = "sweep.csv", "sweep.html"
_LONGEST = 40


def write_report(output: Path, definition: Definition, trials: Sequence[Trial]) -> None:
    """Writes sweep.csv and sweep.html into the sweep's folder."""
    ordered = best_first(trials, definition.maximise)
    write_atomically(output / CSV, _csv(output, definition, ordered))
    write_atomically(output / PAGE, _page(output, definition, ordered))


def best_first(trials: Sequence[Trial], maximise: bool) -> list[Trial]:
    """Those with a value, the best before the rest; then those without, by number."""
    sign = -1 if maximise else 1

    def place(trial: Trial) -> tuple[bool, float, int]:
        value = trial.value
        return value is None, sign * value if value is not None else 0.0, trial.number

    return sorted(trials, key=place)


def table(definition: Definition, trials: Sequence[Trial]) -> str:
    """The trials as lines of text, the best first."""
    names = list(searched(definition))
    header = ["trial", definition.metric, *names, "status", "time"]
    rows = [
        [
            str(trial.number),
            figure(trial.value),
            *(short(trial.parameters[name]) for name in names),
            trial.status,
            duration(trial.seconds),
        ]
        for trial in best_first(trials, definition.maximise)
    ]
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [header, *rows]
    ]
    return "\n".join(lines)


def notes(output: Path, definition: Definition, trials: Sequence[Trial]) -> list[str]:
    """What makes the values of a sweep hard to compare: other pictures, other code of one's own."""
    numbers = sorted(trial.number for trial in trials if trial.value is not None)
    folders = {str(number): run_folder(output, number) for number in numbers}
    runs = {number: run for number, run in folders.items() if run is not None}
    of = definition.name, "trials", runs
    return [*mixed_pictures_note(*of), *mixed_code_note(*of)]


def line(definition: Definition, trial: Trial, count: int) -> str:
    """A trial that starts or ends, in one line."""
    if trial.status == "running":
        parts = [f"{name}={short(trial.parameters[name])}" for name in searched(definition)]
        return f"trial {trial.number}/{count}  starts  {'  '.join(parts)}".rstrip()
    if trial.status == "failed":
        last = (trial.error or "").splitlines()[-1:]
        return f"trial {trial.number}/{count}  failed  {''.join(last)}"
    found = f"{definition.metric} {figure(trial.value)}" if trial.value is not None else ""
    time = duration(trial.seconds)
    return f"trial {trial.number}/{count}  {trial.status}  {found}  {time}".replace("    ", "  ")


def short(value: Any) -> str:
    """A value in a few characters: a class by its last name with its arguments."""
    if isinstance(value, Mapping) and "class_path" in value:
        arguments = value.get("init_args") or {}
        inner = ", ".join(f"{name}={short(found)}" for name, found in arguments.items())
        text = f"{str(value['class_path']).rpartition('.')[2]}({inner})"
    elif isinstance(value, float):
        text = f"{value:.4g}"
    else:
        text = value if isinstance(value, str) else json.dumps(value)
    return cut(text, _LONGEST)


def figure(value: float | None) -> str:
    """A value of the metric; nothing where there is none."""
    return "" if value is None else f"{value:.4g}"


def _csv(output: Path, definition: Definition, trials: Sequence[Trial]) -> str:
    names = sorted(definition.parameters)
    columns = ["trial", definition.metric, *names, "status", "values_logged", "seconds", "run"]
    rows: list[list[Any]] = [[*columns, "error"]]
    for trial in trials:
        values = [trial.parameters[name] for name in names]
        cells = [v if isinstance(v, str | int | float) else json.dumps(v) for v in values]
        run = run_folder(output, trial.number)
        place = run.relative_to(output) if run is not None else ""
        logged = (trial.status, len(trial.history), trial.seconds, place)
        value = "" if trial.value is None else trial.value
        rows.append([trial.number, value, *cells, *logged, trial.error or ""])
    return csv_text(rows)


def _page(output: Path, definition: Definition, trials: Sequence[Trial]) -> str:
    names = list(searched(definition))
    return rendered(
        TEMPLATE,
        title=definition.name,
        metric=definition.metric,
        about=_about(definition, trials),
        figure=parallel_coordinates(definition, trials, short),
        names=names,
        notes=notes(output, definition, trials),
        rows=[_row(output, trial, names) for trial in trials],
        failures=[trial for trial in trials if trial.error],
        definition=json.dumps(definition.content, indent=2),
    )


def _about(definition: Definition, trials: Sequence[Trial]) -> str:
    counts = {
        status: sum(trial.status == status for trial in trials)
        for status in ("finished", "stopped", "failed", "running", "interrupted")
    }
    goal = "largest" if definition.maximise else "smallest"
    listed = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    spent = duration(sum(trial.seconds for trial in trials))
    return f"{definition.method} search, the {goal} value wins · {listed} · {spent} of trials"


def _row(output: Path, trial: Trial, names: Sequence[str]) -> dict[str, Any]:
    run = run_folder(output, trial.number)
    return {
        "number": trial.number,
        "value": figure(trial.value),
        "cells": [short(trial.parameters[name]) for name in names],
        "status": trial.status,
        "time": duration(trial.seconds),
        "run": f"{run.relative_to(output)}/summary.html" if run is not None else None,
    }
