"""Time of the search for nearest neighbours: float32 alone, and narrowed by bfloat16.

    python experiments/benchmarks/neighbours.py --output neighbours.json
    python experiments/benchmarks/neighbours.py --dims 4096 --queries 2000 --repeats 1

The features are random rectified combinations of latent variables whose strengths fall as a power
law, which gives them the spectrum of features of images. Both ways search the same, in turn, by the
cosine and by the Euclidean distance; the seconds are of the processor and of both metrics together.
`first search` is the share of queries whose neighbours the bounds alone have proved right; the
others were searched again in float32.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dim_lightning.evaluation import search
from dim_lightning.evaluation.knn import METRICS, neighbours_by
from dim_lightning.seeding import generator_for

LATENT, NOISE = 256, 0.1
WAYS = {"float32": False, "narrowed": True}


def made_up(count: int, dim: int, stream: int) -> Tensor:
    """Features of the same kind whatever the stream, [count, dim]."""
    strengths = torch.arange(1, LATENT + 1) ** -0.75
    mixing = torch.randn(LATENT, dim, generator=generator_for(0, 0)) * strengths[:, None]
    generator = generator_for(0, stream)
    features = torch.randn(count, LATENT, generator=generator) @ mixing
    for block in features.split(4096):
        block.add_(torch.randn(block.shape, generator=generator), alpha=NOISE).relu_()
    return features


def measure(way: str, queries: Tensor, bank: Tensor, k: int) -> tuple[dict[str, float], list]:
    """Seconds of the processor, the share of the first search, and what was found."""
    again = []

    def search_again(ranking: Any, positions: Tensor, *rest: Any) -> None:
        again.append(len(positions))
        plain(ranking, positions, *rest)

    plain, pays = search._search, search._pays
    search._search, search._pays = search_again, lambda *_: WAYS[way]
    started = time.process_time()
    try:
        found = list(neighbours_by(METRICS, queries, bank, k).values())
    finally:
        seconds = time.process_time() - started
        search._search, search._pays = plain, pays
    share = 1 - sum(again) / len(queries) / len(METRICS)
    return {"seconds": seconds, "first_search": share}, found


def differences(one: list, other: list) -> dict[str, float]:
    """How far two searches are apart: the largest of the relative values, and the rows."""
    values, equal = [], []
    for (value, rows), (expected, expected_rows) in zip(one, other, strict=True):
        values.append(((value - expected).abs() / expected.abs().max()).max().item())
        same = (rows.sort().values == expected_rows.sort().values).all(dim=1)
        equal.append(same.double().mean().item())
    return {"largest_difference": max(values), "equal_rows": statistics.mean(equal)}


def row(dim: int, chosen: argparse.Namespace) -> dict[str, Any]:
    """Both ways at one size."""
    queries, bank = made_up(chosen.queries, dim, 1), made_up(chosen.bank, dim, 2)
    measured: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    found: dict[str, list] = {}
    for _ in range(chosen.repeats):
        for way in WAYS:
            figures, found[way] = measure(way, queries, bank, chosen.k)
            measured[way].append(figures)
    seconds = {way: [each["seconds"] for each in figures] for way, figures in measured.items()}
    ratios = [a / b for a, b in zip(seconds["float32"], seconds["narrowed"], strict=True)]
    first = measured["narrowed"][0]["first_search"]
    return {
        "dim": dim,
        "seconds": seconds,
        "ratios": ratios,
        "first_search": first,
        **differences(found["narrowed"], found["float32"]),
    }


def line(found: dict[str, Any]) -> str:
    """One row of the table: medians and ranges."""
    lists = [*found["seconds"].values(), found["ratios"]]
    cells = [
        f"{statistics.median(each):.2f} ({min(each):.2f} to {max(each):.2f})" for each in lists
    ]
    shares = f"{found['first_search']:.1%} | {found['equal_rows']:.1%}"
    return f"| {found['dim']:,} | {' | '.join(cells)} | {shares} | {len(found['ratios'])} |"


def main() -> None:
    """Measures, prints a table and writes it as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--dims", type=int, nargs="+", default=[64, 256, 512, 4096])
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--bank", type=int, default=45_000)
    parser.add_argument("--k", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, help="a JSON file for the rows")
    chosen = parser.parse_args()
    print("| dimensions | float32, s | narrowed, s | ratio | first search | equal rows | n |")
    print("|---|---|---|---|---|---|---|")
    rows = []
    for dim in chosen.dims:
        rows.append(row(dim, chosen))
        print(line(rows[-1]), flush=True)
    if chosen.output:
        setting = {"threads": torch.get_num_threads(), "torch": torch.__version__}
        setting |= {name: getattr(chosen, name) for name in ("queries", "bank", "k")}
        text = json.dumps({"setting": setting, "rows": rows}, indent=1)
        chosen.output.write_text(f"{text}\n", "utf-8")


if __name__ == "__main__":
    main()
