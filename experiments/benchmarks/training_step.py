"""Images a second: the training of a config, its bare encoder, and a plain loop.

    python experiments/benchmarks/training_step.py --root data --output training_step.json

Three kinds take turns, each time in a process of its own:

- `training`: `python -m dim_lightning fit` with experiments/cifar10/blog.yaml, everything included:
  data, critics, prior, optimiser, online probe and logging; its last epoch.
- `bare`: forward and backward of the encoder alone, on one batch in memory, in the same precision
  and memory format.
- `plain`: the same network, objective and optimiser as one would write them in an afternoon
  (plain_loop.py): torchvision transforms of PIL pictures in two workers, float32, batches of 64.

The precision of the first two is the quickest here, as the command `doctor` finds it, unless
`--precision` says another.

Printed is each kind's mean and spread over the rounds, and its ratio to `bare`, round by round.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from turns import say, summary

from dim_lightning.cli.speed import seconds_by_precision
from dim_lightning.encoders import BlogEncoder
from dim_lightning.run.environment import cpu_model
from dim_lightning.run.metrics import read_metrics
from dim_lightning.writing import write_atomically

CONFIG = Path(__file__).parent.parent / "cifar10" / "blog.yaml"
BATCH, WARM_UP = 64, 10


def training(root: Path, steps: int, precision: str) -> float:
    """Images a second of the real command, in the second of two short epochs."""
    with tempfile.TemporaryDirectory() as runs:
        words = [sys.executable, "-m", "dim_lightning", "fit", "--config", str(CONFIG)]
        words += ["--trainer.precision", precision]
        words += ["--data.root", str(root), "--runs_dir", runs, "--trainer.max_epochs", "2"]
        words += ["--trainer.limit_train_batches", str(steps), "--trainer.limit_val_batches", "2"]
        subprocess.run(words, check=True, capture_output=True)
        run = next(Path(runs).glob("*/1"))
        return read_metrics(run)["speed/images_per_second"][-1].value


def bare(root: Path, steps: int, precision: str) -> float:
    """Images a second of forward and backward of the encoder."""
    encoder = BlogEncoder(32)
    images = torch.rand(BATCH, 3, 32, 32).contiguous(memory_format=torch.channels_last)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
            features = encoder(images)
        loss = features.mean.sum() + features.log_variance.sum()
        encoder.zero_grad()
        loss.backward()

    return _rate(step, steps)


def plain(root: Path, steps: int, precision: str) -> float:
    """Images a second of the loop of plain_loop.py, which is in float32."""
    from plain_loop import training_steps

    rounds = training_steps(root)
    return _rate(lambda: next(rounds), steps)


KINDS: dict[str, Callable[[Path, int, str], float]] = {
    "training": training,
    "bare": bare,
    "plain": plain,
}


def _rate(step: Callable[[], None], steps: int) -> float:
    for _ in range(WARM_UP):
        step()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return steps * BATCH / (time.perf_counter() - start)


def in_own_process(kind: str, root: Path, steps: int, precision: str) -> float:
    """The rate of a kind, measured in a new process."""
    job = [sys.executable, __file__, "--job", kind, "--root", str(root), "--steps", str(steps)]
    job += ["--precision", precision]
    done = subprocess.run(job, capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    """Measure, print a line a kind, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("data"), help="where CIFAR-10 lies")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--precision", choices=["32-true", "bf16-mixed"])
    parser.add_argument("--output", type=Path, help="where to write the results as JSON")
    parser.add_argument("--job", choices=list(KINDS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        print(KINDS[options.job](options.root, options.steps, options.precision))
        return
    seconds = {} if options.precision else seconds_by_precision("cpu")
    precision = options.precision or min(seconds, key=lambda name: seconds[name])
    rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(options.rounds):
        for kind in KINDS:
            rates[kind].append(in_own_process(kind, options.root, options.steps, precision))
            print(f"{kind} {rates[kind][-1]:.0f}", flush=True)
    found = summary(rates, "bare", "bare")
    say(found, "bare")
    if options.output:
        setting = {"torch": torch.__version__, "threads": torch.get_num_threads(), "batch": BATCH}
        setting |= {"precision": precision, "processor": cpu_model()}
        write_atomically(options.output, json.dumps({**setting, **found}, indent=1))


if __name__ == "__main__":
    main()
