"""Draws codes from a wrong distribution to each prior, and shows them before and after.

    python experiments/theory/priors.py
    python experiments/theory/priors.py --output /tmp/priors.png --steps 2000 --seed 1

A small encoder starts as the identity on points of a skewed, shifted, correlated mixture, so its
codes are wrong. Then it descends one prior and nothing else. Noise injection has no term of its
own: there the encoder ascends the information between a point and its noisy code. Written: the
picture, and beside it a JSON file with the same statistics. Less than a minute on one core.
"""

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from dim_lightning.encoders import Features
from dim_lightning.infomax.priors import (
    AdversarialPrior,
    GaussianKL,
    NoiseInjection,
    Prior,
    SIGReg,
)
from dim_lightning.run.curves import COLOURS, STYLE, figure_png
from dim_lightning.seeding import generator_for
from dim_lightning.writing import write_atomically

OUTPUT = Path(__file__).parent.parent / "figures" / "priors.png"
DIM, BATCH, SHOWN = 2, 256, 4096
# One optimiser for both players; the discriminator has to keep up with the encoder
ENCODER_LR, DISCRIMINATOR_LR, KL_LR = 3e-3, 1e-2, 3e-2


class Case(NamedTuple):
    """A prior as the figure shows it.

    Attributes:
        title: its name.
        prior: the prior itself, not trained yet.
        seen: what it draws to `target`, from (prior, features, code).
        target: 'gaussian' for N(0, I), 'uniform' for [0, 1] in each dimension.
        lr: learning rate of the encoder.
        log_variance: of p(z|x) before training; None for a deterministic encoder.
    """

    title: str
    prior: Any
    seen: Callable[[Any, Features, Tensor], Tensor]
    target: str
    lr: float = ENCODER_LR
    log_variance: float | None = None


class PointEncoder(nn.Module):
    """Points [n, d] to features, at first mean = point: x + a small network that starts at 0."""

    def __init__(self, log_variance: float | None, generator: torch.Generator):
        super().__init__()
        self.hidden, self.last = nn.Linear(DIM, 64), nn.Linear(64, DIM)
        for weight in self.hidden.parameters():
            nn.init.normal_(weight, generator=generator)
        for weight in self.last.parameters():
            nn.init.zeros_(weight)
        self.log_variance = None
        if log_variance is not None:
            self.log_variance = nn.Parameter(torch.full((DIM,), log_variance))

    def forward(self, points: Tensor) -> Features:
        """The features of points."""
        mean = points + self.last(self.hidden(points).tanh())
        spread = None if self.log_variance is None else self.log_variance.expand_as(mean)
        return Features(points[:, :, None, None], {}, mean, spread)


def cases() -> dict[str, Case]:
    """Every prior with the settings of the figure."""

    def code(prior: Prior, features: Features, code: Tensor) -> Tensor:
        return code

    def squashed(prior: AdversarialPrior, features: Features, code: Tensor) -> Tensor:
        return prior.seen(code)

    def normalized(prior: NoiseInjection, features: Features, code: Tensor) -> Tensor:
        return prior.normalize(features.mean)

    uniform = AdversarialPrior(DIM, "uniform", (64, 64))
    gaussian = AdversarialPrior(DIM, "gaussian", (64, 64))
    fine, coarse = NoiseInjection(DIM, "uniform", 0.05), NoiseInjection(DIM, "gaussian", 0.3)
    slices = SIGReg(DIM, num_slices=32)
    return {
        "gaussian_kl": Case("Gaussian KL", GaussianKL(DIM), code, "gaussian", KL_LR, -4.0),
        "sigreg": Case("SIGReg", slices, code, "gaussian", 1e-2),
        "adversarial_gaussian": Case("adversarial N(0, I)", gaussian, code, "gaussian"),
        "noise_gaussian": Case("noise, N(0, I)", coarse, normalized, "gaussian", 1e-2),
        "adversarial_uniform": Case("adversarial uniform", uniform, squashed, "uniform"),
        "noise_uniform": Case("noise, uniform", fine, normalized, "uniform", 1e-2),
    }


def wrong_points(num: int, generator: torch.Generator) -> Tensor:
    """Points [num, 2] of a skewed, shifted, correlated mixture."""
    first, skewed = torch.randn(2, num, generator=generator)
    right = torch.rand(num, generator=generator) < 0.3
    first = torch.where(right, 2.2 + 0.35 * first, -0.4 + 0.5 * first)
    return torch.stack([first, 0.6 * first + 0.3 * torch.exp(0.8 * skewed) - 1], dim=1)


def information(prior: NoiseInjection, mean: Tensor, noisy: Tensor) -> Tensor:
    """InfoNCE between points and their noisy codes, in nats, by the channel's own log density.

    The density of the noise is known, so no critic has to be trained; the box of uniform noise has
    its edges softened, for a gradient. Source: Poole et al., 2019, section 2.5.
    """
    distances = noisy[:, None] - prior.normalize(mean)[None]
    if prior.target == "gaussian":
        scores = -0.5 * (distances / prior.noise_scale).square().sum(2)
    else:
        scores = -softplus(10 * (distances.abs() / prior.noise_scale - 1)).sum(2)
    return (scores.diagonal() - scores.logsumexp(1)).mean() + math.log(len(scores))


def train(case: Case, steps: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Points, and what the prior draws to its target: before and after descending it."""
    prior, encoder = case.prior, PointEncoder(case.log_variance, generator_for(seed, 0))
    groups = [
        {"params": list(encoder.parameters()), "lr": case.lr},
        {"params": list(prior.parameters()), "lr": DISCRIMINATOR_LR},
    ]
    optimizer = torch.optim.Adam([g for g in groups if g["params"]], betas=(0.5, 0.9))
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, steps)
    points = wrong_points(SHOWN, generator_for(seed, 1))
    before = seen(case, encoder, points, seed)
    for step in range(steps):
        generator = generator_for(seed, 2, step)
        features = encoder(wrong_points(BATCH, generator))
        code = prior.draw(features, generator)
        terms = list(prior(features, code, generator).values())
        if isinstance(prior, NoiseInjection):
            terms.append(-information(prior, features.mean, code))
        optimizer.zero_grad()
        torch.stack(terms).sum().backward()
        optimizer.step()
        schedule.step()
    return points, before, seen(case, encoder, points, seed)


@torch.no_grad()
def seen(case: Case, encoder: PointEncoder, points: Tensor, seed: int) -> Tensor:
    """What the prior draws to its target, for these points."""
    features = encoder(points)
    return case.seen(case.prior, features, case.prior.draw(features, generator_for(seed, 3)))


def kolmogorov_smirnov(codes: Tensor, target: str) -> list[float]:
    """Largest distance of the distribution function to the target's, for each dimension."""
    ordered = codes.double().sort(dim=0).values
    exact = ordered.clamp(0, 1) if target == "uniform" else torch.special.ndtr(ordered)
    ranks = torch.arange(len(codes) + 1, dtype=torch.double)[:, None] / len(codes)
    return torch.maximum((exact - ranks[:-1]).abs(), (exact - ranks[1:]).abs()).amax(0).tolist()


def statistics(codes: Tensor, target: str) -> dict[str, Any]:
    """Kolmogorov-Smirnov distance, mean and deviation of each dimension, and the correlation."""
    columns = {
        "kolmogorov_smirnov": kolmogorov_smirnov(codes, target),
        "mean": codes.mean(0).tolist(),
        "std": codes.std(0).tolist(),
        "correlation": [torch.corrcoef(codes.T)[0, 1].item()],
    }
    return {name: [round(value, 4) for value in values] for name, values in columns.items()}


def picture(results: dict[str, tuple[Case, Tensor, Tensor, Tensor]]) -> bytes:
    """A column a prior: marginal of the first dimension, codes before, codes after; as PNG."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({**STYLE, "font.size": 8, "axes.titlesize": 9}):
        size = (2.15 * len(results), 6.6)
        figure = Figure(figsize=size, dpi=110, layout="constrained")
        grid = figure.subplots(3, len(results), squeeze=False)
        for column, (case, points, *both) in zip(grid.T, results.values(), strict=True):
            worst = [max(kolmogorov_smirnov(codes, case.target)) for codes in both]
            column[0].set_title(f"{case.title}\nKS {worst[0]:.2f} → {worst[1]:.2f}")
            _marginal(column[0], case, *both)
            for axes, codes in zip(column[1:], both, strict=True):
                _scatter(axes, case, codes, points)
        for axes, label in zip(grid[:, 0], ("first dimension", "before", "after"), strict=True):
            axes.set_ylabel(label, fontsize=9)
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=3, handlelength=1.2)
        return figure_png(figure)


def _marginal(axes: Any, case: Case, before: Tensor, after: Tensor) -> None:
    low, high = _limits(case)
    bins = torch.linspace(low, high, 41).tolist()
    inside = [codes[:, 0].clamp(low, high).tolist() for codes in (before, after)]
    axes.hist(inside[0], bins, density=True, color="#cbd5e1", label="before")
    axes.hist(inside[1], bins, density=True, histtype="step", color=COLOURS[0], label="after")
    x = torch.linspace(low, high, 200)
    inner = ((x >= 0) & (x <= 1)).float()
    density = inner if case.target == "uniform" else torch.exp(-0.5 * x**2) / math.sqrt(math.tau)
    axes.plot(x.tolist(), density.tolist(), color=COLOURS[1], label="prior")
    axes.set(yticks=[], xlim=(low, high), xticks=_ticks(case))


def _scatter(axes: Any, case: Case, codes: Tensor, points: Tensor) -> None:
    """Codes, coloured by where their points lay: mixed colours say nothing of the points."""
    some = slice(0, 1500)
    x, y = codes[some].T.tolist()
    axes.scatter(x, y, 3, points[some, 0].tolist(), cmap="viridis", linewidths=0, alpha=0.7)
    axes.set(xlim=_limits(case), ylim=_limits(case), aspect="equal")
    axes.set(xticks=_ticks(case), yticks=_ticks(case))


def _ticks(case: Case) -> list[float]:
    return [0.0, 0.5, 1.0] if case.target == "uniform" else [-2.0, 0.0, 2.0]


def _limits(case: Case) -> tuple[float, float]:
    return (-0.1, 1.1) if case.target == "uniform" else (-3.5, 3.5)


def main(arguments: list[str] | None = None) -> None:
    """Trains, writes the picture and the statistics, prints the statistics."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the PNG; JSON goes beside it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=1000, help="of training, for each prior")
    options = parser.parse_args(arguments)
    torch.manual_seed(options.seed)  # the discriminators' first weights
    results, table = {}, {}
    for name, case in cases().items():
        points, before, after = train(case, options.steps, options.seed)
        results[name] = (case, points, before, after)
        table[name] = {
            "target": case.target,
            "before": statistics(before, case.target),
            "after": statistics(after, case.target),
        }
        distances = [table[name][when]["kolmogorov_smirnov"] for when in ("before", "after")]
        print(f"{name}: Kolmogorov-Smirnov {distances[0]} -> {distances[1]}")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(options.output, picture(results))
    settings = {"seed": options.seed, "steps": options.steps}
    content = json.dumps({**settings, "priors": table}, indent=1) + "\n"
    write_atomically(options.output.with_suffix(".json"), content)


if __name__ == "__main__":
    main()
