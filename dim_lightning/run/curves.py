"""Curves of a run, and figures as inline SVG or as PNG."""

import io
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from dim_lightning.run.glossary import unit
from dim_lightning.run.metrics import Point
from dim_lightning.run.report import KNN, PROBE, RANK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.ImageFont import FreeTypeFont

COLOURS = ("#2563a8", "#d97706", "#2e8b57", "#8b5cf6", "#c2410c", "#64748b")
STYLE: Any = {  # matplotlib types its keys as one long Literal
    "svg.fonttype": "none",  # text stays text, in the page's own font
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "axes.edgecolor": "#94a3b8",
    "axes.labelcolor": "#475569",
    "axes.titlecolor": "#0f172a",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e2e8f0",
    "xtick.color": "#64748b",
    "ytick.color": "#64748b",
    "legend.frameon": False,
}
_STYLES = [{"color": colour} for colour in COLOURS]
_MOST_POINTS = 200
_LEGEND_ROW = 0.15  # of the curves' height, kept free above them
_CORNER, _SIZE = (0.1, 0.16), (0.88, 0.74)  # of the axes in a figure: bottom left, extent
_PAD = 0.01


class Curve(NamedTuple):
    """One line of a panel: its label, and value against epochs of training done."""

    label: str
    epochs: list[float]
    values: list[float]


class Panel(NamedTuple):
    """One picture of curves that share an axis."""

    title: str
    unit: str
    curves: list[Curve]


_INFORMATION = ("local", "global", "patches")
_TERMS = (
    *(*_INFORMATION, "reconstruction", "kl", "square_error", "square_distance"),
    *("encoder_generator", "prior", "discriminator"),
    *("coordinates", "relative_coordinates", "penalty"),
)
_NAMES = {"kl": "KL"}
_OWN = "val/top1"  # accuracy of the classifier of a network trained with labels
_SQUARES = {"train/square_error", "train/square_distance"}  # losses that are not in nats


def panels(series: Mapping[str, list[Point]], estimator: str = "") -> list[Panel]:
    """The pictures of a run: accuracies, loss, terms, geometry; only those that have data.

    Args:
        series: metric -> its values.
        estimator: import path of the trained one, on which the unit of its terms depends.
    """

    def curves(names: Mapping[str, str], factor: float = 1.0) -> list[Curve]:
        found = {n: label for n, label in names.items() if n in series}
        return [run_curve(label, series, name, factor) for name, label in found.items()]

    others = _others(series)
    made = [
        Panel(
            "Accuracy on validation images",
            "accuracy, %",
            curves(
                {PROBE: "online linear probe", KNN: "kNN, k = 20, cosine", _OWN: "own classifier"},
                100.0,
            ),
        ),
        Panel(
            "Loss",
            "" if _SQUARES & set(series) else unit("train/local", estimator),
            curves({"train/loss": "training", "val/loss": "validation"}),
        ),
        *(
            Panel(
                _term_title(name),
                "" if name in others else unit(f"train/{name}", estimator),
                curves({f"train/{name}": "training", f"val/{name}": "validation"}),
            )
            for name in (*_TERMS, *_reported(series), *others)
        ),
        Panel("Effective rank of the code", "dimensions", curves({RANK: "validation"})),
        Panel("Spread of the code", "std over images", curves(_spreads(series))),
    ]
    return [panel for panel in made if panel.curves]


def _reported(series: Mapping[str, list[Point]]) -> list[str]:
    """The terms that other estimators than the trained one gave, such as local_nwj."""
    return sorted(
        name
        for name in _trained_terms(series)
        if name.startswith(tuple(f"{t}_" for t in _INFORMATION))
    )


def _others(series: Mapping[str, list[Point]]) -> list[str]:
    """The terms of a method of somebody's own, by their names."""
    known = {"loss", "top1", *_TERMS, *_reported(series)}
    # Lightning gives what is logged both ways these endings
    twice = ("_step", "_epoch")
    terms = _trained_terms(series)
    return sorted(name for name in terms if name not in known and not name.endswith(twice))


def _trained_terms(series: Mapping[str, list[Point]]) -> list[str]:
    return [name.removeprefix("train/") for name in series if name.startswith("train/")]


def _term_title(name: str) -> str:
    information, _, estimator = name.partition("_")
    if information in _INFORMATION and estimator:
        return f"{information.capitalize()} term by {estimator}"
    return f"{_NAMES.get(name, name[:1].upper() + name[1:])} term".replace("_", " ")


def run_curve(
    label: str, series: Mapping[str, list[Point]], name: str, factor: float = 1.0
) -> Curve:
    """One metric of a run against the epochs of training done, its values times `factor`."""
    points, ends = series[name], epoch_ends(series)
    epochs = np.interp([point.step + 1 for point in points], list(ends.values()), list(ends))
    values = np.array([point.value for point in points]) * factor
    if len(values) > _MOST_POINTS:  # means over equal stretches, else the page grows by the hour
        parts = np.array_split(np.arange(len(values)), _MOST_POINTS)
        epochs = np.array([epochs[part].mean() for part in parts])
        values = np.array([values[part].mean() for part in parts])
    return Curve(label, epochs.tolist(), values.tolist())


def panel_svg(panel: Panel) -> str:
    """The picture of a panel, as an <svg> element, without the file's own heading."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    buffer = io.StringIO()
    with mpl.rc_context({**STYLE, "svg.hashsalt": panel.title}):
        figure = Figure(figsize=(5.4, 3.1))
        axes = figure.add_axes((*_CORNER, *_SIZE))
        draw_panel(axes, panel)
        _make_room(axes)
        # no date: the same run draws the same page
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def draw_panel(
    axes: "Axes", panel: Panel, styles: Sequence[Mapping[str, Any]] = _STYLES, legend: bool = True
) -> None:
    """Draws a panel's curves, with a legend where there are several.

    Args:
        axes: to draw into.
        panel: what to draw.
        styles: of each curve, in the words of matplotlib.
        legend: whether to name the curves.
    """
    for curve, style in zip(panel.curves, styles, strict=False):
        marker = "o" if len(curve.epochs) < 15 else None
        axes.plot(
            curve.epochs,
            curve.values,
            label=curve.label,
            marker=marker,
            markersize=3.5,
            linewidth=1.8,
            **style,
        )
    axes.set(title=panel.title, xlabel="epoch", ylabel=panel.unit)
    axes.margins(x=0.02)
    axes.ticklabel_format(useOffset=False)
    if legend and len(panel.curves) > 1:
        axes.legend(fontsize=9, loc=_free_corner(panel))
        low, high = axes.get_ylim()
        axes.set_ylim(top=high + _LEGEND_ROW * len(panel.curves) * (high - low))
    _whole_epochs(axes)


def _make_room(axes: "Axes") -> None:
    """Sets the margins that the labels of the y axis need, as others are of a known size.

    A layout engine finds the same, and takes as long as all the rest.
    """
    figure, (left, bottom), (width, height) = axes.figure, _CORNER, _SIZE
    for _ in range(2):  # in less height other labels may be chosen
        labels = axes.yaxis.get_tightbbox()
        if labels is None:
            return
        labels = labels.transformed(figure.transFigure.inverted())
        now = axes.get_position()
        above = max(0.0, labels.y1 - now.y1)  # a power of ten, below the title
        start = now.x0 - labels.x0 + _PAD
        axes.set_position((start, bottom, left + width - start, height - above))
        if not above:
            return


def _free_corner(panel: Panel) -> Literal["upper left", "upper right"]:
    """Where curves that rise, or fall, leave room; matplotlib's search for it takes its time."""
    rises = [curve.values[-1] - curve.values[0] for curve in panel.curves if curve.values]
    return "upper left" if sum(rises) > 0 else "upper right"


def figure_png(figure: "Figure") -> bytes:
    """A figure as a PNG, in its own resolution."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor="white")
    return buffer.getvalue()


def font(size: int, bold: bool = False) -> "FreeTypeFont":
    """The font that comes with matplotlib: present everywhere, and it knows many alphabets."""
    import matplotlib
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", name)), size)


def epoch_ends(series: Mapping[str, list[Point]]) -> dict[int, float]:
    """Epochs of training done -> optimiser steps done by then, from where the run began.

    A run that took up another's state began after the epochs and steps of that, which may have had
    epochs of another length. How long its own first was, and the last if it has not ended, is not
    logged: as long as the longest of the others, or, of a single epoch, as the mean of all before.
    Monitors of Lightning's own log without the epoch.
    """
    ends: dict[int, float] = {}
    for point in (point for points in series.values() for point in points if point.epoch >= 0):
        ends[point.epoch + 1] = max(ends.get(point.epoch + 1, 0.0), point.step + 1.0)
    if not ends:
        return {0: 0.0, 1: 1.0}
    first = min(ends)
    if first == 1:
        ends[0] = 0.0
    lengths = [(ends[b] - ends[a]) / (b - a) for a, b in pairwise(sorted(ends))]
    longest = max(lengths, default=ends[first] / first)
    ends.setdefault(first - 1, ends[first] - longest)
    *_, before, last = done = sorted(ends)
    ends[last] = max(ends[last], ends[before] + longest * (last - before))
    return {epochs: ends[epochs] for epochs in done}


def _spreads(series: Mapping[str, list[Point]]) -> dict[str, str]:
    names = [n for n in sorted(series) if n.startswith("geometry/") and "std" in n]
    return {n: n.removeprefix("geometry/").replace("_", " ") for n in names}


def _whole_epochs(axes: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator

    # of one tick alone as well, where a curve has one point
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
