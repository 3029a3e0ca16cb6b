"""Images a second of shuffled training batches: the memory-mapped cache against the stream.

    python experiments/benchmarks/stream.py --output stream.json
    python experiments/benchmarks/stream.py --mb 2000 --repeats 10

Made-up pictures are written both ways into a temporary folder and then read in batches of 256, the
ways in turn, an epoch each: mapped (the cache), shards in a local folder, shards from a server on
this machine (nothing kept). What was just written lies in the system's page cache for all of them.
"""

import argparse
import json
import statistics
import tempfile
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from dim_lightning.data import ImageDataModule, Source, Stream
from dim_lightning.data.shards import convert
from dim_lightning.data.sources import Found, Part, Parts
from dim_lightning.data.splits import Shares

BATCH, WINDOW_MB, SHARD_MB = 256, 32, 16
SHARES = Shares(0.1, 0.1, 0)


class MadeUp(Source):
    """Random pictures [size, size, 3] without labels."""

    def __init__(self, images: int, size: int) -> None:
        """Say how many."""
        self.images = images
        self.size = size

    def find(self, root: Path) -> Found:
        """Always found."""
        pixels = np.random.default_rng(0).integers(
            0, 256, (self.images, self.size, self.size, 3), np.uint8
        )
        parts = Parts(Part(pixels, np.full(self.images, -1, np.int64)), None, None)
        return Found("made_up", "a generator", [self.images, self.size], lambda: parts)


class Silent(SimpleHTTPRequestHandler):
    """Serves files and writes no log."""

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


def ways(folder: Path, images: int, size: int, url: str) -> dict[str, ImageDataModule]:
    """The same pictures, ready to be read in each way."""
    source = MadeUp(images, size)
    convert(source.find(folder), size, SHARES, folder / f"shards{size}", SHARD_MB * 2**20)
    settings = {"root": str(folder), "image_size": size, "batch_size": BATCH, **SHARES._asdict()}
    local = Stream(str(folder / f"shards{size}"), WINDOW_MB)
    served = Stream(f"{url}/shards{size}", WINDOW_MB, keep_mb=0)
    sources = {"mapped": source, "stream": local, "stream over HTTP": served}
    made = {way: ImageDataModule(each, **settings) for way, each in sources.items()}
    for data in made.values():
        data.setup()
    return made


def measure(data: ImageDataModule, epoch: int) -> dict[str, int]:
    """Images a second of an epoch of training batches, by the clock and of the processor."""
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    clock, processor = time.perf_counter(), time.process_time()
    count = sum(len(batch.indices) for batch in loader)
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    return {
        "images_per_second": round(count / clock),
        "images_per_processor_second": round(count / processor),
    }


def summary(rows: list[dict], way: str, size: int) -> str:
    """Median and range over the epochs that count."""
    chosen = [row for row in rows if (row["way"], row["size"]) == (way, size) and row["epoch"]]
    cells = []
    for key in ("images_per_second", "images_per_processor_second"):
        found = [row[key] for row in chosen]
        cells.append(f"{statistics.median(found):,.0f} ({min(found):,} to {max(found):,})")
    return f"| {way} | {size} | {cells[0]} | {cells[1]} | {len(chosen)} |"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=400, help="of pixels")
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        handler = partial(Silent, directory=name)
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            url = f"http://127.0.0.1:{server.server_port}"
            for size in options.sizes:
                images = options.mb * 2**20 // (3 * size**2)
                made = ways(Path(name), images, size, url)
                for epoch in range(options.repeats + 1):  # the first is not counted
                    for way, data in made.items():
                        row = {"way": way, "size": size, "images": images, "epoch": epoch}
                        rows.append({**row, **measure(data, epoch)})
                for way in made:
                    print(summary(rows, way, size), flush=True)
            server.shutdown()
    if options.output:
        options.output.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
