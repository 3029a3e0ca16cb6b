r"""Accuracy against epochs of one long training, and what the curve promises for the paper's 1,000.

    python experiments/paper/curve.py experiments/paper/cifar10/vae.yaml --epochs 5 10 20 40 80
    python experiments/paper/curve.py experiments/paper/cifar10/dim_l_infonce.yaml \
        --epochs 10 20 40 --model.local_critic.width 512 --evaluation.linear_dim 1024

Trains to each number of epochs in turn, tests there, and goes on: one run, whose learning rate has
to stay constant. Other options go to `fit`. Stopped or killed, it goes on with the same command,
and further with more numbers, also on another machine to which the run's folder was copied. With
`--minutes M` it stops by itself: after M minutes training saves its state and ends.

Writes, into the run's folder, curve.json, a row a test as they come, and curve.png. From four
numbers of epochs on, to each layer's accuracies is fitted a - b n^-c by least squares, n the
epochs. What that is at 1,000 stands beside the paper's number, with two standard errors below and
above, by the jackknife over the points. Where the points do not tell how high the curve will get
(the least c that is tried, or a above 100 %), it is "no limit seen".

The two last rows of the table are the last point, and what the points before it promised for it:
how the fit does over the last step, often a factor of two. That is no check of the guess, which
reaches further: from 80 epochs 12.5 times as far.
"""

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dim_lightning.cli.ending import StoppedError
from dim_lightning.cli.resolved import Resolved
from dim_lightning.errors import InputError
from dim_lightning.run.accuracies import flat_figures
from dim_lightning.run.curves import COLOURS, STYLE, figure_png
from dim_lightning.run.environment import full_command
from dim_lightning.run.folder import CONFIG, newest_run
from dim_lightning.run.result import read_result
from dim_lightning.run.settings import WHERE, belongs, differing, flat_settings
from dim_lightning.run.signals import terminable
from dim_lightning.table.definition import read_table
from dim_lightning.writing import write_atomically

TABLE = Path(__file__).parent / "cifar10.yaml"
GOAL, FEWEST = 1000, 4
POWERS = np.linspace(0.05, 3.0, 296)
FILE, FIGURE = "curve.json", "curve.png"
# what may be another one when the run goes on; how far it trains is what the curve is about
FREE = (*WHERE, "runs_dir", "experiment", "trainer.max_epochs")


class Power(NamedTuple):
    """a - b n^-c."""

    a: float
    b: float
    c: float

    def __call__(self, n: float) -> float:
        """What it is after n epochs."""
        return self.a - self.b * n**-self.c

    @property
    def has_limit(self) -> bool:
        """Whether it tends to a percentage, by an exponent that is not the least of the grid."""
        return self.c > POWERS[0] and self.a <= 100


def fitted(epochs: Sequence[float], values: Sequence[float]) -> Power:
    """The curve of least squares: for each c of a grid, a and b are a linear problem."""
    powers = -(np.asarray(epochs, float) ** -POWERS[:, None])
    design = np.stack([np.ones_like(powers), powers], axis=2)  # [c, n, 2]
    solved = np.linalg.pinv(design) @ np.asarray(values)
    errors = ((design @ solved[:, :, None])[:, :, 0] - values) ** 2
    best = int(errors.sum(axis=1).argmin())
    return Power(*solved[best].tolist(), float(POWERS[best]))


def promised(
    epochs: Sequence[float], values: Sequence[float], goal: float
) -> tuple[float, float, float] | None:
    """What the curve is after `goal` epochs, less and plus two standard errors; None without limit.

    In percent, as `values` are. The errors are the jackknife's (Tukey, 1958), of the fits without
    one of the points each. With the noise of 10,000 test images the range holds the true value
    about nine times in ten.
    """
    curve, n = fitted(epochs, values), len(epochs)
    if not curve.has_limit:
        return None
    rest = [
        fitted([*epochs[:i], *epochs[i + 1 :]], [*values[:i], *values[i + 1 :]])(goal)
        for i in range(n)
    ]
    half = 2 * math.sqrt(n - 1) * float(np.std(rest))
    value = curve(goal)
    return value, value - half, value + half


def train(folder: Path, config: Path, epochs: int, words: Sequence[str], seconds: float) -> bool:
    """Trains to a number of epochs, from where the run stands; whether it came there in time."""
    run = newest_run(folder)
    start = ["fit", "--resume", str(run)]
    if run is None:
        place = ["--runs_dir", str(folder.parent), "--experiment", folder.name]
        start = ["fit", "--config", str(config), *place]
    return _command([*start, *words, "--trainer.max_epochs", str(epochs)], seconds)


def measured(run: Path, epochs: int) -> dict[str, Any]:
    """The figures of `test` after so many epochs.

    Raises:
        InputError: the run has not come there.
    """
    trained = read_result(run)["fit"]["epochs"]
    if trained != epochs:
        raise InputError(
            f"{run} ended after {trained} of {epochs} epochs; leave out the options that end it "
            "before, such as trainer.max_steps"
        )
    _command(["test", "--run", str(run)], math.inf)
    result = read_result(run)
    return {
        "epochs": trained,
        "seconds": result["fit"]["seconds"],
        "figures": flat_figures(result["test"]),
    }


def _command(words: Sequence[str], seconds: float) -> bool:
    """Runs a command; whether it ended by itself within so many seconds.

    Whatever ends this script ends the command as well, which saves its state first.
    """
    command = [sys.executable, "-m", "dim_lightning", *words]
    print("$", full_command(list(words)), flush=True)
    process = subprocess.Popen(command)
    try:
        code = process.wait(None if math.isinf(seconds) else seconds)
    except subprocess.TimeoutExpired:
        return False
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    if code:
        raise SystemExit(code)  # it has said why
    return True


def series(rows: Sequence[Mapping[str, Any]], key: str) -> tuple[list[int], list[float]]:
    """Epochs and percent of one figure."""
    found = [(row["epochs"], 100 * row["figures"][key]) for row in rows if key in row["figures"]]
    return [n for n, _ in found], [value for _, value in found]


def columns_of(config: Path) -> dict[str, tuple[str, float | None]]:
    """Figure -> its heading and the paper's number, of the row of the table with this config."""
    table = read_table(TABLE)
    row = next((r for r in table.rows if r.config and r.config.samefile(config)), None)
    paper = {} if row is None else row.paper
    return {key: (heading, paper.get(heading)) for key, heading in table.columns.items()}


def text(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, tuple[str, float | None]]) -> str:
    """The table, in Markdown."""
    known = [key for key in columns if series(rows, key)[0]]
    lines = ["| epochs | " + " | ".join(columns[key][0] for key in known) + " |"]
    lines.append("|---|" + "---|" * len(known))
    for row in rows:
        cells = [f"{100 * row['figures'][k]:.2f}" if k in row["figures"] else "" for k in known]
        lines.append(f"| {row['epochs']} | " + " | ".join(cells) + " |")
    each = [series(rows, key) for key in known]
    if len(rows) >= FEWEST:
        guesses = [_guess(promised(*s, GOAL)) for s in each]
        lines.append(f"| fitted, {GOAL} | " + " | ".join(guesses) + " |")
    papers = [columns[key][1] for key in known]
    lines.append(f"| paper, {GOAL} | " + " | ".join(map(_number, papers)) + " |")
    if len(rows) > FEWEST:
        last = [f"{s[1][-1]:.2f}" for s in each]
        before = [f"{fitted(s[0][:-1], s[1][:-1])(s[0][-1]):.2f}" for s in each]
        lines.append(f"| {rows[-1]['epochs']}, as measured | " + " | ".join(last) + " |")
        lines.append(f"| {rows[-1]['epochs']}, by the others | " + " | ".join(before) + " |")
    return "\n".join(lines)


def _guess(found: tuple[float, float, float] | None) -> str:
    return "no limit seen" if found is None else "{:.1f} ({:.1f} to {:.1f})".format(*found)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def draw(
    rows: Sequence[Mapping[str, Any]], columns: Mapping[str, tuple[str, float | None]]
) -> bytes:
    """The figure, as PNG: points, fitted curves, and the paper's numbers as stars."""
    import matplotlib.pyplot as plt

    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(7, 4.2), dpi=120, layout="constrained")
        for colour, (key, (heading, paper)) in zip(COLOURS, columns.items(), strict=False):
            epochs, values = series(rows, key)
            if not epochs:  # the encoder has no such layer, or the method no classifier
                continue
            guess = promised(epochs, values, GOAL) if len(epochs) >= FEWEST else None
            unknown = ", no limit seen" if len(epochs) >= FEWEST and guess is None else ""
            axes.plot(epochs, values, "o", color=colour, label=heading + unknown)
            if guess is not None:
                grid = np.geomspace(epochs[0], GOAL, 100)
                axes.plot(grid, [fitted(epochs, values)(n) for n in grid], color=colour)
                axes.plot([GOAL, GOAL], guess[1:], color=colour, linewidth=3, alpha=0.4)
            if paper is not None:
                axes.plot([GOAL], [paper], "*", color=colour, markersize=12)
        axes.set(xscale="log", xlabel="epochs", ylabel="test accuracy, %")
        axes.set_title("points: measured; stars: the paper's; bars: fit ± 2 standard errors")
        axes.legend(frameon=False, fontsize=8, loc="upper left")
        content = figure_png(figure)
        plt.close(figure)
    return content


def check(config: Path, words: Sequence[str], run: Path | None) -> None:
    """Looks at whether the learning rate is constant, and the run one with these settings.

    Raises:
        InputError: there is no such file, it has a schedule, or the run is another one.
    """
    if not config.is_file():
        raise InputError(f"there is no configuration {config}")
    asked = flat_settings(Resolved(["fit", "--config", str(config), *words]).settings)
    if any(belongs(key, ("model.lr_scheduler",)) and value for key, value in asked.items()):
        raise InputError(
            f"{config} or an option sets model.lr_scheduler; expected a constant learning rate, as "
            "a schedule makes a training of 10 epochs no beginning of one of 20; leave it out"
        )
    if run is None:
        return
    stored = flat_settings(Resolved(["fit", "--config", str(run / CONFIG)]).settings)
    found = [change for change in differing(stored, asked) if not belongs(change[0], FREE)]
    if found:
        listed = "".join(f"\n  {name}: asked {new}, stored {old}" for name, old, new in found)
        raise InputError(
            f"{run} is a training with other settings:{listed}\n"
            "give those again, or another --runs_dir"
        )


def main() -> None:
    """Does what is missing, prints the table, writes the figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    parser.add_argument("config", type=Path)
    parser.add_argument("--epochs", type=int, nargs="+", required=True)
    parser.add_argument("--runs_dir", type=Path, default=Path("runs"))
    parser.add_argument("--minutes", type=float, default=math.inf)
    options, words = parser.parse_known_args()
    end = time.monotonic() + 60 * options.minutes
    folder = options.runs_dir / f"{options.config.stem}_curve"
    check(options.config, words, newest_run(folder))
    rows = _rows(newest_run(folder))
    for epochs in sorted(options.epochs):
        if any(row["epochs"] >= epochs for row in rows):
            continue
        left = max(0.0, end - time.monotonic())
        if not left or not train(folder, options.config, epochs, words, left):
            print(f"{options.minutes:g} minutes are over; the same command goes on")
            break
        run = newest_run(folder)
        assert run is not None
        rows.append(measured(run, epochs))
        write_atomically(run / FILE, json.dumps(rows, indent=1) + "\n")
    _show(options.config, newest_run(folder), rows)


def _rows(run: Path | None) -> list[dict[str, Any]]:
    """What was measured before."""
    file = None if run is None else run / FILE
    return json.loads(file.read_text("utf-8")) if file is not None and file.is_file() else []


def _show(config: Path, run: Path | None, rows: Sequence[Mapping[str, Any]]) -> None:
    if run is None or not rows:
        return
    columns = columns_of(config)
    write_atomically(run / FIGURE, draw(rows, columns))
    print(text(rows, columns))
    print(run / FIGURE)


if __name__ == "__main__":
    try:
        with terminable():
            main()
    except InputError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt as stop:
        print("stopped; the same command goes on", file=sys.stderr)
        sys.exit(StoppedError(stop).code)
