"""Time and peak memory of all-pairs infoNCE, tiled against all scores in memory.

    python experiments/benchmarks/all_pairs.py --output all_pairs.json
    python experiments/benchmarks/all_pairs.py --step --batches 8192
    python experiments/benchmarks/all_pairs.py --draw all_pairs.json --output all_pairs.png

Every measurement runs in a process of its own, whose peak resident memory is what is quoted; the
memory of a process that has only imported the project is subtracted. `--step` measures a whole
training step (encoder, critic, infoNCE over all pairs, backward, Adam) instead. `--draw` makes the
figure of measurements that were written before.
"""

import argparse
import json
import re
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dim_lightning.infomax.all_pairs import AllPairs, encoded_in_pieces, in_autocast_type
from dim_lightning.infomax.critics import DotCritic
from dim_lightning.infomax.estimators import info_nce
from dim_lightning.run.curves import COLOURS, STYLE, figure_png
from dim_lightning.writing import write_atomically

CHANNELS, LOCATIONS, CODE_DIM, WIDTH = 128, 64, 64, 512


def peak_memory() -> float:
    """Peak resident memory of this process, in GiB."""
    status = Path("/proc/self/status")
    if status.is_file():  # what getrusage tells on Linux is at least that of the parent process
        (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", status.read_text("utf-8"))
        return int(peak) / 2**20
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 2 ** (30 if sys.platform == "darwin" else 20)  # bytes there, KiB elsewhere


def objective(batch: int, tiled: bool) -> None:
    """Forward and backward of the estimate, from a feature map and codes."""
    critic = DotCritic(CHANNELS, CODE_DIM, WIDTH)
    source = torch.randn(batch, LOCATIONS, CHANNELS, requires_grad=True)
    code = torch.randn(batch, CODE_DIM, requires_grad=True)
    code_side = in_autocast_type(critic.encode_code(code))
    encode = critic.encode_source
    source_side = encoded_in_pieces(encode, source) if tiled else encode(source)
    most = 0 if tiled else 10**15
    scores = AllPairs(critic.pair, source_side, code_side, is_product=True, whole_scores=most)
    (-info_nce(scores)).backward()


def training_step(batch: int, tiled: bool) -> None:
    """One step on 32x32 images with the paper's first two convolutions, 64 locations."""
    trunk = nn.Sequential(*_block(3, 64), *_block(64, CHANNELS)).to(
        memory_format=torch.channels_last
    )
    head = nn.Linear(CHANNELS * LOCATIONS, CODE_DIM)
    critic = DotCritic(CHANNELS, CODE_DIM, WIDTH)
    parameters = [*trunk.parameters(), *head.parameters(), *critic.parameters()]
    optimizer = torch.optim.Adam(parameters, 1e-4)
    images = torch.rand(batch, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    feature_map = trunk(images)
    source = feature_map.flatten(2).transpose(1, 2)
    (-info_nce(critic(source, head(feature_map.flatten(1)), None))).backward()
    optimizer.step()


def _block(inputs: int, outputs: int) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]


def measure(batch: int, precision: str, tiled: bool, step: bool) -> dict[str, float]:
    """Seconds and GiB of one measurement, in this process."""
    torch.manual_seed(0)
    before = peak_memory()
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        (training_step if step else objective)(batch, tiled)
    return {"seconds": time.perf_counter() - start, "gib": peak_memory() - before}


def in_own_process(batch: int, precision: str, tiled: bool, step: bool) -> dict[str, float] | None:
    """The same in a new process; None if it ran out of memory."""
    job = json.dumps([batch, precision, tiled, step])
    done = subprocess.run(
        [sys.executable, __file__, "--job", job], capture_output=True, text=True, check=False
    )
    return json.loads(done.stdout) if done.returncode == 0 else None


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Writes the figure: memory and time against the batch, on logarithmic axes."""
    import matplotlib.pyplot as plt

    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), dpi=120, layout="constrained")
        for axis, key, unit in zip(axes, ("gib", "seconds"), ("GiB", "seconds"), strict=True):
            for colour, precision in zip(COLOURS, ("float32", "bf16"), strict=False):
                for tiled, dashes in ((True, "-"), (False, "--")):
                    kind = [
                        (row["batch"], row[key])
                        for row in rows
                        if key in row and (row["precision"], row["tiled"]) == (precision, tiled)
                    ]
                    name = f"{precision}, {'in tiles' if tiled else 'all in memory'}"
                    axis.plot(
                        *zip(*kind, strict=True), dashes, marker="o", color=colour, label=name
                    )
            axis.set(xscale="log", yscale="log", xlabel="batch", ylabel=unit)
            batches = sorted({row["batch"] for row in rows})
            axis.set_xticks(batches, [f"{batch:,}" for batch in batches], fontsize=8)
            if key == "gib":
                axis.set_yticks([0.25, 0.5, 1, 2, 4, 8], ["0.25", "0.5", "1", "2", "4", "8"])
            axis.minorticks_off()
        axes[0].set_title("peak memory of forward and backward")
        axes[1].set_title("time of forward and backward")
        axes[0].legend(frameon=False, fontsize=8, loc="upper left")
        write_atomically(path, figure_png(figure))
        plt.close(figure)


def main() -> None:
    """Measure what the command line asks for, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    sizes = [256, 512, 1024, 2048, 4096, 8192, 16384]
    parser.add_argument("--batches", type=int, nargs="+", default=sizes)
    parser.add_argument("--plain-up-to", type=int, default=2048, help="largest batch not tiled")
    parser.add_argument("--precisions", nargs="+", default=["float32", "bf16"])
    parser.add_argument("--step", action="store_true", help="a whole training step")
    parser.add_argument("--output", type=Path, help="where the results are kept, as JSON")
    parser.add_argument("--draw", type=Path, help="a JSON file of results, of which to draw")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        json.dump(measure(*json.loads(options.job)), sys.stdout)
        return
    if options.draw:
        draw(json.loads(options.draw.read_text("utf-8"))["rows"], options.output)
        return
    rows: list[dict[str, Any]] = []
    for precision in options.precisions:
        for batch in options.batches:
            kinds = [True, False] if batch <= options.plain_up_to and not options.step else [True]
            for tiled in kinds:
                result = in_own_process(batch, precision, tiled, options.step)
                row = {"batch": batch, "precision": precision, "tiled": tiled, **(result or {})}
                rows.append(row)
                print(json.dumps(row), flush=True)
    if options.output:
        setting = {"threads": torch.get_num_threads(), "tile_scores": AllPairs.tile_scores}
        old = json.loads(options.output.read_text("utf-8")) if options.output.is_file() else {}
        kept = {**old, **setting, "step" if options.step else "rows": rows}
        write_atomically(options.output, json.dumps(kept, indent=1).encode())


if __name__ == "__main__":
    main()
