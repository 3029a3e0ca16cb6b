"""Minutes of training until the validation accuracy reaches given levels.

    python experiments/benchmarks/time_to_accuracy.py --runs runs/cifar10_fast_10/* --levels 50 60
    python experiments/benchmarks/time_to_accuracy.py --levels 30 40 50 --minutes 15 --rounds 3 \
        --fit experiments/cifar10/blog.yaml experiments/cifar10/fast_10.yaml --data.root data

Of finished runs, which are read only; or of the configs given with `--fit`, which are trained in
turn, each round with another seed, until `trainer.max_time` or their own end, with neighbours after
each epoch. Other options go to `fit`.

Counted are minutes of training, validation left out, up to the first validation that is as good as
the level; so no time is more exact than the validations are frequent. Runs of one experiment are
a row: median (range) of those that got there.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dim_lightning.errors import InputError
from dim_lightning.run.environment import cpu_model
from dim_lightning.run.folder import METRICS, RESULT, existing_run_folder, newest_run
from dim_lightning.run.metrics import read_metrics
from dim_lightning.run.report import KNN
from dim_lightning.run.result import read_result
from dim_lightning.writing import write_atomically

SPEED = "speed/images_per_second"


def minutes_to(run: Path, metric: str, levels: Sequence[float]) -> list[float | None]:
    """Minutes of training until a metric of the run first is at least each level; None if never.

    Args:
        run: its folder.
        metric: as metrics.csv names it.
        levels: in percent.

    Raises:
        InputError: the run has no such metric or no record of its speed, or began with another's
            checkpoint.
    """
    series, fit = read_metrics(run), read_result(run).get("fit", {})
    if SPEED not in series or not fit.get("images_seen"):
        raise InputError(
            f"{run} has no {SPEED} in {METRICS}, or no images_seen in {RESULT}; expected a run "
            "that finished an epoch"
        )
    if metric not in series:
        listed = ", ".join(sorted(series))
        raise InputError(f"{run / METRICS} has no {metric}; give --metric one of {listed}")
    # an epoch that was stopped and went on has a second speed, which is of the whole of it
    ends = {point.epoch: point for point in series[SPEED]}
    if min(ends) > 0:
        raise InputError(f"{run} began with another run's checkpoint; expected all of its training")
    steps = [0, *(end.step + 1 for end in ends.values())]
    seconds = np.diff(steps) * fit["images_seen"] / fit["steps"]
    seconds /= [end.value for end in ends.values()]
    minutes = [0.0, *np.cumsum(seconds / 60)]
    known = [point for point in series[metric] if point.step < steps[-1]]
    found: list[float | None] = []
    for level in levels:
        first = next((point.step + 1 for point in known if 100 * point.value >= level), None)
        found.append(None if first is None else float(np.interp(first, steps, minutes)))
    return found


def fit(config: Path, minutes: float, seed: int, runs: Path, words: Sequence[str]) -> Path:
    """Trains so many minutes; the run's folder."""
    hours, seconds = divmod(round(60 * minutes), 3600)
    time = f"{hours // 24:02}:{hours % 24:02}:{seconds // 60:02}:{seconds % 60:02}"
    name = f"time_to_accuracy_{config.parent.name}_{config.stem}"
    command = [sys.executable, "-m", "dim_lightning", "fit", "--config", str(config)]
    command += ["--runs_dir", str(runs), "--experiment", name, "--trainer.max_time", time]
    command += ["--seed_everything", str(seed), "--neighbours.every_n_epochs", "1", *words]
    code = subprocess.run(command, check=False).returncode
    if code:
        raise SystemExit(code)  # it has said why
    made = newest_run(runs / name)
    assert made is not None
    return made


def experiment(run: Path) -> str:
    """What runs of the same row share: the folder above their number and seed."""
    above = run.resolve().parent
    return (above.parent if re.fullmatch(r"seed\d+", above.name) else above).name


def line(name: str, rows: Sequence[dict[str, Any]], levels: Sequence[float]) -> str:
    """A row of the table: per level median (range) of the runs of an experiment, and how many."""
    cells = []
    for i in range(len(levels)):
        times = [row["minutes"][i] for row in rows if row["minutes"][i] is not None]
        reached = f"{len(times)} of {len(rows)}"
        if times:
            spread = f"{min(times):.2f} to {max(times):.2f}"
            reached = f"{statistics.median(times):.2f} ({spread}), {reached}"
        cells.append(reached)
    return f"| {name} | " + " | ".join(cells) + " |"


def main() -> None:
    """Trains if it is asked to, prints a table and writes JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--runs", type=Path, nargs="+", default=[], help="folders of runs")
    what.add_argument("--fit", type=Path, nargs="+", default=[], help="configs to train")
    parser.add_argument("--levels", type=float, nargs="+", required=True, help="percent")
    parser.add_argument("--metric", default=KNN, help="of metrics.csv")
    parser.add_argument("--minutes", type=float, default=10.0, help="that each is trained")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs_dir", type=Path, default=Path("runs"))
    parser.add_argument("--output", type=Path, help="a JSON file")
    options, words = parser.parse_known_args()
    if words and not options.fit:
        parser.error(f"{' '.join(words)}: expected options of fit only beside --fit")
    runs = [existing_run_folder(run) for run in options.runs]
    for seed in range(options.rounds if options.fit else 0):
        for config in options.fit:
            runs.append(fit(config, options.minutes, seed, options.runs_dir, words))
    rows = [
        {
            "experiment": experiment(run),
            "run": str(run),
            "minutes": minutes_to(run, options.metric, options.levels),
        }
        for run in runs
    ]
    print("| experiment | " + " | ".join(f"{level:g} %" for level in options.levels) + " |")
    print("|---|" + "---|" * len(options.levels))
    for name in dict.fromkeys(row["experiment"] for row in rows):
        print(line(name, [row for row in rows if row["experiment"] == name], options.levels))
    if options.output:
        setting = {"metric": options.metric, "levels": options.levels}
        setting |= {"processor": cpu_model()} if options.fit else {}
        text = json.dumps({"setting": setting, "rows": rows}, indent=1) + "\n"
        write_atomically(options.output, text)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
