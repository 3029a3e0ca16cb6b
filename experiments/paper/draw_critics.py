"""What the critics cost and bring, drawn from the table that `critics.yaml` makes.

    python -m dim_lightning table experiments/paper/critics.yaml
    python experiments/benchmarks/table_rows.py experiments/paper/critics.yaml --output speed.json
    python experiments/paper/draw_critics.py runs/paper_critics/table.csv speed.json --output \
        critics.png

One panel a figure of the table: accuracy against the time that an image takes in training, which
the benchmark measures row by row in turns: the minutes of trainings that ran one after the other
are also those of whatever else the machine did. What was varied is a line through the row that all
variations start from.
"""

import argparse
import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dim_lightning.run.curves import COLOURS, STYLE, figure_png
from dim_lightning.writing import write_atomically

START = "local and global critic of 512 units, 64 locations"
VARIED = {"local critic": 512, "global critic": 512, "location": 64}  # word of a row: START's
_LEAST_SPAN = 5.0  # percent points: ten standard errors of 10,000 images
_TICKS = [digit * 10.0**power for power in range(-3, 4) for digit in (1, 2, 3, 5)]
Point = tuple[int, float, float]  # what was set, ms an image, accuracy in percent


def points(rows: list[dict[str, str]], cost: Mapping[str, float]) -> dict[str, list[Point]]:
    """What was varied -> its values, in order, the common start among them.

    Args:
        rows: of the table's CSV file, of one figure.
        cost: row -> milliseconds an image.
    """
    found: dict[str, list[Point]] = {kind: [] for kind in VARIED}
    for row in rows:
        measured = cost[row["row"]], float(row["mean"])
        for kind, at_start in VARIED.items():
            if row["row"] == START:
                found[kind].append((at_start, *measured))
            elif kind in row["row"]:
                number = next(int(word) for word in row["row"].split() if word.isdigit())
                found[kind].append((number, *measured))
    return {kind: sorted(each) for kind, each in found.items()}


def draw_panel(
    axis: Any, heading: str, rows: list[dict[str, str]], cost: Mapping[str, float]
) -> None:
    """One figure of the table, each point with what was set."""
    for colour, (kind, found) in zip(COLOURS, points(rows, cost).items(), strict=False):
        _, taken, accuracy = zip(*found, strict=True)
        label = "locations" if kind == "location" else f"{kind}, units"
        axis.plot(taken, accuracy, marker="o", color=colour, label=label)
        for number, x, y in found:
            if number != VARIED[kind]:
                axis.annotate(f"{number:,}", (x, y), (4, 4), textcoords="offset points", fontsize=8)
    low, high = axis.get_ylim()
    half = max(_LEAST_SPAN, high - low) / 2  # what chance alone does is not to fill the panel
    span = ((low + high) / 2 - half, (low + high) / 2 + half)
    axis.set(title=f"{heading}, test accuracy, %", xlabel="ms an image in training", ylim=span)
    axis.set_xscale("log")
    low, high = axis.get_xlim()
    ticks = [tick for tick in _TICKS if low <= tick <= high]
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_xticks([], minor=True)


def draw(path: Path, speeds: Path) -> bytes:
    """The figure of the table's CSV file, as PNG.

    Args:
        path: of table.csv.
        speeds: what table_rows.py has written of the same table.

    Raises:
        SystemExit: no row of the table is done but the start, or not even that; or the speed of
            one that is done was not measured.
    """
    import matplotlib.pyplot as plt

    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["mean"]]
    known = json.loads(speeds.read_text(encoding="utf-8"))["rows"]
    cost = {name: 1000 / found["images_per_second"] for name, found in known.items()}
    if missing := sorted({row["row"] for row in rows} - set(cost)):
        raise SystemExit(f"{speeds}: has no speed of {', '.join(missing)}; measure it anew")
    headings = list(dict.fromkeys(row["heading"] for row in rows))
    if not any(row["row"] == START for row in rows) or len({row["row"] for row in rows}) < 2:
        raise SystemExit(f"{path}: row {START!r} and another one have to be done before drawing")
    with plt.rc_context(STYLE):
        size = (3.6 * len(headings), 3.6)
        figure, axes = plt.subplots(1, len(headings), figsize=size, dpi=120, layout="constrained")
        for axis, heading in zip(axes, headings, strict=True):
            draw_panel(axis, heading, [row for row in rows if row["heading"] == heading], cost)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
        content = figure_png(figure)
        plt.close(figure)
    return content


def main() -> None:
    """Draws what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("table", type=Path, help="table.csv")
    parser.add_argument("speeds", type=Path, help="what table_rows.py writes")
    parser.add_argument("--output", type=Path, required=True, help="a PNG file")
    options = parser.parse_args()
    write_atomically(options.output, draw(options.table, options.speeds))


if __name__ == "__main__":
    main()
