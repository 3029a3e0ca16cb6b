"""What codes that follow their prior look like, a dimension at a time."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class CodePrior(NamedTuple):
    """A distribution of codes whose dimensions are independent and alike, with mean 0.

    Attributes:
        name: of the distribution of whole codes.
        std: standard deviation of a dimension.
        density: of a dimension.
        draws: n codes of d dimensions, [n, d], given n, d and a generator.
    """

    name: str
    std: float
    density: Callable[[np.ndarray], np.ndarray]
    draws: Callable[[int, int, torch.Generator], Tensor]


def _normal_density(x: np.ndarray) -> np.ndarray:
    return np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


def _normal_draws(n: int, d: int, generator: torch.Generator) -> Tensor:
    return torch.randn(n, d, generator=generator)


def _logistic_density(x: np.ndarray) -> np.ndarray:
    return 1 / (4 * np.cosh(x / 2) ** 2)


def _logistic_draws(n: int, d: int, generator: torch.Generator) -> Tensor:
    return torch.rand(n, d, generator=generator).logit(eps=1e-6)


# By `EncoderModule.code_prior`. Codes whose sigmoid is uniform follow the logistic distribution.
CODE_PRIORS = {
    "gaussian": CodePrior("N(0, I)", 1.0, _normal_density, _normal_draws),
    "uniform": CodePrior(
        "uniform after a sigmoid", math.pi / math.sqrt(3), _logistic_density, _logistic_draws
    ),
}
