"""The shape of a set of codes: whether it collapsed, and whether it follows its prior."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from dim_lightning.errors import check_least
from dim_lightning.evaluation.labelled import check_same_shape

_DEAD_VARIANCE = 0.01


class CodeStatistics(NamedTuple):
    """Statistics of n codes of d dimensions, each p(z|x) = N(mean, variance) or a point.

    Attributes:
        mean: of each dimension of the mean codes, [d].
        std: of each dimension of the mean codes, [d].
        aggregate_std: of each dimension of codes drawn from p(z|x), [d]: what N(0, I) as prior asks
            to be 1. Equal to `std` for an encoder without noise.
        singular_values: of the mean codes, descending, [min(n, d)].
        effective_rank: see `effective_rank`.
        correlation_abs: mean absolute correlation of two different dimensions of the mean codes
            that vary at all, 0 for the prior; of n independent draws about 0.8 / sqrt(n).
        dead_share: share of the dimensions whose mean code has a variance of at most 0.01, which
            for a prior of variance 1 is to say nothing of the image; where no prior sets the scale,
            such a dimension may only be small. Source: active units, Burda et al., 2016.
        uniformity: see `uniformity`.
    """

    mean: Float[Tensor, " d"]
    std: Float[Tensor, " d"]
    aggregate_std: Float[Tensor, " d"]
    singular_values: Float[Tensor, " r"]
    effective_rank: float
    correlation_abs: float
    dead_share: float
    uniformity: float

    def summary(self) -> dict[str, float]:
        """The figures that fit in a log, by name."""
        return {
            "effective_rank": self.effective_rank,
            "mean_abs": self.mean.abs().mean().item(),
            "std_mean": self.std.mean().item(),
            "std_min": self.std.min().item(),
            "aggregate_std_mean": self.aggregate_std.mean().item(),
            "correlation_abs": self.correlation_abs,
            "dead_share": self.dead_share,
            "uniformity": self.uniformity,
        }


def geometry_of(
    mean: Float[Tensor, "n d"], log_variance: Float[Tensor, "n d"] | None = None
) -> CodeStatistics:
    """The statistics of the codes with this mean and, where p(z|x) is Gaussian, log variance.

    Raises:
        InputError: the shapes of both differ.
    """
    if log_variance is not None:
        check_same_shape(mean=mean, log_variance=log_variance)
    codes = mean.detach().double()
    centre, variance = codes.mean(dim=0), codes.var(dim=0, correction=0)
    noise = 0.0 if log_variance is None else log_variance.detach().double().exp().mean(dim=0)
    values = torch.linalg.svdvals(codes)
    return CodeStatistics(
        mean=centre.float(),
        std=variance.sqrt().float(),
        aggregate_std=(variance + noise).sqrt().float(),
        singular_values=values.float(),
        effective_rank=_rank_of(values),
        correlation_abs=_mean_abs_correlation(codes - centre),
        dead_share=(variance <= _DEAD_VARIANCE).double().mean().item(),
        uniformity=uniformity(mean.detach()),
    )


def effective_rank(embeddings: Float[Tensor, "n d"]) -> float:
    """How many directions the codes use, between 1 and min(n, d); 0 if all of them are zero.

    exp(-sum_k p_k log p_k) with p_k = s_k / sum(s), s the singular values of the codes as they are
    (not centred: codes that all lie near one point have collapsed).

    Source: RankMe, Garrido et al., 2023, equation 1; the entropy of Roy and Vetterli, 2007.
    """
    return _rank_of(torch.linalg.svdvals(embeddings.double()))


def uniformity(embeddings: Float[Tensor, "n d"], *, limit: int = 2048) -> float:
    """The log of the mean of exp(-2 |u - v|^2) over pairs of codes of length 1.

    Of more than `limit` codes that many are taken, evenly spaced, as those of a class may lie
    together.

    0 if all point the same way; about -4 for many directions spread evenly in many dimensions.

    Source: Wang and Isola, 2020, equation 3 (t = 2).

    Raises:
        InputError: the limit is below 2.
    """
    check_least("limit", limit, 2, "codes")
    if len(embeddings) < 2:
        return 0.0
    count = min(len(embeddings), limit)
    rows = torch.arange(count, device=embeddings.device) * len(embeddings) // count
    squared = F.pdist(F.normalize(embeddings[rows].double(), dim=1)).square()
    return (-2 * squared).logsumexp(dim=0).sub(torch.tensor(len(squared)).log()).item()


def alignment(first: Float[Tensor, "n d"], second: Float[Tensor, "n d"]) -> float:
    """The mean of |u - v|^2 over the codes of two views of each image, brought to length 1.

    0 if both views of every image have one code; about 2 if they have no more to do with each other
    than any two directions.

    Source: Wang and Isola, 2020, equation 2 (alpha = 2).

    Raises:
        InputError: the shapes of both differ.
    """
    check_same_shape(first=first, second=second)
    u, v = (F.normalize(codes.double(), dim=1) for codes in (first, second))
    return (u - v).square().sum(dim=1).mean().item()


def _rank_of(singular_values: Tensor) -> float:
    total = singular_values.sum()
    if total == 0:
        return 0.0
    return torch.special.entr(singular_values / total).sum().exp().item()


def _mean_abs_correlation(centred: Tensor) -> float:
    varying = centred[:, centred.abs().amax(dim=0) > 0]
    dim = varying.shape[1]
    if dim < 2:
        return 0.0
    directions = F.normalize(varying, dim=0)
    off_diagonal = (directions.mT @ directions).fill_diagonal_(0).abs()
    return (off_diagonal.sum() / (dim * (dim - 1))).item()
