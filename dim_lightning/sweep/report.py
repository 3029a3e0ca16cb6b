"""What a sweep found: a table for the screen, sweep.csv and sweep.html."""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dim_lightning.errors import cut
from dim_lightning.run.environment import mixed_pictures_note
from dim_lightning.run.folder import LAST_CHECKPOINT, SUMMARY
from dim_lightning.run.metrics import csv_text
from dim_lightning.run.own_code import mixed_code_note
from dim_lightning.run.page import rendered
from dim_lightning.run.report import duration
from dim_lightning.sweep.definition import Definition, searched
from dim_lightning.sweep.figure import parallel_coordinates
from dim_lightning.sweep.page import TEMPLATE
from dim_lightning.sweep.record import Trial, run_folder
from dim_lightning.sweep.space import Choice, Parameter
from dim_lightning.writing import write_atomically

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
            *shown(definition, trial),
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
    ordered = sorted(trials, key=lambda trial: trial.number)
    folders = {str(t.number): run_folder(output, t) for t in ordered if t.value is not None}
    runs = {number: run for number, run in folders.items() if run is not None}
    of = definition.name, "trials", runs
    return [*mixed_pictures_note(*of), *mixed_code_note(*of)]


def line(definition: Definition, trial: Trial, count: int) -> str:
    """A trial that starts or ends, in one line."""
    if trial.status == "running":
        values = zip(searched(definition), shown(definition, trial), strict=True)
        parts = [f"{name}={value}" for name, value in values]
        return f"trial {trial.number}/{count}  starts  {'  '.join(parts)}".rstrip()
    if trial.status == "failed":
        last = (trial.error or "").splitlines()[-1:]
        return f"trial {trial.number}/{count}  failed  {''.join(last)}"
    found = f"{definition.metric} {figure(trial.value)}" if trial.value is not None else ""
    time = duration(trial.seconds)
    return f"trial {trial.number}/{count}  {trial.status}  {found}  {time}".replace("    ", "  ")


def best_commands(output: Path, definition: Definition, trials: Sequence[Trial]) -> dict[str, str]:
    """What to do next -> the command, with the best trial; nothing if none has left a state."""
    best = next(iter(best_first(trials, definition.maximise)), None)
    run = None if best is None else run_folder(output, best)
    if best is None or best.value is None or run is None:
        return {}
    if not (run / LAST_CHECKPOINT).is_file():
        return {}
    start, place = "python -m dim_lightning", shlex.quote(str(run))
    elsewhere = f"--runs_dir runs --experiment {shlex.quote(definition.name)}"
    return {
        f"test the best, trial {best.number}": f"{start} test --run {place}",
        "train it anew": f"{start} fit --config {place}/config.yaml {elsewhere}",
    }


def shown(definition: Definition, trial: Trial) -> list[str]:
    """The values of the parameters that vary, each in a few characters."""
    return [
        cut(_among(found, trial.parameters[name]), _LONGEST)
        for name, found in searched(definition).items()
    ]


def _among(found: Parameter, value: Any) -> str:
    """A value, told apart from the others of its list."""
    if isinstance(found, Choice) and value in found.values:
        return told_apart(found.values)[found.values.index(value)]
    return _text(value)


def told_apart(values: Sequence[Any]) -> list[str]:
    """The values as texts; of several of one class only with the arguments that differ."""
    kinds = [value.get("class_path") if isinstance(value, Mapping) else None for value in values]
    texts = []
    for value, kind in zip(values, kinds, strict=True):
        if kind is None or kinds.count(kind) == 1:
            texts.append(_text(value))
            continue
        alike = [v.get("init_args") or {} for v, k in zip(values, kinds, strict=True) if k == kind]
        own = value.get("init_args") or {}
        differing = [n for n in own if any(n not in each or each[n] != own[n] for each in alike)]
        texts.append(_text({**value, "init_args": {name: own[name] for name in differing}}))
    return texts


def _text(value: Any) -> str:
    """A value, a class by its last name with its arguments."""
    if isinstance(value, Mapping) and "class_path" in value:
        arguments = value.get("init_args") or {}
        inner = ", ".join(f"{name}={_text(found)}" for name, found in arguments.items())
        return f"{str(value['class_path']).rpartition('.')[2]}({inner})"
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)


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
        run = run_folder(output, trial)
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
        figure=parallel_coordinates(definition, trials, told_apart),
        names=names,
        notes=notes(output, definition, trials),
        rows=[_row(output, definition, trial) for trial in trials],
        commands=best_commands(output, definition, trials),
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
    spent = duration(sum((trial.seconds for trial in trials), 0.0))
    return f"{definition.method} search, the {goal} value wins · {listed} · {spent} of trials"


def _row(output: Path, definition: Definition, trial: Trial) -> dict[str, Any]:
    run = run_folder(output, trial)
    page = None if run is None else run / SUMMARY
    return {
        "number": trial.number,
        "value": figure(trial.value),
        "cells": shown(definition, trial),
        "status": trial.status,
        "time": duration(trial.seconds),
        "run": page.relative_to(output) if page is not None and page.is_file() else None,
    }
