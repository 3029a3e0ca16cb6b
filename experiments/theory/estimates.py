"""Each estimator, trained with a critic, against the truth: correlated Gaussians.

    python experiments/theory/estimates.py

x and y are d-dimensional standard Gaussians whose i-th components have correlation rho, so their
mutual information is -d/2 log(1 - rho^2) nats, and the other divergences are known as well. For
each estimator and each amount of information a critic is trained with all pairs of fresh batches,
then the estimate is averaged over further fresh batches. Writes estimates.json, estimates.md (the
table), a figure an estimator and reported.png into the folder given. `--redraw` makes table and
figures again from estimates.json.
"""

import argparse
import json
import math
import time
from pathlib import Path
from statistics import fmean, stdev

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from torch import Tensor

from dim_lightning.infomax import estimators as est
from dim_lightning.infomax.critics import ConcatCritic, Critic, DotCritic
from dim_lightning.infomax.scores import Scores
from dim_lightning.run.curves import figure_png
from dim_lightning.seeding import generator_for
from dim_lightning.writing import write_atomically

TRAINED = [
    est.donsker_varadhan,
    est.nwj,
    est.info_nce,
    est.jensen_shannon,
    est.squared_hellinger,
    est.reverse_kl,
    est.pearson_chi2,
]
INFORMATION = (est.donsker_varadhan, est.nwj, est.info_nce)
REPORTED = [est.donsker_varadhan, est.log_ratio_nwj, est.smile]  # beside the trained Jensen-Shannon


def correlation(information: float, num_dims: int) -> float:
    """The rho at which d pairs share so many nats."""
    return math.sqrt(1 - math.exp(-2 * information / num_dims))


def draw(rho: float, size: tuple[int, int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A batch of pairs, [n, d] each."""
    x, noise = torch.randn(2, *size, generator=generator)
    return x, rho * x + math.sqrt(1 - rho**2) * noise


def log_ratio(x: Tensor, y: Tensor, rho: float) -> Tensor:
    """Exact log of joint over product of marginals, [n]."""
    quadratic = (rho**2 * (x**2 + y**2) - 2 * rho * x * y) / (2 * (1 - rho**2))
    return (-0.5 * math.log(1 - rho**2) - quadratic).sum(-1)


def truth(estimator: est.Estimator, information: float, num_dims: int) -> float:
    """What the best of all critics would reach with endless samples."""
    rho = correlation(information, num_dims)
    square = rho**2
    if estimator in INFORMATION:
        return information
    if estimator is est.reverse_kl:
        return num_dims * (square / (1 - square) + 0.5 * math.log(1 - square))
    if estimator is est.pearson_chi2:
        return math.expm1(2 * information)
    if estimator is est.squared_hellinger:
        overlap = (1 - square) ** 0.25 / math.sqrt(1 - square / 4)
        return 2 - 2 * overlap**num_dims
    generator = generator_for(0, 1)
    x, y = draw(rho, (400_000, num_dims), generator)
    real, other = log_ratio(x, y, rho), log_ratio(x, y.roll(1, 0), rho)
    softplus = torch.nn.functional.softplus
    return (-softplus(-real).mean() - softplus(other).mean()).item()


def ceiling(estimator: est.Estimator, batch_size: int) -> float | None:
    """The largest value that the estimator can take, whatever the truth."""
    ceilings = {
        est.info_nce: math.log(batch_size),
        est.jensen_shannon: 0.0,
        est.squared_hellinger: 2.0,
    }
    return ceilings.get(estimator)


def train(
    critic: Critic, estimator: est.Estimator, rho: float, options: argparse.Namespace, seed: int
) -> dict[str, float]:
    """Mean of the estimate, and of those reported, over fresh batches after training."""
    generator = generator_for(seed, 0)
    size = (options.batch_size, options.dims)
    optimizer = torch.optim.Adam(critic.parameters(), options.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.steps)
    values: dict[str, list[float]] = {}
    for step in range(options.steps + options.evaluation_steps):
        x, y = draw(rho, size, generator)
        if step < options.steps:
            loss = -estimator(critic(x[:, None], y, None))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(critic.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            continue
        with torch.no_grad():
            scores = critic(x[:, None], y, None)
            for function in {estimator, *REPORTED}:
                values.setdefault(est.name_of(function), []).append(function(scores).item())
    return {name: sum(found) / len(found) for name, found in values.items()}


def measure(options: argparse.Namespace) -> list[dict]:
    """One row for each estimator, amount of information and seed."""
    rows = []
    for estimator in TRAINED:
        for information in options.information:
            for seed in range(options.seeds):
                torch.manual_seed(seed)
                critic: Critic = (
                    DotCritic(options.dims, options.dims, options.width)
                    if options.critic == "dot"
                    else ConcatCritic(options.dims, options.dims, (options.width, options.width))
                )
                start = time.perf_counter()
                rho = correlation(information, options.dims)
                found = train(critic, estimator, rho, options, seed)
                name = est.name_of(estimator)
                row = {
                    "estimator": name,
                    "information": information,
                    "seed": seed,
                    "truth": truth(estimator, information, options.dims),
                    "ceiling": ceiling(estimator, options.batch_size),
                    "estimate": found[name],
                    "reported": found,
                    "seconds": time.perf_counter() - start,
                }
                rows.append(row)
                print(json.dumps(row), flush=True)
    return rows


def table(rows: list[dict], options: argparse.Namespace) -> str:
    """The estimates as Markdown: a line an estimator, a column an amount of information."""
    lines = ["| trained | | " + " | ".join(f"{i:g} nats" for i in options.information) + " |"]
    lines.append("|---|---|" + "---|" * len(options.information))
    for estimator in TRAINED:
        name = est.name_of(estimator)
        for kind in ("truth", "estimate"):
            cells = []
            for information in options.information:
                found = [
                    r[kind]
                    for r in rows
                    if r["estimator"] == name and r["information"] == information
                ]
                mean, spread = fmean(found), stdev(found) if len(found) > 1 else 0.0
                digits = f"{mean:.3g}" if abs(mean) < 1000 else f"{mean:.1e}"
                cells.append(f"{digits} ± {spread:.1g}" if kind == "estimate" else digits)
            lines.append(
                f"| {name if kind == 'truth' else ''} | {kind} | " + " | ".join(cells) + " |"
            )
    return "\n".join(lines) + "\n"


def draw_estimator(
    estimator: est.Estimator, rows: list[dict], options: argparse.Namespace, path: Path
) -> None:
    """What scores earn, and estimate against truth with the ceiling."""
    name = est.name_of(estimator)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), constrained_layout=True)
    _draw_earnings(left, estimator, options.batch_size)
    right.plot(*_line(rows, "truth"), color="0.3", label="truth, the best of all critics")
    right.plot(*_line(rows, "estimate"), "o-", color="C0", label="a trained critic")
    top = ceiling(estimator, options.batch_size)
    if top is not None:
        right.axhline(top, color="C3", linestyle="--", label=f"ceiling {top:.2f}")
    if estimator is est.pearson_chi2:
        right.set_yscale("log")
    elif estimator in (est.nwj, est.reverse_kl):  # fall without end where training breaks down
        right.set_ylim(-3, 1.1 * max(r["truth"] for r in rows))
    right.set_xlabel("mutual information, nats")
    right.set_ylabel(f"{name}")
    right.legend(fontsize=8, loc="upper left")
    _save(figure, path)


def _draw_earnings(axis: plt.Axes, estimator: est.Estimator, batch_size: int) -> None:
    """The estimate against the scores of real pairs, others at 0, and the other way round."""
    scores = torch.linspace(-6, 6, 121)
    others = torch.zeros(2, batch_size - 1, 1)
    real = [estimator(Scores(torch.full((2, 1), t), others)) for t in scores.tolist()]
    other = [estimator(Scores(torch.zeros(2, 1), others + t)) for t in scores.tolist()]
    axis.plot(scores, real, color="C2", label="of real pairs, others at 0")
    axis.plot(scores, other, color="C1", label="of other pairs, real at 0")
    axis.set_ylim(-6.5, 6.5)
    axis.set_xlabel("score T")
    axis.set_ylabel("value")
    axis.set_title(f"{est.name_of(estimator)}: what a score earns", fontsize=10)
    axis.legend(fontsize=8, loc="upper left")
    axis.grid(alpha=0.3)


def draw_reported(rows: list[dict], options: argparse.Namespace, path: Path) -> None:
    """Critics trained with Jensen-Shannon, and what other estimators read from their scores."""
    figure, axis = plt.subplots(figsize=(5, 3.6), constrained_layout=True)
    axis.plot(*_line(rows, "information"), color="0.3", label="truth")
    for index, function in enumerate(REPORTED):
        name = est.name_of(function)
        found = [{**r, "value": r["reported"][name]} for r in rows]
        axis.plot(*_line(found, "value"), "o-", color=f"C{index}", label=name)
    axis.set_ylim(-1, 1.3 * max(options.information))
    axis.set_title("trained with jensen_shannon, reported", fontsize=10)
    axis.set_xlabel("mutual information, nats")
    axis.legend(fontsize=8, loc="upper left")
    _save(figure, path)


def _save(figure: plt.Figure, path: Path) -> None:
    write_atomically(path, figure_png(figure))
    plt.close(figure)


def _line(rows: list[dict], key: str) -> tuple[list[float], list[float]]:
    places = sorted({r["information"] for r in rows})
    means = [fmean(r[key] for r in rows if r["information"] == place) for place in places]
    return places, means


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("experiments/theory/estimates"))
    parser.add_argument("--dims", type=int, default=20)
    parser.add_argument("--information", type=float, nargs="+", default=[1, 2, 4, 6, 8, 10])
    parser.add_argument("--critic", choices=["dot", "concat"], default="concat")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--evaluation-steps", type=int, default=300)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--redraw", action="store_true", help="measure nothing")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    if options.redraw:
        stored = json.loads((options.output / "estimates.json").read_text("utf-8"))
        rows = stored.pop("rows")
        vars(options).update(stored)
    else:
        rows = measure(options)
    settings = {k: v for k, v in vars(options).items() if k not in ("output", "redraw")}
    content = json.dumps({**settings, "rows": rows}, indent=1)
    write_atomically(options.output / "estimates.json", content)
    write_atomically(options.output / "estimates.md", table(rows, options))
    for estimator in TRAINED:
        name = est.name_of(estimator)
        mine = [r for r in rows if r["estimator"] == name]
        draw_estimator(estimator, mine, options, options.output / f"{name}.png")
        if estimator is est.jensen_shannon:
            draw_reported(mine, options, options.output / "reported.png")


if __name__ == "__main__":
    main()
