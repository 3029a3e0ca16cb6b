"""Nearest neighbours and the accuracy of their vote, in bounded memory."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from dim_lightning.errors import InputError
from dim_lightning.evaluation.classification import accuracy
from dim_lightning.evaluation.labelled import (
    Labelled,
    check_finite,
    check_labelled_features,
)
from dim_lightning.evaluation.search import Ranking, largest

Metric = Literal["cosine", "euclidean"]
METRICS: tuple[Metric, ...] = ("cosine", "euclidean")

_SHORTEST = 1e-12  # a shorter vector is divided by this instead of its length


def neighbours(
    queries: Float[Tensor, "q d"],
    bank: Float[Tensor, "n d"],
    k: int,
    metric: Metric = "cosine",
    *,
    chunk: int | None = None,
) -> tuple[Float[Tensor, "q k"], Int64[Tensor, "q k"]]:
    """The k nearest of `bank` for each query, nearest first.

    The search is exhaustive. It is done in float32, so two neighbours whose distances agree to
    about six digits may change places.

    Args:
        queries: one vector a row.
        bank: where neighbours come from. A query that lies in the bank finds itself.
        k: number of neighbours.
        metric: "cosine" (a vector of zeros has similarity 0 to everything) or "euclidean".
        chunk: number of queries searched at once; by default what takes 128 MiB.

    Returns:
        The cosine similarities in [-1, 1], descending, or the Euclidean distances, ascending; and
        the rows of the bank.

    Raises:
        InputError: if the bank holds fewer than k vectors, a vector is no numbers, or there is no
            such metric.
    """
    return neighbours_by((metric,), queries, bank, k, chunk=chunk)[metric]


def neighbours_by(
    metrics: Sequence[Metric],
    queries: Float[Tensor, "q d"],
    bank: Float[Tensor, "n d"],
    k: int,
    *,
    chunk: int | None = None,
) -> dict[Metric, tuple[Float[Tensor, "q k"], Int64[Tensor, "q k"]]]:
    """What `neighbours` finds by each of some metrics, quicker than one after the other.

    Raises:
        InputError: see `neighbours`.
    """
    unknown = [metric for metric in metrics if metric not in METRICS]
    if unknown:
        raise InputError(f"metric is {unknown[0]!r}; expected one of {', '.join(METRICS)}")
    if not 0 < k <= len(bank):
        raise InputError(
            f"{k} neighbours asked of a bank of {len(bank)} images; expected between 1 and that "
            "many; choose a smaller k or a larger bank"
        )
    check_finite(queries)
    check_finite(bank)
    queries, bank = queries.detach().float(), bank.detach().float()
    rankings = [_RANKINGS[metric](queries, bank) for metric in metrics]
    found = largest(queries, bank, rankings, k, chunk)
    return {
        metric: (_MEASURES[metric](ranking, each.values), each.rows)
        for metric, ranking, each in zip(metrics, rankings, found, strict=True)
    }


def knn_predict(
    queries: Float[Tensor, "q d"],
    bank: Float[Tensor, "n d"],
    bank_labels: Int64[Tensor, " n"],
    num_classes: int,
    *,
    k: int = 20,
    temperature: float = 0.07,
    metric: Metric = "cosine",
) -> Int64[Tensor, " q"]:
    """The class that the k nearest of the bank vote for.

    Cosine: a neighbour of similarity s has exp(s / temperature) votes. Euclidean: one neighbour,
    one vote, as distances have no fixed scale that a temperature could refer to; `temperature` is
    not used. Of equal counts the lowest class wins.

    Source: weighted vote of Wu et al., 2018, "Unsupervised feature learning via non-parametric
    instance discrimination"; k = 20, T = 0.07 as in DINO; k = 200, T = 0.1 as in MoCo on CIFAR.

    Raises:
        InputError: if the bank holds fewer than k vectors, unlabelled ones, or not one label of
            each, of a class below `num_classes`.
    """
    check_labelled_features(Labelled(bank, bank_labels), num_classes)
    value, index = neighbours(queries, bank, k, metric)
    return vote(value, bank_labels[index], num_classes, temperature if metric == "cosine" else None)


def knn_accuracy(
    queries: Float[Tensor, "q d"],
    labels: Int64[Tensor, " q"],
    bank: Float[Tensor, "n d"],
    bank_labels: Int64[Tensor, " n"],
    num_classes: int,
    *,
    k: int = 20,
    temperature: float = 0.07,
    metric: Metric = "cosine",
) -> float:
    """Share of the queries whose class `knn_predict` finds, in [0, 1].

    Raises:
        InputError: see `knn_predict`; or the same of the queries.
    """
    check_labelled_features(Labelled(queries, labels), num_classes)
    predicted = knn_predict(
        queries, bank, bank_labels, num_classes, k=k, temperature=temperature, metric=metric
    )
    return accuracy(predicted, labels)


def vote(
    similarity: Float[Tensor, "q k"],
    labels: Int64[Tensor, "q k"],
    num_classes: int,
    temperature: float | None,
) -> Int64[Tensor, " q"]:
    """The winning class of each row: that of most `votes`, of equal counts the lowest.

    Raises:
        InputError: the temperature is not above 0.
    """
    return votes(similarity, labels, num_classes, temperature).argmax(dim=1)


def votes(
    similarity: Float[Tensor, "q k"],
    labels: Int64[Tensor, "q k"],
    num_classes: int,
    temperature: float | None,
) -> Float[Tensor, "q c"]:
    """The votes for each class, up to a factor of each row; -inf for a class without any.

    A neighbour has exp(similarity / temperature) votes, or one if there is no temperature.

    Raises:
        InputError: the temperature is not above 0.
    """
    if temperature is not None and not temperature > 0:
        raise InputError(f"temperature is {temperature}; expected None or a number above 0")
    weights = torch.ones_like(similarity)
    if temperature is not None:  # relative to the nearest one, so that nothing overflows
        weights = ((similarity - similarity.amax(dim=1, keepdim=True)) / temperature).exp()
    counts = similarity.new_zeros(len(similarity), num_classes).scatter_add_(1, labels, weights)
    return counts.masked_fill_(counts == 0, -torch.inf)


def _by_cosine(queries: Tensor, bank: Tensor) -> Ranking:
    size = queries.norm(dim=1).clamp_min(_SHORTEST)
    weight = 1 / bank.norm(dim=1).clamp_min(_SHORTEST)
    none = torch.zeros_like(weight)
    return Ranking(queries / size[:, None], bank, weight, none, size, centred=False)


def _by_distance(queries: Tensor, bank: Tensor) -> Ranking:
    """|q - b|^2 = |q|^2 - 2 (q.b - |b|^2 / 2)."""
    mean = bank.mean(dim=0)  # taking it away saves digits and moves no distance
    queries, bank = queries - mean, bank - mean
    offset = bank.square().sum(dim=1) / -2
    ones, each = torch.ones_like(offset), queries.new_ones(len(queries))
    return Ranking(queries, bank, ones, offset, each, centred=True)


def _similarities(_: Ranking, scores: Tensor) -> Tensor:
    return scores.clamp_(-1, 1)


def _distances(ranking: Ranking, scores: Tensor) -> Tensor:
    squared = ranking.queries.square().sum(dim=1, keepdim=True) - 2 * scores
    return squared.clamp_min_(0).sqrt_()


_RANKINGS = {"cosine": _by_cosine, "euclidean": _by_distance}
_MEASURES = {"cosine": _similarities, "euclidean": _distances}
