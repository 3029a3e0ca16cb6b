"""Parallel coordinates as inline SVG: an axis a parameter, the metric last, a line a trial."""

import html
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from dim_lightning.errors import cut
from dim_lightning.sweep.definition import Definition, searched
from dim_lightning.sweep.record import Trial
from dim_lightning.sweep.space import Choice, Range

_WIDTH, _HEIGHT, _TOP, _BOTTOM, _SIDE = 1040, 400, 56, 24, 90
_WORST, _BEST, _NONE = (203, 213, 225), (37, 99, 168), "#f59e0b"
_NUM_TICKS = 5
_LONGEST = 18


class Axis(NamedTuple):
    """A vertical axis: its name, and where values lie on it, from 0 (below) to 1."""

    label: str
    ticks: list[tuple[float, str]]
    place: Callable[[Trial], float | None]


def parallel_coordinates(
    definition: Definition, trials: Sequence[Trial], texts: Callable[[Sequence[Any]], list[str]]
) -> str:
    """The figure as an <svg> element; a line is the bluer the better, and named when pointed at.

    Args:
        definition: the sweep.
        trials: the best first, so that they are drawn last, on top.
        texts: gives the values of a list as texts that tell them apart.
    """
    axes = [_axis(name, found, trials, texts) for name, found in searched(definition).items()]
    axes.append(_metric_axis(definition, trials))
    step = (_WIDTH - 2 * _SIDE) / max(len(axes) - 1, 1)
    xs = [_SIDE + i * step for i in range(len(axes))]
    shades = _shades(trials, definition.maximise)
    lines = [_line(trial, axes, xs, shades.get(trial.number)) for trial in reversed(trials)]
    drawn = [
        _draw_axis(axis, x, i, i == len(axes) - 1)
        for i, (axis, x) in enumerate(zip(axes, xs, strict=True))
    ]
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" class="coordinates" '
        f'aria-label="Parallel coordinates of {len(trials)} trials; the table below has the same" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(lines)}{"".join(drawn)}</svg>'
    )


def _axis(
    name: str,
    found: Choice | Range,
    trials: Sequence[Trial],
    texts: Callable[[Sequence[Any]], list[str]],
) -> Axis:
    if isinstance(found, Choice):
        count = len(found.values)
        places = [i / max(count - 1, 1) for i in range(count)]
        labels = _cut(texts(found.values))
        ticks = list(zip(places, labels, strict=True))
        return Axis(name, ticks, lambda trial: places[int(trial.point[name])])
    numbers = [float(trial.parameters[name]) for trial in trials]
    place, ticks = _scale(numbers, found.log)
    return Axis(name, ticks, lambda trial: place(float(trial.parameters[name])))


def _cut(labels: Sequence[str]) -> list[str]:
    """The labels, cut to what fits between two axes; what all begin with goes first."""
    columns = enumerate(zip(*labels, strict=False))
    shared = next((i for i, letters in columns if len(set(letters)) > 1), 0)
    if shared and max(map(len, labels)) > _LONGEST:
        labels = [f"…{label[shared - 1 :]}" for label in labels]
    return [cut(label, _LONGEST) for label in labels]


def _metric_axis(definition: Definition, trials: Sequence[Trial]) -> Axis:
    place, ticks = _scale([t.value for t in trials if t.value is not None], False)

    def of_trial(trial: Trial) -> float | None:
        return None if trial.value is None else place(trial.value)

    return Axis(definition.metric, ticks, of_trial)


def _scale(
    numbers: Sequence[float], log: bool
) -> tuple[Callable[[float], float], list[tuple[float, str]]]:
    """Where numbers lie between their smallest and largest, and the ticks there."""
    low, high = min(numbers, default=0.0), max(numbers, default=1.0)
    log = log and low > 0
    shape: Callable[[float], float] = math.log if log else float
    bottom, size = shape(low), shape(high) - shape(low)
    if not size:
        return lambda number: 0.5, [(0.5, f"{low:.3g}")] if numbers else []
    shares = [i / (_NUM_TICKS - 1) for i in range(_NUM_TICKS)]
    back: Callable[[float], float] = math.exp if log else float
    ticks = [(share, f"{back(bottom + share * size):.3g}") for share in shares]
    return lambda number: (shape(number) - bottom) / size, ticks


def _shades(trials: Sequence[Trial], maximise: bool) -> dict[int, float]:
    """Trial -> 0 for the worst to 1 for the best, by rank: one outlier greys nothing out."""
    ordered = sorted((t for t in trials if t.value is not None), key=lambda t: t.value or 0.0)
    if not maximise:
        ordered.reverse()
    return {t.number: (i + 1) / len(ordered) for i, t in enumerate(ordered)}


def _line(trial: Trial, axes: Sequence[Axis], xs: Sequence[float], shade: float | None) -> str:
    found = [(x, axis.place(trial)) for x, axis in zip(xs, axes, strict=True)]
    points = " ".join(f"{x:.1f},{_y(place):.1f}" for x, place in found if place is not None)
    colour, dash = _NONE, ' stroke-dasharray="4 4"'
    if shade is not None:
        pairs = zip(_WORST, _BEST, strict=True)
        colour = "rgb({},{},{})".format(*(round(a + shade * (b - a)) for a, b in pairs))
        dash = ""
    value = "no value" if trial.value is None else f"{trial.value:.4g}"
    return (
        f'<g class="trial"><polyline points="{points}" fill="none" stroke="{colour}" '
        f'stroke-width="2"{dash}/><polyline points="{points}" fill="none" stroke="transparent" '
        f'stroke-width="12"/><title>trial {trial.number} ({html.escape(trial.status)}): '
        f"{value}</title></g>"
    )


def _draw_axis(axis: Axis, x: float, index: int, last: bool) -> str:
    # names stand on two heights, or neighbours would run into each other; none leaves the figure
    edges = {0: (4, "start")} | ({index: (_WIDTH - 4, "end")} if last else {})
    centre, anchor = edges.get(index, (x, "middle"))
    name = html.escape(axis.label)
    parts = [
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}" stroke="#94a3b8"/>',
        f'<text x="{centre:.1f}" y="{20 + 18 * (index % 2)}" text-anchor="{anchor}" '
        f'class="name">{name}</text>',
    ]
    for place, label in axis.ticks:
        at = f'x="{x + 6:.1f}" y="{_y(place) + 4:.1f}"'
        parts.append(f'<text {at} class="tick">{html.escape(label)}</text>')
    return "".join(parts)


def _y(place: float) -> float:
    return _HEIGHT - _BOTTOM - place * (_HEIGHT - _TOP - _BOTTOM)
