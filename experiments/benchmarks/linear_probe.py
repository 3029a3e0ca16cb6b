"""Time of the linear probe's solver on made-up features, and how far its solutions agree.

    python experiments/benchmarks/linear_probe.py --output linear_probe.json
    python experiments/benchmarks/linear_probe.py --images 90000 --classes 200

The features are random rectified combinations of fewer latent variables, which gives them the steep
spectrum of features of images. Each solver goes through the penalties from the strongest to the
weakest, each from the solution before, as the linear probe does: Newton's method with products in
float32, the same in bfloat16, and, with `--lbfgs`, L-BFGS on the same float32 objective and
through the same Cholesky factor.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch

from dim_lightning.evaluation import Labelled, accuracy
from dim_lightning.evaluation.softmax_regression import SoftmaxRegression, SoftmaxSolver
from dim_lightning.seeding import generator_for

LATENT, NOISE, VALIDATION = 256, 0.5, 5000
Row = dict[str, float | str | bool]


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


def fit_by_lbfgs(solver: SoftmaxSolver, l2: float) -> SoftmaxRegression:
    """The solution of `solver`'s problem by L-BFGS, to about the same distance."""
    factor, bias_scale = solver._factor(l2), solver.num_classes**0.5
    seen = torch.cat([factor.mT @ solver.solution[:-1], solver.solution[-1:] / bias_scale])
    optimizer = torch.optim.LBFGS(
        [seen],
        max_iter=500,
        tolerance_grad=1e-5,
        tolerance_change=0.0,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def solution() -> torch.Tensor:
        weight = torch.linalg.solve_triangular(factor.mT, seen[:-1], upper=True)
        return torch.cat([weight, seen[-1:] * bias_scale])

    @torch.no_grad()
    def closure() -> float:
        point = solver._evaluate(solution(), l2)
        weight = torch.linalg.solve_triangular(factor, point.gradient[:-1], upper=False)
        seen.grad = torch.cat([weight, point.gradient[-1:] * bias_scale])
        return point.objective

    optimizer.step(closure)
    solver.solution = solution()
    return solver.fit(l2, max_products=0)


def measure(
    name: str,
    solver: SoftmaxSolver,
    fit: Callable[[float], SoftmaxRegression],
    l2: float,
    val: Labelled,
) -> Row:
    """Seconds of one penalty and what was found."""
    wall, processor = time.perf_counter(), time.process_time()
    model = fit(l2)
    return {
        "solver": name,
        "l2": l2,
        "seconds": time.perf_counter() - wall,
        "processor_seconds": time.process_time() - processor,
        "objective": solver._evaluate(solver.solution, l2).objective,
        "val_top1": accuracy(model.predict(val.features), val.labels),
    }


def main() -> None:
    """Measures, prints a table and writes it as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--images", type=int, default=45_000)
    parser.add_argument("--dim", type=int, default=4096)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--penalties", type=float, nargs="+", default=[1.0, 0.1, 0.01])
    parser.add_argument("--lbfgs", action="store_true", help="L-BFGS as well")
    parser.add_argument("--output", type=Path, help="a JSON file for the rows")
    chosen = parser.parse_args()
    train, val = made_up(chosen.images, chosen.dim, chosen.classes)
    print(f"{'solver':<18}{'l2':>8}{'seconds':>10}{'processor':>11}{'objective':>12}{'val':>8}")
    rows = []
    for name in ["newton float32", "newton bfloat16", *["lbfgs"] * chosen.lbfgs]:
        dtype = torch.bfloat16 if "bfloat16" in name else torch.float32
        solver = SoftmaxSolver(train, chosen.classes, product_dtype=dtype)

        def fit(l2: float, solver: SoftmaxSolver = solver, name: str = name) -> SoftmaxRegression:
            return fit_by_lbfgs(solver, l2) if name == "lbfgs" else solver.fit(l2)

        for l2 in sorted(chosen.penalties, reverse=True):
            row = measure(name, solver, fit, l2, val)
            rows.append(row)
            print(
                f"{name:<18}{l2:>8g}{row['seconds']:>10.1f}{row['processor_seconds']:>11.1f}"
                f"{row['objective']:>12.7f}{row['val_top1']:>8.2%}",
                flush=True,
            )
    if chosen.output:
        setting = {"threads": torch.get_num_threads(), "torch": torch.__version__}
        setting |= {name: getattr(chosen, name) for name in ("images", "dim", "classes")}
        chosen.output.write_text(json.dumps({"setting": setting, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
