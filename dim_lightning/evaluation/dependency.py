"""How much an image and its code, or the dimensions of a code, depend on one another, in nats.

Both are a Kullback-Leibler divergence of a joint distribution J from a product M of marginals, as
the Donsker-Varadhan formula E_J[T] - log E_M[exp T] of a statistic T gives it on images that T was
not fitted to.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dim_lightning.errors import InputError
from dim_lightning.evaluation.conditioning import standardisation
from dim_lightning.evaluation.fitting import passes, seeded
from dim_lightning.infomax.critics import ConcatCritic
from dim_lightning.seeding import generator_for

_DRAWS = 10  # of M, an image, where T is judged
_AT_ONCE = 1024  # images
_FITTING, _JUDGING = 1, 2  # third in a key: apart from each other and from the orders of epochs
_FEWEST = 10


class Estimate(NamedTuple):
    """What a fitted statistic T finds.

    Attributes:
        nats: the Donsker-Varadhan formula on the test images.
        bound_nats: the multi-sample bound there, which on average is never too large (of fewer than
            20 images, whose draws repeat, by up to 0.05 nats).
        val_nats: as `nats`, on the validation images, which chose T.
        epoch: from 1, after which T was taken.
    """

    nats: float
    bound_nats: float
    val_nats: float
    epoch: int


class Paired(NamedTuple):
    """Images, flattened, and their codes."""

    images: Float[Tensor, "n k"]
    codes: Float[Tensor, "n d"]


def mutual_information(
    train: Paired,
    val: Paired,
    test: Paired,
    *,
    epochs: int = 30,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    widths: Sequence[int] = (512, 512),
    seed: int = 0,
) -> Estimate:
    """MINE: what T(x, z) finds of the mutual information of image and code, in nats.

    E_J[T] - log E_M[exp T] with J the images with their own codes, M the images with the codes of
    others. T is a multilayer perceptron on both, standardised. It maximises `multi_sample_bound` on
    training images: the formula itself, its gradient taken at a moving average of E_M[exp T], let
    T of dependent codes grow without end, and its values were those of single draws. It is taken
    from the epoch whose multi-sample bound is best on validation images, so that it does not know
    the images it is judged on.

    A lower bound but for the error of E_M[exp T], a mean over draws of test images whose logarithm
    is too small on average, so that the bound errs upwards; beyond the logarithm of their number
    draws leave it undetermined (McAllester and Stratos, 2020), and `bound_nats` cannot say more. Of
    a continuous code without noise the information itself is infinite: then this says how much of
    it such a T can use.

    Source: Belghazi et al., 2018, for the formula; the measure of Hjelm et al., 2019, table 4, who
    leave network and training open. Their values may be of training images.

    Raises:
        InputError: there are fewer than 10 images of a split.
    """
    train, val, test = (Paired(*(v.detach() for v in part)) for part in (train, val, test))
    codes = [part.codes for part in (train, val, test)]
    check_enough("mine", _counts(codes), train.codes.shape[1])
    device = train.codes.device
    with seeded(seed, device):
        sizes = train.images.shape[1], train.codes.shape[1]
        statistic = _OfPairs(ConcatCritic(*sizes, widths=tuple(widths))).to(device)
        moments = [standardisation(values) for values in train]
        parts = [
            tuple((v - m) / s for v, (m, s) in zip(part, moments, strict=True))
            for part in (train, val, test)
        ]
        return _estimate("mine", statistic, parts, epochs, batch_size, learning_rate, seed)


def total_correlation(
    train: Float[Tensor, "n d"],
    val: Float[Tensor, "v d"],
    test: Float[Tensor, "t d"],
    *,
    epochs: int = 100,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    widths: Sequence[int] = (1000, 200),
    seed: int = 0,
) -> Estimate:
    """Neural dependency measure: what T(z) finds of the dependence of a code's dimensions, in nats.

    E_J[T] - log E_M[exp T] with J the codes, M codes each of whose dimensions comes from an image
    of its own: a lower bound of the total correlation KL(p(z) || prod_i p(z_i)), which is 0 for
    independent dimensions. How T is fitted and chosen, and what the bound leaves out: see
    `mutual_information`.

    Source: Hjelm et al., 2019, table 4; after Brakel and Bengio, 2017. The authors' code has the
    same network, 1000-200-1, trained by the f-divergence form of KL in batches of 10,000 at 1e-4,
    and shuffles each dimension within the batch; here M is drawn from all images.

    Raises:
        InputError: there are fewer than 10 images of a split, or the code has one dimension.
    """
    train, val, test = (part.detach() for part in (train, val, test))
    check_enough("ndm", _counts([train, val, test]), train.shape[1])
    device = train.device
    with seeded(seed, device):
        statistic = _OfCodes(_perceptron(train.shape[1], widths)).to(device)
        mean, scale = standardisation(train)
        parts = [((part - mean) / scale,) for part in (train, val, test)]
        return _estimate("ndm", statistic, parts, epochs, batch_size, learning_rate, seed)


class _OfPairs(nn.Module):
    """T of images and codes. Each network's half is computed once for an image and for a code."""

    def __init__(self, critic: ConcatCritic):
        super().__init__()
        self.critic = critic

    def forward(
        self, data: Sequence[Tensor], rows: Tensor, draws: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """T of the pairs in `rows`, [b], and of as many images with codes of others, [b, draws]."""
        images, codes = data
        shift = torch.randint(1, len(codes), (len(rows), draws), generator=generator)
        others = (rows[:, None] + shift.to(codes.device)) % len(codes)
        source = self.critic.encode_source(images[rows][:, None])  # [b, 1, w]
        joint = self.critic.pair(source, self.critic.encode_code(codes[rows]))
        met = self.critic.encode_code(codes[others.flatten()]).unflatten(0, others.shape)
        return joint.squeeze(1), self.critic.pair(source[:, None], met).squeeze(2)


class _OfCodes(nn.Module):
    """T of codes."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(
        self, data: Sequence[Tensor], rows: Tensor, draws: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """T of the codes in `rows`, [b], and of mixed ones, [b, draws]."""
        (codes,) = data
        shape = len(rows), draws, codes.shape[1]
        sources = torch.randint(0, len(codes), shape, generator=generator).to(codes.device)
        mixed = codes.gather(0, sources.flatten(0, 1)).unflatten(0, shape[:2])
        return self.network(codes[rows]).squeeze(1), self.network(mixed).squeeze(2)


def _perceptron(dim: int, widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Linear(dim, width), nn.ReLU()]
        dim = width
    return nn.Sequential(*layers, nn.Linear(dim, 1))


def _estimate(
    name: str,
    statistic: nn.Module,
    parts: Sequence[Sequence[Tensor]],
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
) -> Estimate:
    """Fits T on the first part, chooses its epoch on the second, judges it on the third."""
    train, val, test = parts
    generator = generator_for(seed, 0, _FITTING)

    def loss_of(rows: Tensor) -> Tensor:
        joint, marginal = statistic(train, rows, 1, generator)
        return -multi_sample_bound(joint, marginal.flatten())

    highest, chosen, state = -math.inf, 0, copy.deepcopy(statistic.state_dict())
    count = len(train[0])
    plan = (count, epochs, batch_size, seed, f"{name}_epochs")
    for epoch in passes(statistic, learning_rate, loss_of, *plan, device=train[0].device):
        _, bound = _judged(statistic, val, seed)
        if bound > highest:
            highest, chosen, state = bound, epoch + 1, copy.deepcopy(statistic.state_dict())
    statistic.load_state_dict(state)
    val_nats, _ = _judged(statistic, val, seed)
    return Estimate(*_judged(statistic, test, seed), val_nats, chosen)


def multi_sample_bound(
    joint: Float[Tensor, " m"], marginal: Float[Tensor, " n"]
) -> Float[Tensor, ""]:
    """mean_J of T - log((exp T + sum_M exp T) / (n + 1)), in nats: log(n + 1) at most.

    A lower bound of KL(J || M) on average over the draws, for any T and any number of them, where
    the Donsker-Varadhan formula of n draws is one in the limit alone. The T that maximises it is
    the logarithm of the density ratio, but for a constant, as it is there.

    Source: van den Oord et al., 2018; Poole et al., 2019, section 2.3.

    Args:
        joint: T of draws of J.
        marginal: T of draws of M.
    """
    others = marginal.logsumexp(dim=0)
    return math.log(len(marginal) + 1) - F.softplus(others - joint).mean()


@torch.no_grad()
def _judged(statistic: nn.Module, data: Sequence[Tensor], seed: int) -> tuple[float, float]:
    """Donsker-Varadhan formula and multi-sample bound on `data`, of the same draws each time."""
    generator = generator_for(seed, 0, _JUDGING)
    found = [
        statistic(data, rows, _DRAWS, generator)
        for rows in torch.arange(len(data[0]), device=data[0].device).split(_AT_ONCE)
    ]
    joint, marginal = (
        torch.cat(values).cpu().double().flatten() for values in zip(*found, strict=True)
    )
    log_mean = marginal.logsumexp(dim=0) - math.log(len(marginal))
    return (joint.mean() - log_mean).item(), multi_sample_bound(joint, marginal).item()


def check_enough(name: str, counts: Mapping[str, int], code_dim: int) -> None:
    """Looks at whether there are images, and dimensions of the code, enough for an estimate.

    Args:
        name: of the estimate, mine or ndm.
        counts: split -> images.
        code_dim: dimensions of the code.

    Raises:
        InputError: there are fewer than 10 images of a split, or one dimension for ndm.
    """
    split, least = min(counts.items(), key=lambda item: item[1])
    if least < _FEWEST:
        raise InputError(
            f"evaluation.{name}_epochs asks for an estimate, and the {split} split has {least} "
            f"images; expected at least {_FEWEST}; set it to 0, or add pictures"
        )
    if name == "ndm" and code_dim < 2:
        raise InputError(
            "evaluation.ndm_epochs asks for the dependence of the code's dimensions, and the code "
            "has one; expected at least 2; set it to 0"
        )


def _counts(parts: Sequence[Tensor]) -> dict[str, int]:
    return dict(zip(("train", "val", "test"), map(len, parts), strict=True))
