"""Bytes that a process sends in a training step: measured on a few processes, computed for more.

    python experiments/benchmarks/communication.py --output communication.json
    python experiments/benchmarks/communication.py --draw communication.json --output FIGURE.png

A real training runs on this machine with 1, 2 and 4 processes joined by gloo. What the project
and PyTorch's data-parallel training hand to the collectives is counted, and where network
namespaces are allowed the bytes on the wire are read beside it, headers included. `bytes_sent` is
the formula.

Each collective is counted as what the ring algorithms send, with P processes: (P - 1) x for an
all-gather of x bytes a process, (P - 1) / P x for an all-to-all of x, 2 (P - 1) / P x for an
all-reduce of x, (P - 1) / P x on average for a broadcast of x.
"""

import argparse
import json
import multiprocessing
import os
import socket
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import torch
from torch import distributed
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

from dim_lightning.callbacks import LinearProbe
from dim_lightning.data import ImageDataModule
from dim_lightning.encoders import BlogEncoder
from dim_lightning.infomax import estimators
from dim_lightning.infomax.critics import DotCritic
from dim_lightning.infomax.deep_infomax import DeepInfoMax
from dim_lightning.run.curves import figure_png
from dim_lightning.writing import write_atomically

FLOAT, INTEGER = 4, 8  # bytes
KINDS = ("a shuffled batch", "4 others", "all pairs")
PARTS = ("features", "codes", "sums", "gradients", "batch norm", "probe", "log")
FIRST_STEP, LAST_STEP = 1, 3  # counted are the steps between their beginnings


class Setting(NamedTuple):
    """What the bytes depend on.

    Attributes:
        images: of a process and step, n.
        contrasts: locations and critic's width of each information term.
        parameters: that are trained.
        buffers: bytes of running statistics.
        terms: that are logged.
        code_dim: size of the code.
        num_classes: of the probe.
    """

    images: int
    contrasts: tuple[tuple[int, int], ...]
    parameters: int
    buffers: int
    terms: int
    code_dim: int
    num_classes: int


def bytes_sent(kind: str, setting: Setting, processes: int) -> dict[str, float]:
    """Bytes that each process sends in a step, forward and backward, by what they are for.

    In a step whose figures are written the loss of the probe travels too, which is left out here.
    """
    others, reduced = processes - 1, 2 * (processes - 1) / processes
    images, all_pairs = setting.images, kind == KINDS[2]
    features = sum(locations * width for locations, width in setting.contrasts)
    codes = sum(width for _, width in setting.contrasts)
    probe = 2 * setting.code_dim + (setting.code_dim + 1) * setting.num_classes
    # forward and backward send the same
    return {
        "features": 0.0 if all_pairs else 2 * others * images * features * FLOAT,
        "codes": 2 * others * images * codes * FLOAT if all_pairs else 0.0,
        "sums": 2 * others * images * len(setting.contrasts) * FLOAT if all_pairs else 0.0,
        "gradients": reduced * setting.parameters * FLOAT,
        "batch norm": others / processes * setting.buffers,
        "probe": reduced * (probe * FLOAT + INTEGER),
        "log": reduced * setting.terms * FLOAT,
    }


def module_of(kind: str, small: bool) -> DeepInfoMax:
    """The blog's encoder for 32x32 pictures, or a small one, with encode-and-dot critics."""
    sizes: dict[str, Any] = {"widths": (4, 8), "embedding_dim": 8} if small else {}
    critic = partial(DotCritic, width=16 if small else 256)
    return DeepInfoMax(
        encoder=partial(BlogEncoder, **sizes),
        local_critic=critic,
        global_critic=critic,
        estimator=estimators.jensen_shannon if kind == KINDS[0] else estimators.info_nce,
        num_negatives={KINDS[0]: 1, KINDS[1]: 4}.get(kind, "all"),  # type: ignore[arg-type]
        image_size=_image_size(small),
    )


def setting_of(module: DeepInfoMax, images: int, num_classes: int) -> Setting:
    """The sizes of a module."""
    _, height, width = module.encoder.feature_shape
    widths = {"global": 1, "local": height * width}
    contrasts = [
        (widths[name], contrast.critic.source_side.norm.normalized_shape[0])
        for name, parts in module.objective.contrasts.items()
        for contrast in parts  # type: ignore[attr-defined]
    ]
    buffers = [b for b in module.buffers() if b.numel()]
    return Setting(
        images,
        tuple(contrasts),
        sum(p.numel() for p in module.parameters()),
        sum(b.numel() * b.element_size() for b in buffers),
        len(("loss", "global", "local", "prior")),
        module.embedding_dim,
        num_classes,
    )


class Meter(L.Callback):
    """Counts what a training hands to the collectives of torch.distributed, which go on working.

    Attributes:
        sent: bytes by what they are for.
        wire: bytes on the wire, of all processes.
    """

    def __init__(self) -> None:
        self.sent: Counter[str] = Counter()
        self.wire = 0
        self._counts = False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Places itself between the training and the collectives."""
        wrapped = trainer.strategy.model
        if not isinstance(wrapped, torch.nn.parallel.DistributedDataParallel):
            return
        wrapped.register_comm_hook(self, _counted_gradients)
        processes = trainer.world_size
        factors = {
            "all_gather_single": processes - 1,
            "all_gather_into_tensor": processes - 1,
            "all_to_all_single": (processes - 1) / processes,
            "all_reduce": 2 * (processes - 1) / processes,
        }
        for name, factor in factors.items():
            if hasattr(distributed, name):
                setattr(distributed, name, self._counting(getattr(distributed, name), factor))

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Begins and ends counting, between two steps of all processes."""
        if batch_idx in (FIRST_STEP, LAST_STEP):
            trainer.strategy.barrier()
            self.wire = _bytes_on_the_wire() - self.wire
            trainer.strategy.barrier()
            self._counts = batch_idx == FIRST_STEP

    def add(self, part: str, sent: float) -> None:
        """Counts bytes, if it is time to."""
        if self._counts:
            self.sent[part] += sent

    def _counting(self, collective: Any, factor: float) -> Any:
        """The collective, with a count of what it is given: its input, the last tensor."""

        def counted(*tensors: Any, **options: Any) -> Any:
            given = [each for each in tensors if isinstance(each, torch.Tensor)][-1]
            self.add("collectives", factor * given.numel() * given.element_size())
            return collective(*tensors, **options)

        return counted


def _counted_gradients(
    meter: Meter, bucket: distributed.GradBucket
) -> torch.futures.Future[torch.Tensor]:
    processes = distributed.get_world_size()
    nbytes = bucket.buffer().numel() * bucket.buffer().element_size()
    meter.add("gradients", 2 * (processes - 1) / processes * nbytes)
    return allreduce_hook(distributed.group.WORLD, bucket)


def _bytes_on_the_wire() -> int:
    """Bytes sent through this machine's loopback."""
    for line in Path("/proc/net/dev").read_text("utf-8").splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() == "lo":
            return int(numbers.split()[8])
    return 0


def train(kind: str, processes: int, images: int, small: bool, root: str) -> dict[str, Any]:
    """Bytes a step that this process hands to the collectives, and that all send on the wire."""
    torch.manual_seed(0)
    module = module_of(kind, small)
    data = ImageDataModule(root=root, image_size=_image_size(small), batch_size=images)
    meter = Meter()
    trainer = L.Trainer(
        accelerator="cpu",
        strategy="ddp" if processes > 1 else "auto",
        devices=processes,
        max_steps=LAST_STEP + 1,
        limit_val_batches=0,
        callbacks=[LinearProbe(), meter],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    kept = {name: getattr(distributed, name) for name in dir(distributed)}
    try:
        trainer.fit(module, data)
    finally:
        vars(distributed).update(kept)
    steps = LAST_STEP - FIRST_STEP
    assert data.num_classes is not None
    return {
        "kind": kind,
        "processes": processes,
        "setting": setting_of(module, images, data.num_classes),
        "gradients": meter.sent["gradients"] / steps,
        "collectives": meter.sent["collectives"] / steps,
        "wire": meter.wire / steps / processes,
    }


def measure(processes: int, images: int, small: bool, root: str) -> list[dict[str, Any]]:
    """A row a kind, of that many new processes, in a network of their own where that is allowed."""
    words = ["--processes", str(processes), "--images", str(images), "--root", root]
    command = [sys.executable, __file__, *words, *(["--small"] if small else [])]
    alone = ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--net"]
    script = [*alone, "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    try:
        is_alone = subprocess.run([*script, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        is_alone = False
    done = subprocess.run(
        [*(script if is_alone else []), *command], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    rows = json.loads(done.stdout.splitlines()[-1])
    for row in rows:
        row["setting"] = Setting(*row["setting"])._replace(
            contrasts=tuple(map(tuple, row["setting"][1]))
        )
        row["wire"] = row["wire"] if is_alone else None
    return rows


def start(options: argparse.Namespace) -> int:
    """Runs `train` in `options.processes`, of which the first prints; 0 if all went well."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    fork = multiprocessing.get_context("fork").Process  # they have loaded what this one has
    processes = [fork(target=_rank, args=(i, port, options)) for i in range(options.processes)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return max(abs(process.exitcode) for process in processes)


def _rank(rank: int, port: int, options: argparse.Namespace) -> None:
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_RANK": str(rank)}
    os.environ.update(place)
    given = (options.processes, options.images, options.small, options.root)
    rows = [train(kind, *given) for kind in KINDS]
    if rank == 0:
        print(json.dumps(rows))


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Writes the figure: bytes a process and step against the number of processes."""
    import matplotlib.pyplot as plt

    counts = [2**i for i in range(1, 11)]
    size = {"figsize": (11, 4.4), "dpi": 110, "layout": "constrained"}
    figure, axes = plt.subplots(1, 2, sharey=True, **size)
    setting = next(row["setting"] for row in rows if row["processes"] > 1)
    joint = 8192
    for axis, fixed in zip(axes, (True, False), strict=True):
        for colour, kind in zip(("#2f6db5", "#d9822b"), (KINDS[0], KINDS[2]), strict=True):
            sizes = [setting if fixed else setting._replace(images=joint // p) for p in counts]
            sent = [bytes_sent(kind, s, p) for s, p in zip(sizes, counts, strict=True)]
            joined = [sum(part[name] for name in PARTS[:3]) / 2**20 for part in sent]
            name = "any fixed number of negatives" if kind == KINDS[0] else kind
            axis.plot(counts, joined, color=colour, label=f"objective, {name}")
            axis.plot(
                counts,
                [sum(part.values()) / 2**20 for part in sent],
                color=colour,
                linestyle=":",
                label=f"all together, {name}",
            )
            if fixed:
                found = [row for row in rows if row["kind"] == kind and row["wire"]]
                axis.plot(
                    [row["processes"] for row in found],
                    [row["wire"] / 2**20 for row in found],
                    "o",
                    color=colour,
                    label=f"measured on the wire, {name}",
                )
        gradients = [bytes_sent(KINDS[0], setting, p)["gradients"] / 2**20 for p in counts]
        axis.plot(counts, gradients, color="#8a919b", linestyle="--", label="gradients")
        axis.set(xscale="log", yscale="log", xlabel="processes")
        axis.set_xticks(counts, [f"{count:,}" for count in counts], fontsize=8)
        axis.minorticks_off()
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_title(f"{setting.images} images a process")
    axes[1].set_title(f"{joint:,} images a joint batch")
    axes[0].set_ylabel("MiB that a process sends in a step")
    handles = axes[0].get_legend_handles_labels()
    axes[1].legend(*handles, frameon=False, fontsize=8, loc="lower right")
    write_atomically(path, figure_png(figure))
    plt.close(figure)


def _image_size(small: bool) -> int:
    return 8 if small else 32


def main() -> None:
    """Measure and write JSON, or draw what was written."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=64, help="of a process and step")
    parser.add_argument("--small", action="store_true", help="a network of a few thousand weights")
    parser.add_argument("--root", default="data", help="where data lies")
    parser.add_argument("--draw", type=Path, help="JSON to make the figure of")
    parser.add_argument("--output", type=Path, help="where to write JSON, or the figure")
    parser.add_argument("--processes", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.draw:
        rows = json.loads(options.draw.read_text("utf-8"))
        for row in rows:
            row["setting"] = Setting(*row["setting"])
        draw(rows, options.output or options.draw.with_suffix(".png"))
    elif options.processes:
        sys.exit(start(options))
    else:
        rows = []
        for processes in (1, 2, 4):
            rows += measure(processes, options.images, options.small, options.root)
            print(json.dumps(rows[-len(KINDS) :]), flush=True)
        if options.output:
            write_atomically(options.output, json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
