"""Images a second of the augmentation of contrastive learning: the project's and others'.

    python experiments/benchmarks/augmentation.py --output augmentation.json
    python experiments/benchmarks/augmentation.py --sizes 96 --repeats 10

A batch of made-up pictures, uint8 [n, 3, size, size] in memory, becomes float views of the same
size by a resized crop, a flip, changes of colour and gray, with the settings of `CropColour`. The
ways take turns on one thread:

- `CropColour`: the whole batch at once, one draw an image.
- `torchvision, by image`: torchvision.transforms.v2 on one uint8 image after the other, as in a
  data set's __getitem__; a draw an image.
- `torchvision, by batch`: the same transforms on the whole batch, which they give ONE draw: every
  image is cropped and coloured alike. It is no replacement and only shows what that saves.
- `kornia`, if it is installed: the whole batch at once, one draw an image; its crop is not
  antialiased.

All but `CropColour` draw from the global generator, and the order of the changes of colour too.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from importlib import metadata, util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from dim_lightning.data.augmentation import CropColour, to_float
from dim_lightning.run.environment import cpu_model
from dim_lightning.seeding import generator_for
from dim_lightning.writing import write_atomically

OWN, BY_IMAGE, BY_BATCH = "CropColour", "torchvision, by image", "torchvision, by batch"
KORNIA = "kornia"
Way = Callable[[Tensor], Tensor]


def ways(size: int) -> dict[str, Way]:
    """Name -> what makes views of a batch, uint8 [n, 3, size, size] to float of the same shape."""
    own = CropColour()
    changes = _torchvision(own, size)
    found: dict[str, Way] = {
        OWN: partial(_by_own, own, generator_for(0)),
        BY_IMAGE: lambda images: torch.stack([changes(image) for image in images]),
        BY_BATCH: changes,
    }
    if util.find_spec("kornia"):
        found[KORNIA] = _kornia(own, size)
    return found


def _by_own(own: CropColour, generator: torch.Generator, images: Tensor) -> Tensor:
    return own(to_float(images), generator)


def _torchvision(own: CropColour, size: int) -> v2.Transform:
    """The same operations with the same settings, by torchvision."""
    return v2.Compose(
        [
            v2.RandomResizedCrop(size, own.crop_scale, own.ratio, antialias=True),
            v2.RandomHorizontalFlip(own.flip_prob),
            v2.RandomApply([v2.ColorJitter(*own.jitter)], own.jitter_prob),
            v2.RandomGrayscale(own.gray_prob),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )


def _kornia(own: CropColour, size: int) -> Way:
    """The same operations with the same settings, by kornia."""
    from kornia import augmentation

    changes = nn.Sequential(
        augmentation.RandomResizedCrop((size, size), own.crop_scale, own.ratio),
        augmentation.RandomHorizontalFlip(p=own.flip_prob),
        augmentation.ColorJitter(*own.jitter, p=own.jitter_prob),
        augmentation.RandomGrayscale(p=own.gray_prob),
    )
    return lambda images: changes(to_float(images))


def measure(way: Way, images: Tensor, batches: int) -> dict[str, float]:
    """Images a second of some batches, by the clock and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    for _ in range(batches):
        way(images)
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    count = batches * len(images)
    return {
        "images_per_second": count / clock,
        "images_per_processor_second": count / processor,
    }


def compare(size: int, chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """A row a way and round, the ways in turn; the first round warms up and is left out."""
    shape = (chosen.batch, 3, size, size)
    images = torch.randint(256, shape, dtype=torch.uint8, generator=generator_for(0))
    images = images.contiguous(memory_format=torch.channels_last)
    rows = []
    for number in range(chosen.repeats + 1):
        for name, way in ways(size).items():
            figures = measure(way, images, chosen.batches)
            if number:
                rows.append({"way": name, "size": size, "round": number, **figures})
    return rows


def summary(rows: list[dict[str, Any]], name: str) -> str:
    """A line of the table: median and range of the rates, and of the ratio round by round."""
    key = "images_per_processor_second"
    of = {way: [row for row in rows if row["way"] == way] for way in (OWN, name)}
    cells = []
    for rate in ("images_per_second", key):
        found = [row[rate] for row in of[name]]
        cells.append(f"{statistics.median(found):,.0f} ({min(found):,.0f} to {max(found):,.0f})")
    ratios = [own[key] / row[key] for own, row in zip(of[OWN], of[name], strict=True)]
    cells.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    return f"| {name} | {rows[0]['size']} | {' | '.join(cells)} | {len(ratios)} |"


def main() -> None:
    """Measures, prints a table and writes it as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--batches", type=int, default=4, help="a way and round")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--output", type=Path, help="a JSON file for the rows")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    packages = ("torch", "torchvision", *([KORNIA] if util.find_spec(KORNIA) else []))
    setting = {name: metadata.version(name) for name in packages}
    setting |= {"processor": cpu_model(), "batch": chosen.batch, "load": os.getloadavg()[0]}
    print("| way | size | images a second | of the processor | CropColour is as fast | n |")
    print("|---|---|---|---|---|---|")
    rows: list[dict[str, Any]] = []
    for size in chosen.sizes:
        found = compare(size, chosen)
        for name in dict.fromkeys(row["way"] for row in found):
            print(summary(found, name), flush=True)
        rows += found
    if chosen.output:
        text = json.dumps({"setting": setting, "rows": rows}, indent=1) + "\n"
        write_atomically(chosen.output, text)


if __name__ == "__main__":
    main()
