"""Images a second of the rows of a table, which take turns: what each of its methods costs.

    python experiments/benchmarks/table_rows.py experiments/paper/critics.yaml --output speed.json

The time of a whole training is no measure where the machine does other work, or slows down. Here
each row trains for a few steps by `python -m dim_lightning fit`, everything included, one row after
the other, and so round after round; the rate is that of the second of two short epochs.

Printed is each row's mean and spread over the rounds, and its ratio to the first row, round by
round.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from turns import say, summary

from dim_lightning.cli.table_job import setting
from dim_lightning.errors import InputError
from dim_lightning.run.environment import cpu_model
from dim_lightning.run.metrics import read_metrics
from dim_lightning.run.settings import flat_config
from dim_lightning.table.cell import Cell
from dim_lightning.table.commands import settings_words
from dim_lightning.table.definition import Row, chosen, read_table
from dim_lightning.writing import write_atomically


def measured(row: Row, steps: int) -> tuple[float, str]:
    """Images a second of a row, and the precision that it trains in."""
    with tempfile.TemporaryDirectory() as runs:
        words = settings_words(Cell(row, row.seeds[0], Path(runs), {}))
        words += ["--runs_dir", runs, "--experiment", "short", "--trainer.max_epochs", "2"]
        words += ["--trainer.limit_train_batches", str(steps), "--trainer.limit_val_batches", "0"]
        done = subprocess.run(
            [sys.executable, "-m", "dim_lightning", *words], capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(f"{row.name}: {done.stderr.strip()}")
        run = Path(runs) / "short" / "1"
        rate = read_metrics(run)["speed/images_per_second"][-1].value
        return rate, str(flat_config(run)["trainer.precision"])


def main() -> None:
    """Measure, print a line a row, write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("table", type=Path, help="a table file")
    parser.add_argument("--only", metavar="ROW,ROW", help="rows, by name; all if not given")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40, help="of each of the two short epochs")
    parser.add_argument("--output", type=Path, help="where to write the results as JSON")
    options = parser.parse_args()
    changes = dict(map(setting, options.set))
    rows = [r for r in chosen(read_table(options.table, changes), options.only) if not r.floor]
    rates: dict[str, list[float]] = {row.name: [] for row in rows}
    precisions = set()
    for _ in range(options.rounds):
        for row in rows:
            rate, precision = measured(row, options.steps)
            rates[row.name].append(rate)
            precisions.add(precision)
            print(f"{row.name} {rate:.0f}", flush=True)
    found = summary(rates, rows[0].name, "first")
    say(found, "first")
    if options.output:
        machine = {"torch": torch.__version__, "threads": torch.get_num_threads()}
        machine |= {"precision": ", ".join(sorted(precisions)), "processor": cpu_model()}
        content = {"table": options.table.name, **machine, "steps": options.steps, "rows": found}
        write_atomically(options.output, json.dumps(content, indent=1))


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
