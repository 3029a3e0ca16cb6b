"""What the critics cost and bring, drawn from the table that `critics.yaml` makes.

    python -m dim_lightning table experiments/paper/critics.yaml
    python experiments/paper/draw_critics.py runs/paper_critics/table.csv --output critics.png

One panel a figure of the table: accuracy against the minutes of training. What was varied is a line
through the row that all variations start from.
"""

import argparse
import csv
import io
from pathlib import Path
from typing import Any

from dim_lightning.run.curves import COLOURS, STYLE
from dim_lightning.run.folder import write_atomically

START = "local and global critic of 512 units, 64 locations"
VARIED = {"local critic": 512, "global critic": 512, "location": 64}  # word of a row: START's
_LEAST_SPAN = 5.0  # percent points: ten standard errors of 10,000 images
Point = tuple[int, float, float]  # what was set, minutes, accuracy in percent


def points(rows: list[dict[str, str]]) -> dict[str, list[Point]]:
    """What was varied -> its values, in order, the common start among them."""
    found: dict[str, list[Point]] = {kind: [] for kind in VARIED}
    for row in rows:
        measured = float(row["seconds"]) / 60, float(row["mean"])
        for kind, at_start in VARIED.items():
            if row["row"] == START:
                found[kind].append((at_start, *measured))
            elif kind in row["row"]:
                number = next(int(word) for word in row["row"].split() if word.isdigit())
                found[kind].append((number, *measured))
    return {kind: sorted(each) for kind, each in found.items()}


def draw_panel(axis: Any, heading: str, rows: list[dict[str, str]]) -> None:
    """One figure of the table, each point with what was set."""
    for colour, (kind, found) in zip(COLOURS, points(rows).items(), strict=False):
        _, minutes, accuracy = zip(*found, strict=True)
        label = "locations" if kind == "location" else f"{kind}, units"
        axis.plot(minutes, accuracy, marker="o", color=colour, label=label)
        for number, x, y in found:
            if number != VARIED[kind]:
                axis.annotate(f"{number:,}", (x, y), (4, 4), textcoords="offset points", fontsize=8)
    low, high = axis.get_ylim()
    half = max(_LEAST_SPAN, high - low) / 2  # what chance alone does is not to fill the panel
    span = ((low + high) / 2 - half, (low + high) / 2 + half)
    axis.set(title=f"{heading}, test accuracy, %", xlabel="minutes of training", ylim=span)


def draw(path: Path) -> bytes:
    """The figure of the table's CSV file, as PNG.

    Raises:
        SystemExit: no row of the table is done but the start, or not even that.
    """
    import matplotlib.pyplot as plt

    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["mean"] and row["seconds"]]
    headings = list(dict.fromkeys(row["heading"] for row in rows))
    if not any(row["row"] == START for row in rows) or len({row["row"] for row in rows}) < 2:
        raise SystemExit(f"{path}: row {START!r} and another one have to be done before drawing")
    with plt.rc_context(STYLE):
        size = (3.6 * len(headings), 3.6)
        figure, axes = plt.subplots(1, len(headings), figsize=size, layout="constrained")
        for axis, heading in zip(axes, headings, strict=True):
            draw_panel(axis, heading, [row for row in rows if row["heading"] == heading])
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=120)
        plt.close(figure)
    return buffer.getvalue()


def main() -> None:
    """Draws what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("table", type=Path, help="table.csv")
    parser.add_argument("--output", type=Path, required=True, help="a PNG file")
    options = parser.parse_args()
    write_atomically(options.output, draw(options.table))


if __name__ == "__main__":
    main()
