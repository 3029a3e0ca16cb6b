"""Time of the linear probe's solver on made-up features, and how far its solutions agree.

    python experiments/benchmarks/linear_probe.py --output linear_probe.json
    python experiments/benchmarks/linear_probe.py --images 90000 --classes 200
    python experiments/benchmarks/linear_probe.py --probe --images 9000 --dim 1024 --classes 50
    python experiments/benchmarks/linear_probe.py --probe --images 9000 --root data
    python experiments/benchmarks/linear_probe.py --svm --images 9000 --dim 1024

The features are random rectified combinations of fewer latent variables, which gives them the steep
spectrum of features of images. Each solver goes through the penalties from the strongest to the
weakest, each from the solution before, as the linear probe does: Newton's method with products in
float32, and the same in bfloat16.

With `--svm` it is the support vector machine instead, each weight of the loss by itself, against
scikit-learn's LinearSVC, in turn. With `--probe` it is the whole probe instead, search for the
penalty and all: as it is, and with every penalty that is tried solved to 1e-7 nats, in turn. With
`--root` the features are those of CIFAR-10 by a random encoder, layer by layer.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any, ClassVar

import torch
from sklearn.svm import LinearSVC

from dim_lightning.data import ImageDataModule
from dim_lightning.data.sources import CIFAR10
from dim_lightning.encoders import BlogEncoder
from dim_lightning.evaluation import Labelled, accuracy, extract, probes
from dim_lightning.evaluation.conditioning import standardisation
from dim_lightning.evaluation.offline import Splits
from dim_lightning.evaluation.softmax_regression import SoftmaxSolver
from dim_lightning.evaluation.svm import linear_svm
from dim_lightning.evaluation.untrained import untrained
from dim_lightning.seeding import generator_for

LATENT, NOISE, VALIDATION = 256, 0.5, 5000
Row = dict[str, float | str | bool]
AS_IT_IS, TO_THE_END = "as it is", "to 1e-7"


def made_up(images: int, dim: int, classes: int) -> tuple[Labelled, Labelled]:
    """Features to fit, [images, dim], and `VALIDATION` others of the same kind."""
    generator = generator_for(0)
    strengths = torch.arange(1, LATENT + 1) ** -0.5
    mixing = torch.randn(LATENT, dim, generator=generator)
    teacher = torch.randn(LATENT, classes, generator=generator) / classes**0.5
    latent = torch.randn(images + VALIDATION, LATENT, generator=generator) * strengths
    logits = latent @ teacher
    gumbel = -torch.empty_like(logits).exponential_(generator=generator).log()
    labels = (3 * logits / logits.std() + gumbel).argmax(dim=1)
    features = latent @ mixing
    for block in features.split(4096):
        block.add_(torch.randn(block.shape, generator=generator), alpha=NOISE).relu_()
    return Labelled(features[:images], labels[:images]), Labelled(
        features[images:], labels[images:]
    )


def measure(name: str, solver: SoftmaxSolver, l2: float, val: Labelled) -> Row:
    """Seconds of one penalty and what was found."""
    wall, processor = time.perf_counter(), time.process_time()
    model = solver.fit(l2)
    return {
        "solver": name,
        "l2": l2,
        "seconds": time.perf_counter() - wall,
        "processor_seconds": time.process_time() - processor,
        "objective": solver._evaluate(solver.solution, l2).objective,
        "val_top1": accuracy(model.predict(val.features), val.labels),
    }


def of_pictures(images: int, root: str, cache_dir: str | None) -> dict[str, Splits]:
    """Features of `images` pictures of CIFAR-10 by a random encoder, layer by layer."""
    data = ImageDataModule(CIFAR10(), root=root, cache_dir=cache_dir)
    data.setup()
    encoder = untrained(BlogEncoder(32), data.clean_dataloader("train", limit=2000), "cpu")
    limits = {"train": images, "val": VALIDATION, "test": VALIDATION}
    taken = [extract(encoder, data.clean_dataloader(n, limit=k)) for n, k in limits.items()]
    return {
        name: Splits(*(Labelled(part.layers[name], part.labels) for part in taken))
        for name in taken[0].layers
    }


class Counting(SoftmaxSolver):
    """Counts what takes the time."""

    work: ClassVar = {"products": 0, "evaluations": 0}

    def _hessian_times(self, *arguments: Any) -> torch.Tensor:
        self.work["products"] += 1
        return super()._hessian_times(*arguments)

    def _evaluate(self, *arguments: Any) -> Any:
        self.work["evaluations"] += 1
        return super()._evaluate(*arguments)


def measure_probe(way: str, layer: str, splits: Splits, classes: int) -> Row:
    """Seconds of the whole probe, what it did and what it found."""
    to_the_end = {"_SEARCH_TOLERANCE": 1e-7, "_TOLERANCE": 1e-7, "_RISE": float("inf")}
    to_the_end["_SEARCH_PRODUCTS"] = probes._MOST_PRODUCTS
    kept = {name: getattr(probes, name) for name in ("SoftmaxSolver", *to_the_end)}
    Counting.work.update(products=0, evaluations=0)
    vars(probes).update(to_the_end if way == TO_THE_END else {}, SoftmaxSolver=Counting)
    processor = time.process_time()
    try:
        result = probes.linear_probe(*splits, classes)
    finally:
        vars(probes).update(kept)
    seconds = time.process_time() - processor
    what = {"way": way, "layer": layer, "dim": splits.train.features.shape[1]}
    names = ("top1", "val_top1", "l2", "converged")
    found = {name: getattr(result, name) for name in names}
    return {**what, "processor_seconds": seconds, **Counting.work, **found}


def compare_probes(chosen: argparse.Namespace) -> list[Row]:
    """Both ways on the features asked for, printed as a table."""
    if chosen.root:
        kinds, classes = of_pictures(chosen.images, chosen.root, chosen.cache_dir), 10
    else:
        train, val = made_up(chosen.images, chosen.dim, chosen.classes)
        half = VALIDATION // 2
        parts = (Labelled(f, y) for f, y in zip(*(t.split(half) for t in val), strict=True))
        kinds, classes = {"made up": Splits(train, *parts)}, chosen.classes
    print("| layer | size | way | seconds of the processor | products | evaluations | l2 | test |")
    print("|---|---|---|---|---|---|---|---|")
    rows = []
    for layer, splits in kinds.items():
        for way in [TO_THE_END, AS_IT_IS] * chosen.repeats:
            row = measure_probe(way, layer, splits, classes)
            rows.append(row)
            cells = [f"{row['processor_seconds']:.1f}", row["products"], row["evaluations"]]
            cells += [f"{row['l2']:g}", f"{row['top1']:.2%}"]
            print("|", " | ".join(map(str, [layer, row["dim"], way, *cells])), "|", flush=True)
    return rows


def compare_solvers(chosen: argparse.Namespace) -> list[Row]:
    """Each solver on each penalty, printed as a table."""
    train, val = made_up(chosen.images, chosen.dim, chosen.classes)
    print(f"{'solver':<18}{'l2':>8}{'seconds':>10}{'processor':>11}{'objective':>12}{'val':>8}")
    rows = []
    for name, dtype in {"newton float32": torch.float32, "newton bfloat16": torch.bfloat16}.items():
        solver = SoftmaxSolver(train, chosen.classes, product_dtype=dtype)
        for l2 in sorted(chosen.penalties, reverse=True):
            row = measure(name, solver, l2, val)
            rows.append(row)
            print(
                f"{name:<18}{l2:>8g}{row['seconds']:>10.1f}{row['processor_seconds']:>11.1f}"
                f"{row['objective']:>12.7f}{row['val_top1']:>8.2%}",
                flush=True,
            )
    return rows


def compare_machines(chosen: argparse.Namespace) -> list[Row]:
    """SciPy's L-BFGS on all classes and LIBLINEAR class by class, printed as a table."""
    train, val = made_up(chosen.images, chosen.dim, chosen.classes)
    mean, scale = standardisation(train.features)
    standard, queries = (((part.features - mean) / scale).numpy() for part in (train, val))

    def ours(c: float) -> float:
        return linear_svm(train, val, val, grid=(c,)).top1

    def liblinear(c: float) -> float:
        machine = LinearSVC(C=c, dual=False).fit(standard, train.labels.numpy())
        return float((machine.predict(queries) == val.labels.numpy()).mean())

    print(f"{'solver':<12}{'c':>8}{'seconds':>10}{'processor':>11}{'val':>8}")
    rows: list[Row] = []
    for c in chosen.weights:
        for name, fit in {"linear_svm": ours, "LinearSVC": liblinear}.items():
            wall, processor = time.perf_counter(), time.process_time()
            top1 = fit(c)
            spent = time.perf_counter() - wall, time.process_time() - processor
            row = {"solver": name, "c": c, "seconds": spent[0], "processor_seconds": spent[1]}
            rows.append({**row, "val_top1": top1})
            print(f"{name:<12}{c:>8g}{spent[0]:>10.1f}{spent[1]:>11.1f}{top1:>8.2%}", flush=True)
    return rows


def main() -> None:
    """Measures, prints a table and writes it as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--images", type=int, default=45_000)
    parser.add_argument("--dim", type=int, default=4096)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--penalties", type=float, nargs="+", default=[1.0, 0.1, 0.01])
    parser.add_argument("--weights", type=float, nargs="+", default=[1e-5, 1e-4, 1e-3])
    parser.add_argument("--svm", action="store_true", help="support vector machines instead")
    parser.add_argument("--probe", action="store_true", help="the whole probe, not its solver")
    parser.add_argument("--repeats", type=int, default=1, help="of the whole probe")
    parser.add_argument("--root", help="where CIFAR-10 lies, for features of it")
    parser.add_argument("--cache_dir", help="where its decoded pictures lie")
    parser.add_argument("--output", type=Path, help="a JSON file for the rows")
    chosen = parser.parse_args()
    compare = compare_machines if chosen.svm else compare_solvers
    rows = compare_probes(chosen) if chosen.probe else compare(chosen)
    if chosen.output:
        setting = {"threads": torch.get_num_threads(), "torch": torch.__version__}
        setting |= {name: getattr(chosen, name) for name in ("images", "dim", "classes")}
        text = json.dumps({"setting": setting, "rows": rows}, indent=1)
        chosen.output.write_text(f"{text}\n", "utf-8")


if __name__ == "__main__":
    main()
