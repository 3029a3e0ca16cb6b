"""Finished runs side by side: one figure, their neighbours for the same queries, a table."""

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from dim_lightning.errors import InputError
from dim_lightning.run.compared import CLASS, METHOD, RunData, different, not_the_same
from dim_lightning.run.curves import (
    COLOURS,
    STYLE,
    Curve,
    Panel,
    draw_panel,
    figure_png,
    font,
    run_curve,
)
from dim_lightning.run.folder import PICTURES, write_atomically
from dim_lightning.run.metrics import METRICS, csv_text
from dim_lightning.run.report import KNN, PROBE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Axis = Literal["epochs", "minutes"]

_PANELS = (
    ("Online linear probe, validation", "accuracy, %", (PROBE,), 100.0),
    ("kNN (k = 20, cosine), validation", "accuracy, %", (KNN,), 100.0),
    ("Local term, validation", "nats", ("val/local", "train/local"), 1.0),
    ("Global term, validation", "nats", ("val/global", "train/global"), 1.0),
    ("Prior term, validation", "nats", ("val/prior", "train/prior"), 1.0),
)
_NEIGHBOURS = f"{PICTURES}/neighbours_cosine.png"


class Comparison(NamedTuple):
    """What was written, and what makes the runs hard to compare."""

    files: list[Path]
    warnings: list[str]
    table: str


def write_comparison(runs: Sequence[RunData], output: Path, against: Axis = "epochs") -> Comparison:
    """Draws figure, neighbours and table of `runs` into the folder `output`.

    Args:
        runs: from `load_runs`.
        output: an existing folder.
        against: what the curves are drawn against.

    Raises:
        InputError: minutes are asked for, and a run has no record of its speed.
    """
    untimed = [run.label for run in runs if not run.minutes]
    if against == "minutes" and untimed:
        raise InputError(
            f"{', '.join(untimed)} has no speed/images_per_second in {METRICS}; expected one value "
            "an epoch to draw against minutes; compare against epochs"
        )
    warnings = not_the_same(runs)
    figure = output / "comparison.png"
    write_atomically(figure, _curves_png(runs, warnings, against))
    files = [figure]
    sheet, neighbours = output / "neighbours.png", _neighbours_png(runs)
    if neighbours is None:
        sheet.unlink(missing_ok=True)  # that of a former comparison
    else:
        files.append(sheet)
        write_atomically(sheet, neighbours)
    rows = _rows(runs)
    files += [output / "comparison.md", output / "comparison.csv"]
    table = _markdown(rows)
    notes = "".join(f"\nNote: {warning}.\n" for warning in warnings)
    write_atomically(files[-2], f"{table}\n{notes}")
    write_atomically(files[-1], csv_text([rows[0], *(row.values() for row in rows)]))
    return Comparison(files, warnings, table)


def _curves_png(runs: Sequence[RunData], warnings: Sequence[str], against: Axis) -> bytes:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(14, 8), dpi=130, layout="constrained")
        axes = figure.subplots(2, 3).flatten()
        for place, panel in zip((0, 1, 3, 4, 5), _PANELS, strict=True):
            _draw_lines(axes[place], runs, against, *panel)
        _draw_bars(axes[2], runs)
        _name_runs(figure, runs)
        if warnings:
            figure.supxlabel("; ".join(warnings), fontsize=9, color="#c2410c", wrap=True)
        return figure_png(figure)


def _name_runs(figure: "Figure", runs: Sequence[RunData]) -> None:
    """One legend for all panels: the runs have the same colour everywhere."""
    from matplotlib.patches import Patch

    patches = [
        Patch(color=_colour(place), label=f"{run.label} ({run.epochs} epochs)")
        for place, run in enumerate(runs)
    ]
    figure.legend(handles=patches, loc="outside upper center", ncols=min(len(runs), 4), fontsize=11)


def _draw_lines(
    axes: "Axes",
    runs: Sequence[RunData],
    against: Axis,
    title: str,
    unit: str,
    keys: Sequence[str],
    factor: float,
) -> None:
    """One metric of every run that has it, each in its run's colour."""
    from matplotlib.ticker import AutoLocator

    colours, curves = [], []
    for place, run in enumerate(runs):
        key = next((key for key in keys if key in run.series), None)
        if key is not None:
            curve = run_curve(run.label, run.series, key, factor)
            curves.append(timed(curve, run.minutes) if against == "minutes" else curve)
            colours.append(_colour(place))
    draw_panel(axes, Panel(title, unit, curves), colours, legend=False)
    if against == "minutes":
        axes.set_xlabel("minutes of training")
        axes.xaxis.set_major_locator(AutoLocator())  # a short run's are no whole numbers
    if not curves:
        axes.set(xticks=[], yticks=[], xlabel="", ylabel="")
        axes.text(0.5, 0.5, "no run has it", ha="center", transform=axes.transAxes, color="#64748b")


def timed(curve: Curve, minutes: Sequence[float]) -> Curve:
    """The curve against minutes, in a straight line between the ends of epochs."""
    ends = range(len(minutes) + 1)
    return curve._replace(epochs=np.interp(curve.epochs, ends, [0.0, *minutes]).tolist())


def _draw_bars(axes: "Axes", runs: Sequence[RunData]) -> None:
    """The last accuracies, grouped by protocol, with the figure on each bar."""
    names = list(dict.fromkeys(name for run in runs for name in run.finals))
    width = 0.8 / len(runs)
    for place, run in enumerate(runs):
        found = [(i, 100 * run.finals[n]) for i, n in enumerate(names) if n in run.finals]
        bars = axes.bar(
            [i + (place - (len(runs) - 1) / 2) * width for i, _ in found],
            [value for _, value in found],
            width * 0.92,
            color=_colour(place),
        )
        axes.bar_label(bars, fmt="%.1f", fontsize=8, color="#334155", padding=2)
    axes.set_xticks(range(len(names)), [re.sub(" (?=linear|kNN)", "\n", name) for name in names])
    axes.set(title="Final accuracy", ylabel="accuracy, %")
    axes.margins(y=0.12)
    axes.grid(False, axis="x")


def _neighbours_png(runs: Sequence[RunData]) -> bytes | None:
    """The runs' neighbour pictures beside one another, named; None if a run has none."""
    from PIL import Image, ImageDraw

    paths = [run.folder / _NEIGHBOURS for run in runs]
    if not all(path.is_file() for path in paths):
        return None
    pictures = [Image.open(path).convert("RGB") for path in paths]
    heading, gap = 44, 24
    height = max(picture.height for picture in pictures) + heading
    width = sum(picture.width for picture in pictures) + gap * (len(pictures) - 1)
    sheet = Image.new("RGB", (width, height), "white")
    draw, left = ImageDraw.Draw(sheet), 0
    for run, picture in zip(runs, pictures, strict=True):
        draw.text((left + 8, 8), run.label, fill="#0f172a", font=font(22))
        sheet.paste(picture, (left, heading))
        left += picture.width + gap
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def _rows(runs: Sequence[RunData]) -> list[dict[str, str]]:
    """A row a run: the model's settings that differ, epochs, and the last accuracies."""
    differing = _differing(runs)
    names = list(dict.fromkeys(name for run in runs for name in run.finals))
    rows = []
    for run in runs:
        row = {"run": run.label}
        row |= {_heading(k): _short(str(run.config.get(k, ""))) for k in differing}
        row["epochs"] = str(run.epochs)
        row |= {f"{n}, %": f"{100 * run.finals[n]:.1f}" if n in run.finals else "" for n in names}
        rows.append(row)
    return rows


def _differing(runs: Sequence[RunData]) -> list[str]:
    """The method and its settings that differ, but for the arguments of classes that differ."""
    keys = sorted({k for run in runs for k in run.config if k.startswith("model.")})
    if len({run.config.get(METHOD) for run in runs}) > 1:  # each has settings of its own
        keys = [METHOD, *(k for k in keys if all(k in run.config for run in runs))]
    return different(runs, keys)


def _heading(key: str) -> str:
    return key.removeprefix("model.").removesuffix(CLASS)


def _short(value: str) -> str:
    """The last name of an import path; anything else as it is."""
    names = value.split(".")
    return names[-1] if all(name.isidentifier() for name in names) else value


def _markdown(rows: Sequence[Mapping[str, str]]) -> str:
    header = list(rows[0])
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(row[name] for name in header) + " |" for row in rows]
    return "\n".join(lines)


def _colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]
