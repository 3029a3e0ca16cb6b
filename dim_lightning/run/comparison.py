"""Finished runs side by side: one figure, their neighbours for the same queries, a table."""

import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from dim_lightning.errors import InputError
from dim_lightning.run.compared import (
    CLASS,
    METHOD,
    STAGES,
    RunData,
    different,
    not_the_same,
    short,
)
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
from dim_lightning.run.folder import PICTURES
from dim_lightning.run.glossary import unit
from dim_lightning.run.metrics import METRICS, csv_text
from dim_lightning.run.report import KNN, PROBE
from dim_lightning.run.settings import estimator_of
from dim_lightning.writing import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Axis = Literal["epochs", "minutes"]

_ACCURACIES = {PROBE: "Online linear probe", KNN: "kNN (k = 20, cosine)"}
_TERMS = ("local", "global", "prior")
_SIZE, _DPI = (14.0, 8.0), 130  # inches; a row of the legend beyond the first comes on top
_LEGEND_FONT, _LEGEND_ROW = 11, 0.24  # points, inches
# of the runs that have the same colours again: lines, points and bars
_DASHES, _POINTS, _HATCHES = (
    ("-", "--", ":", "-."),
    ("full", "none", "left", "top"),
    ("", "////", "....", "xxxx"),
)
_FEW_BARS, _MANY_BARS = 12, 28  # whose figures fit side by side, and upright
_FEW_GROUPS = 4  # whose names fit side by side
_NAMES = {"val": "validation", "train": "training"}
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
        output: an existing folder; comparison.csv has every accuracy of the tests, the table for
            people the last of each run.
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
    most = len(COLOURS) * len(_DASHES)
    if len(runs) > most:
        warnings.append(f"of more than {most} runs some are drawn alike")
    figure = output / "comparison.png"
    write_atomically(figure, _curves_png(runs, warnings, against))
    files = [figure]
    sheet, neighbours = output / "neighbours.png", _neighbours_png(runs)
    if neighbours is None:
        sheet.unlink(missing_ok=True)  # that of a former comparison
    else:
        files.append(sheet)
        write_atomically(sheet, neighbours)
    rows = _rows(runs, [run.finals for run in runs])
    of_tests = _rows(runs, [run.finals | run.accuracies for run in runs])
    files += [output / "comparison.md", output / "comparison.csv"]
    table = _markdown(rows)
    notes = "".join(f"\nNote: {warning}.\n" for warning in warnings)
    write_atomically(files[-2], f"{table}\n{notes}")
    write_atomically(files[-1], csv_text([of_tests[0], *(row.values() for row in of_tests)]))
    return Comparison(files, warnings, table)


def _curves_png(runs: Sequence[RunData], warnings: Sequence[str], against: Axis) -> bytes:
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        return figure_png(_figure(runs, warnings, against))


def _figure(runs: Sequence[RunData], warnings: Sequence[str], against: Axis) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE, dpi=_DPI, layout="constrained")
    axes = figure.subplots(2, 3).flatten()
    for place, (key, what) in enumerate(_ACCURACIES.items()):
        _draw_lines(axes[place], runs, against, f"{what}, validation", key)
    _draw_bars(axes[2], runs)
    for place, term in enumerate(_TERMS, 3):
        stage = _stage(runs, term)
        what = f"{term.capitalize()} term, {_NAMES[stage]}"
        _draw_lines(axes[place], runs, against, what, f"{stage}/{term}")
    _name_runs(figure, runs)
    if warnings:
        figure.supxlabel("; ".join(warnings), fontsize=9, color="#c2410c", wrap=True)
    return figure


def _stage(runs: Sequence[RunData], term: str) -> str:
    """That of which all runs with this term have it; of several views the two are no equals."""
    found = [{stage for stage in STAGES if f"{stage}/{term}" in run.series} for run in runs]
    having = [stages for stages in found if stages]
    return next((s for s in STAGES if all(s in stages for stages in having)), STAGES[0])


def _name_runs(figure: "Figure", runs: Sequence[RunData]) -> None:
    """One legend for all panels: a run is drawn alike everywhere."""
    from matplotlib.legend_handler import HandlerTuple
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    labels = [f"{run.label} ({run.epochs} epochs)" for run in runs]
    handles: list[Any] = [Patch(**_bar_style(place)) for place in range(len(runs))]
    handle_length = 2  # like the spaces around it, in the size of the font
    if len(runs) > len(COLOURS):  # then lines differ by their dashes and bars by their hatches
        lines = [Line2D([], [], linewidth=1.8, **_line_style(n)) for n in range(len(runs))]
        handles, handle_length = list(zip(handles, lines, strict=True)), 4
    pixels = round(_LEGEND_FONT * _DPI / 72)
    widest = (handle_length + 3) * pixels + max(map(font(pixels).getlength, labels))
    columns = min(len(runs), 4, max(1, int(_SIZE[0] * _DPI / widest)))
    figure.set_figheight(_SIZE[1] + _LEGEND_ROW * (math.ceil(len(runs) / columns) - 1))
    figure.legend(
        handles,
        labels,
        loc="outside upper center",
        ncols=columns,
        fontsize=_LEGEND_FONT,
        handlelength=handle_length,
        handler_map={tuple: HandlerTuple(ndivide=None)},
    )


def _draw_lines(
    axes: "Axes",
    runs: Sequence[RunData],
    against: Axis,
    title: str,
    key: str,
) -> None:
    """One metric of every run that has it, each in its run's colour and dashes."""
    from matplotlib.ticker import AutoLocator

    factor = 100.0 if key in _ACCURACIES else 1.0
    styles, curves, units = [], [], set()
    for place, run in enumerate(runs):
        if key in run.series:
            units.add("accuracy, %" if key in _ACCURACIES else unit(key, estimator_of(run.config)))
            curve = run_curve(run.label, run.series, key, factor)
            curves.append(timed(curve, run.minutes) if against == "minutes" else curve)
            styles.append(_line_style(place))
    axis = units.pop() if len(units) == 1 else ""
    draw_panel(axes, Panel(title, axis, curves), styles, legend=False)
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
    """The last accuracies, grouped by protocol, with the figure on each bar if there is room."""
    names = list(dict.fromkeys(name for run in runs for name in run.finals))
    width, count = 0.8 / len(runs), len(runs) * len(names)
    for place, run in enumerate(runs):
        found = [(i, 100 * run.finals[n]) for i, n in enumerate(names) if n in run.finals]
        bars = axes.bar(
            [i + (place - (len(runs) - 1) / 2) * width for i, _ in found],
            [value for _, value in found],
            width * 0.92,
            **_bar_style(place),
        )
        if count <= _MANY_BARS:
            turn = 0 if count <= _FEW_BARS else 90
            axes.bar_label(bars, fmt="%.1f", fontsize=8, color="#334155", padding=2, rotation=turn)
    if len(names) <= _FEW_GROUPS:
        labels = [re.sub(" (?=linear|kNN|among)", "\n", name) for name in names]
        axes.set_xticks(range(len(names)), labels, fontsize=8.5)
    else:
        axes.set_xticks(range(len(names)), names, rotation=30, ha="right", rotation_mode="anchor")
    axes.set(title="Final accuracy", ylabel="accuracy, %")
    axes.margins(y=0.12)
    axes.grid(False, axis="x")


def _neighbours_png(runs: Sequence[RunData]) -> bytes | None:
    """The runs' neighbour pictures beside one another, named; None if a run has none."""
    from PIL import Image, ImageDraw

    paths = [run.folder / _NEIGHBOURS for run in runs]
    if not all(path.is_file() for path in paths):
        return None
    pictures = [Image.open(path, formats=["PNG"]).convert("RGB") for path in paths]
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


def _rows(
    runs: Sequence[RunData], accuracies: Sequence[Mapping[str, float]]
) -> list[dict[str, str]]:
    """A row a run: the model's settings that differ, epochs, and its accuracies."""
    differing = _differing(runs)
    names = list(dict.fromkeys(name for own in accuracies for name in own))
    rows = []
    for run, own in zip(runs, accuracies, strict=True):
        row = {"run": run.label}
        row |= {_heading(k): short(str(run.config.get(k, ""))) for k in differing}
        row["epochs"] = str(run.epochs)
        row |= {f"{n}, %": f"{100 * own[n]:.1f}" if n in own else "" for n in names}
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


def _markdown(rows: Sequence[Mapping[str, str]]) -> str:
    header = list(rows[0])
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(row[name] for name in header) + " |" for row in rows]
    return "\n".join(lines)


def _line_style(place: int) -> dict[str, Any]:
    colour, turn = _colour(place)
    return {"color": colour, "linestyle": _DASHES[turn], "fillstyle": _POINTS[turn]}


def _bar_style(place: int) -> dict[str, Any]:
    colour, turn = _colour(place)
    return {"facecolor": colour, "edgecolor": "white", "linewidth": 0, "hatch": _HATCHES[turn]}


def _colour(place: int) -> tuple[str, int]:
    """Of a run, and how often it was had before."""
    return COLOURS[place % len(COLOURS)], place // len(COLOURS) % len(_DASHES)
