"""Where the time of a training goes: by kind of arithmetic, as a flame graph, against a roofline.

    python experiments/benchmarks/where_time_goes.py --root data --output where_time_goes.json

Runs `python -m dim_lightning fit` for a few steps on CIFAR-10 with each of the encoders, in this
process, and looks at ten of the steps. Writes, beside the JSON file:

- where_time_goes.png: each encoder's step by kind of operation, in the time they take themselves;
- flame.png: the loop of the blog's config, from the outside to single operations;
- roofline.png: each convolution's rate, forward and backward, under the largest rate of matrix
  products and the rate of copies measured in the same run.

The precision is the quickest here, as the command `doctor` finds it, unless `--precision` says
another.

Printed are the shares of the loop's time inside the steps and in the online probe, without the
profiler.
"""

import argparse
import io
import json
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any

import lightning as L
import matplotlib.pyplot as plt
import torch
from lightning.pytorch.callbacks import Callback
from roofline import BATCH, TYPES, WIDTHS, draw_roofline, roofline
from torch.profiler import ProfilerActivity, profile, record_function

from dim_lightning.cli import main as command
from dim_lightning.cli.speed import seconds_by_precision
from dim_lightning.encoders import BlogEncoder
from dim_lightning.run.curves import figure_png
from dim_lightning.run.environment import cpu_model
from dim_lightning.writing import write_atomically

FIRST, STEPS = 20, 10
CONFIG = Path(__file__).parent.parent / "cifar10" / "blog.yaml"
KINDS = {  # what the names of operations begin with
    "convolutions": ("aten::mkldnn_convolution", "aten::convolution_backward"),
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"),
    "batch norm": ("aten::native_batch_norm",),
    "pooling": ("aten::max_pool2d", "aten::amax", "aten::mean"),
    "optimiser": ("aten::_fused_adam", "aten::_foreach"),
    "copies and casts": ("aten::copy_", "aten::fill_", "aten::cat", "aten::clone"),
}
OTHER, PYTHON = "other operations", "between operations"


class Watch(Callback):
    """Times some steps, and profiles some more.

    Args:
        found: where the findings are put.
    """

    def __init__(self, found: dict[str, Any]):
        self.found = found
        self.seconds: dict[str, float] = defaultdict(float)
        self.profiler = profile(activities=[ProfilerActivity.CPU])

    def setup(self, trainer: L.Trainer, pl_module: Any, stage: str) -> None:
        """Gives the parts of a step names that the profiler sees."""
        self._name(trainer.strategy, "optimizer_step", "step")
        self._name(trainer.strategy, "training_step", "training_step")
        self._name(trainer.strategy, "backward", "backward")
        self._name(trainer.strategy, "batch_to_device", "transfer")
        self._name(pl_module.encoder, "forward", "encoder")
        self._name(pl_module.objective, "forward", "objective")
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if type(callback) is not Watch:
                self._name(callback, "on_train_batch_end", type(callback).__name__)

    def _name(self, owner: Any, method: str, label: str) -> None:
        inner = getattr(owner, method)

        def named(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            with record_function(f"[{label}]"):
                result = inner(*args, **kwargs)
            self.seconds[label] += time.perf_counter() - start
            return result

        setattr(owner, method, named)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Starts the clock, then the profiler, and puts what was found where it belongs."""
        if batch_idx == FIRST:
            self.seconds.clear()
            self.start = time.perf_counter()
        elif batch_idx == FIRST + STEPS:
            seconds = time.perf_counter() - self.start
            self.found["step_ms"] = 1000 * seconds / STEPS
            self.found["inside"] = self.seconds["step"] / seconds
            self.found["online_probe"] = self.seconds["LinearProbe"] / seconds
            self.profiler.__enter__()
        elif batch_idx == FIRST + 2 * STEPS:
            self.profiler.__exit__(None, None, None)
            self.found["events"] = self.profiler.events()


def watched(encoder: type, root: Path, precision: str) -> dict[str, Any]:
    """The findings of a short training of the blog's config with this encoder."""
    found: dict[str, Any] = {}
    fit = L.Trainer.fit

    def watched_fit(trainer: L.Trainer, *args: Any, **kwargs: Any) -> None:
        trainer.callbacks.append(Watch(found))  # type: ignore[attr-defined]
        fit(trainer, *args, **kwargs)

    with tempfile.TemporaryDirectory() as runs:
        sys.argv = ["dim_lightning", "fit", "--config", str(CONFIG), "--data.root", str(root)]
        sys.argv += ["--runs_dir", runs, "--trainer.max_epochs", "1"]
        sys.argv += ["--trainer.precision", precision]
        sys.argv += ["--trainer.limit_train_batches", str(FIRST + 2 * STEPS + 2)]
        sys.argv += ["--trainer.limit_val_batches", "0"]
        if encoder is not BlogEncoder:
            sys.argv += ["--model.encoder", encoder.__name__, "--model.prior_weight", "0"]
            sys.argv += ["--model.encoder.init_args.widths", str(WIDTHS[encoder])]
        L.Trainer.fit = watched_fit  # type: ignore[method-assign]
        with suppress(SystemExit), redirect_stdout(io.StringIO()):
            command()
        L.Trainer.fit = fit  # type: ignore[method-assign]
    return found


def by_kind(events: Any) -> dict[str, float]:
    """Milliseconds of a step by kind, in the time that operations take themselves."""
    times: dict[str, float] = defaultdict(float)
    for event in events:
        times[_kind(event.name)] += event.self_cpu_time_total / 1000 / STEPS
    return dict(times)


def _kind(name: str) -> str:
    if not name.startswith("aten::"):
        return PYTHON
    found = (kind for kind, starts in KINDS.items() if name.startswith(starts))
    return next(found, OTHER)


def tree(events: Any) -> dict[str, Any]:
    """Milliseconds of a step, name by name below one another."""
    root: dict[str, Any] = {"ms": 0.0, "parts": {}}
    nodes = {None: root}
    for event in sorted(events, key=lambda e: (e.time_range.start, -e.time_range.end)):
        above = nodes.get(event.cpu_parent, root)
        short = event.name.rpartition(": ")[2].removeprefix("aten::")
        node = above["parts"].setdefault(short, {"ms": 0.0, "parts": {}})
        node["ms"] += event.cpu_time_total / 1000 / STEPS
        nodes[event] = node
    root["ms"] = sum(part["ms"] for part in root["parts"].values())
    return root


def draw_flame(root: dict[str, Any], path: Path) -> None:
    """The tree, a row a level, as wide as it takes long."""
    figure, axes = plt.subplots(figsize=(14, 5), dpi=110)
    _draw(axes, root, "", 0.0, 0, root["ms"])
    axes.set(xlim=(0, root["ms"]), xlabel="ms of a step", yticks=[])
    axes.invert_yaxis()
    figure.tight_layout()
    write_atomically(path, figure_png(figure))
    plt.close(figure)


def _draw(axes: Any, node: dict[str, Any], name: str, left: float, row: int, whole: float) -> None:
    if row and node["ms"] > whole / 500:
        colour = plt.get_cmap("YlOrRd")(0.15 + 0.07 * (row % 8))
        axes.barh(row, node["ms"], left=left, height=0.95, color=colour, edgecolor="white")
        if node["ms"] > whole / 70:
            size = max(3, int(node["ms"] / whole * 140))
            axes.text(left + node["ms"] / 2, row, name[:size], ha="center", va="center", fontsize=7)
    if row >= 9:
        return
    for part, below in node["parts"].items():
        _draw(axes, below, part, left, row + 1, whole)
        left += below["ms"]


def draw_kinds(kinds: dict[str, dict[str, float]], path: Path) -> None:
    """A bar an encoder, in percent of its step."""
    figure, axes = plt.subplots(figsize=(11, 3.2), dpi=110)
    order = [*KINDS, OTHER, PYTHON]
    lefts = [0.0] * len(kinds)
    for kind in order:
        shares = [100 * times.get(kind, 0.0) / sum(times.values()) for times in kinds.values()]
        axes.barh(list(kinds), shares, left=lefts, label=kind)
        lefts = [left + share for left, share in zip(lefts, shares, strict=True)]
    axes.set(xlabel="percent of a step's time", xlim=(0, 100))
    axes.invert_yaxis()
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
    figure.tight_layout()
    write_atomically(path, figure_png(figure))
    plt.close(figure)


def main() -> None:
    """Measure, draw, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path("data"), help="where CIFAR-10 lies")
    parser.add_argument("--precision", choices=list(TYPES))
    parser.add_argument("--output", type=Path, default=Path("where_time_goes.json"))
    options = parser.parse_args()
    measured = {} if options.precision else seconds_by_precision("cpu")
    precision = options.precision or min(measured, key=lambda name: measured[name])
    found = {encoder.__name__: watched(encoder, options.root, precision) for encoder in WIDTHS}
    kinds = {name: by_kind(each["events"]) for name, each in found.items()}
    for name, each in found.items():
        shares = f"{each['inside']:.1%} inside it, online probe {each['online_probe']:.1%}"
        print(f"{name}: {each['step_ms']:.1f} ms a step, {shares}")
        print("  " + ", ".join(f"{kind} {ms:.1f}" for kind, ms in kinds[name].items()))
    rates = roofline(TYPES[precision])
    folder = options.output.parent
    draw_flame(tree(found["BlogEncoder"]["events"]), folder / "flame.png")
    draw_kinds(kinds, folder / "where_time_goes.png")
    draw_roofline(rates, TYPES[precision], folder / "roofline.png")
    steps = {
        name: {
            **{key: each[key] for key in ("step_ms", "inside", "online_probe")},
            "kinds_ms": kinds[name],
        }
        for name, each in found.items()
    }
    setting = {"torch": torch.__version__, "threads": torch.get_num_threads(), "batch": BATCH}
    setting |= {"precision": precision, "processor": cpu_model()}
    write_atomically(options.output, json.dumps({**setting, "steps": steps, **rates}, indent=1))


if __name__ == "__main__":
    main()
