"""Seconds of a command: `--help`, `fit --help`, and `fit` until its first training step.

    python experiments/benchmarks/start_up.py --root data --output start_up.json
    python experiments/benchmarks/start_up.py --configs experiments/digits/blog.yaml --repeats 10

Each command is started anew, in turn, so that what else the machine does falls on all of them. The
first round fills the caches (decoded pictures, bytecode, files) and is not counted. `processor` is
user and system time of the process, `clock` is the time from its start, both until the help is
written or the first training step begins.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback

from dim_lightning.writing import write_atomically

_STARTED = "START_UP_CLOCK"
_HERE = Path(__file__).resolve()


class FirstStep(Callback):
    """Ends the process when training begins."""

    def on_train_batch_start(self, *_: Any) -> None:
        """Writes down what the start took."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        took = {
            "clock": time.time() - float(os.environ[_STARTED]),
            "processor": used.ru_utime + used.ru_stime,
        }
        sys.stdout.write(f"\n{json.dumps(took)}\n")
        sys.stdout.flush()
        os._exit(0)


def measure(words: list[str]) -> dict[str, float]:
    """Seconds of one command."""
    paths = [str(_HERE.parents[2]), str(_HERE.parent)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), _STARTED: str(time.time())}
    before, clock = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "dim_lightning", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    clock = time.perf_counter() - clock
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if "--help" not in words:
        return json.loads(done.stdout.splitlines()[-1])
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"clock": clock, "processor": used}


def commands(configs: list[Path], data: list[str], folder: str) -> dict[str, list[str]]:
    """What is measured, by name."""
    found = {"--help": ["--help"], "fit --help": ["fit", "--help"]}
    for path in configs:
        words = ["fit", "--config", str(path), *data, "--runs_dir", folder]
        words += ["--trainer.callbacks=start_up.FirstStep"]
        found[f"fit {path.parent.name}/{path.name}"] = words
    return found


def summary(name: str, rows: list[dict[str, Any]]) -> str:
    """Median and range of the rounds that count."""
    cells = []
    for key in ("processor", "clock"):
        found = [row[key] for row in rows if row["command"] == name and row["round"]]
        cells.append(f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})")
    return f"| `{name}` | {' | '.join(cells)} | {len(found)} |"


def main() -> None:
    """Measures, prints a table and writes it as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    default = [_HERE.parents[1] / name / "blog.yaml" for name in ("digits", "cifar10")]
    parser.add_argument("--configs", type=Path, nargs="+", default=default)
    parser.add_argument("--root", default="data", help="where the pictures lie")
    parser.add_argument("--cache_dir", help="where they lie decoded")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path)
    chosen = parser.parse_args()
    data = ["--data.root", chosen.root]
    data += ["--data.cache_dir", chosen.cache_dir] if chosen.cache_dir else []
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        measured = commands(chosen.configs, data, folder)
        for number in range(chosen.repeats + 1):
            for name, words in measured.items():
                rows.append({"command": name, "round": number, **measure(words)})
    print("| command | seconds of the processor | seconds | n |\n|---|---|---|---|")
    for name in measured:
        print(summary(name, rows))
    if chosen.output:
        setting = {"threads": torch.get_num_threads(), "torch": torch.__version__}
        text = json.dumps({"setting": setting, "rows": rows}, indent=1) + "\n"
        write_atomically(chosen.output, text)


if __name__ == "__main__":
    main()
