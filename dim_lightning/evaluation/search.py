"""The rows of a bank that come first for a query: bfloat16 narrows the search, float32 decides it.

A processor that multiplies bfloat16 natively does so more than twice as fast as float32. A product
of rounded vectors says how large the exact one is at most, so that only few rows of the bank need
to be multiplied in float32, and whether these are enough is known afterwards. Several orders of the
same rows, such as by cosine and by distance, follow from the same product.
"""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from dim_lightning.processor import multiplies_bfloat16

_SCORES_AT_ONCE = 2**25  # 128 MiB of float32 scores of a block of queries against the whole bank
_VALUES_AT_ONCE = 2**22  # of a block of vectors
_LEAST_DIM = 256  # below it the products take less time than what bounds them
_LEAST_QUERIES = 512  # fewer do not repay the rounding of the bank
_LEAST_SHARE = 16  # rows of the bank for each candidate: with fewer there is nothing to leave out
_ROUNDING = 2.0**-9  # of one number to bfloat16, at most
_SLACK = 2.0**-20  # of the float32 sums that make a bound


class Ranking(NamedTuple):
    """An order of the rows of a bank for each query: by weight_b (q.b) + offset_b, descending.

    Attributes:
        queries: q, divided by `size`, or less the mean of the bank.
        bank: b as it is, or less the mean.
        weight: of each row, above 0.
        offset: of each row.
        size: by what the queries were divided; 1 where they are less the mean.
        centred: whether queries and bank are less the mean.
    """

    queries: Float[Tensor, "q d"]
    bank: Float[Tensor, "n d"]
    weight: Float[Tensor, " n"]
    offset: Float[Tensor, " n"]
    size: Float[Tensor, " q"]
    centred: bool


class Found(NamedTuple):
    """The scores of what comes first for each query, descending, and the rows of the bank."""

    values: Float[Tensor, "q k"]
    rows: Int64[Tensor, "q k"]


def largest(
    queries: Float[Tensor, "q d"],
    bank: Float[Tensor, "n d"],
    rankings: Sequence[Ranking],
    k: int,
    chunk: int | None = None,
    narrowed: bool | None = None,
) -> list[Found]:
    """The k rows of the bank that come first in each ranking, for each query.

    Args:
        queries: as they are.
        bank: likewise.
        rankings: of these.
        k: how many.
        chunk: number of queries searched at once; by default what takes 128 MiB.
        narrowed: whether bfloat16 narrows the search; by default where that is faster. The results
            are the same but for the rounding of float32.
    """
    chunk = chunk or max(1, _SCORES_AT_ONCE // len(bank))
    found = [_room(ranking, k) for ranking in rankings]
    every = torch.arange(len(queries), device=queries.device)
    left = [every for _ in rankings]
    with torch.autocast(bank.device.type, enabled=False):
        if len(queries) and (_pays(len(queries), bank, k) if narrowed is None else narrowed):
            bounds = _Bounds(bank, rankings)
            unsure = [
                [part[~sure] for sure in bounds.search(queries[part], part, k, found)]
                for part in every.split(chunk)
            ]
            left = [torch.cat(parts) for parts in zip(*unsure, strict=True)]
        for ranking, positions, into in zip(rankings, left, found, strict=True):
            _search(ranking, positions, k, chunk, into)
    return found


class _Bounds:
    """What the products of queries with a bank are at most, from products in bfloat16.

    With m the mean of the bank, q.b = (q - m).(b - m) + b.m + (q - m).m, of which the first
    product alone is rounded: its vectors are short. With r such a vector rounded and e what that
    took from it, it is r_q.r_b + e_q.(b - m) + r_q.e_b, and the last two are at most
    |e_q| |b - m| + |r_q| |e_b|. The product r_q.r_b is summed in float32 over d terms and then
    rounded itself, which moves it by at most (2^-9 + 2 d 2^-24) |r_q| |r_b|.

    Source: Higham, 2002, "Accuracy and stability of numerical algorithms", section 3.1.
    """

    def __init__(self, bank: Tensor, rankings: Sequence[Ranking]) -> None:
        self.rankings = rankings
        self.mean = bank.mean(dim=0)
        self.sums = bank.shape[1] * 2.0**-23  # what a sum in float32 may be wrong by, at most
        self.rounded, length, lost = _rounded(bank, self.mean)
        lost = lost + (1.01 * _ROUNDING + self.sums + _SLACK) * (length + lost)
        away = self.mean.norm()
        along = bank @ self.mean + self.sums * away * (length + away)
        self.terms = [_terms(ranking, along, length, lost) for ranking in rankings]
        self.room: tuple[Tensor, Tensor] | None = None  # reused, as new pages take long

    def search(self, queries: Tensor, part: Tensor, k: int, into: Sequence[Found]) -> list[Tensor]:
        """Finds what comes first for some queries; for which of them it is right, by ranking.

        Candidates are the rows with the largest bounds. They are right if the last bound among
        them, which no other row exceeds, is no larger than the k-th score.

        Args:
            queries: as they are.
            part: their positions.
            k: how many.
            into: takes what is found, by ranking.
        """
        rounded, length, lost = _rounded(queries, self.mean)
        along = (queries - self.mean) @ self.mean + self.sums * length * self.mean.norm()
        coefficients = torch.stack([torch.ones_like(lost), lost, length + lost, along], dim=1)
        products, upper = self._reused(len(queries))
        torch.mm(rounded, self.rounded.mT, out=products)
        right = []
        for ranking, terms, found in zip(self.rankings, self.terms, into, strict=True):
            upper.copy_(products).mul_(ranking.weight).addmm_(coefficients, terms)
            top = upper.topk(min(_candidates(k), len(ranking.bank)), dim=1)
            first = _scores(ranking, part, top.indices).topk(k, dim=1)
            found.values[part] = first.values
            found.rows[part] = top.indices.gather(1, first.indices)
            sure = top.values[:, -1] <= first.values[:, -1] * ranking.size[part]
            right.append(sure | (top.indices.shape[1] == len(ranking.bank)))
        return right

    def _reused(self, count: int) -> tuple[Tensor, Tensor]:
        """Room for products in bfloat16 and for bounds in float32, [count, n]."""
        if self.room is None or len(self.room[0]) < count:
            products = self.rounded.new_empty(count, len(self.rounded))
            self.room = products, torch.empty_like(products, dtype=torch.float32)
        return self.room[0][:count], self.room[1][:count]


def _terms(ranking: Ranking, along: Tensor, length: Tensor, lost: Tensor) -> Tensor:
    """[4, n]: what bounds have beyond weighted products, for 1, |e_q|, |r_q| and (q - m).m."""
    if ranking.centred:
        along = torch.zeros_like(along)
    last = torch.full_like(along, 0.0 if ranking.centred else 1.0)
    terms = torch.stack([along, length, lost, last]) * ranking.weight
    terms[0] += ranking.offset + _SLACK * ranking.offset.abs()
    return terms


def _scores(ranking: Ranking, part: Tensor, rows: Tensor) -> Tensor:
    """The scores of some rows of the bank for the queries at some positions, in float32."""
    starts = torch.arange(0, rows.numel() + 1, rows.shape[1])
    room = ranking.weight.new_zeros(rows.numel())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        places = torch.sparse_csr_tensor(
            starts,
            rows.flatten(),
            room,
            (len(part), len(ranking.bank)),
            check_invariants=False,  # no order of the columns is needed
        )
        queries = ranking.queries[part]
        products = torch.sparse.sampled_addmm(places, queries, ranking.bank.mT, beta=0.0)
    return products.values().view_as(rows) * ranking.weight[rows] + ranking.offset[rows]


def _search(ranking: Ranking, positions: Tensor, k: int, chunk: int, into: Found) -> None:
    """Searches the whole bank in float32 for the queries at some positions."""
    room = ranking.queries.new_empty(min(chunk, len(positions)), len(ranking.bank))
    for part in positions.split(chunk):
        scores = room[: len(part)]  # as new pages take long
        torch.mm(ranking.queries[part], ranking.bank.mT, out=scores)
        first = scores.mul_(ranking.weight).add_(ranking.offset).topk(k, dim=1)
        into.values[part], into.rows[part] = first


def _room(ranking: Ranking, k: int) -> Found:
    values = ranking.queries.new_empty(len(ranking.queries), k)
    return Found(values, torch.empty_like(values, dtype=torch.int64))


def _candidates(k: int) -> int:
    """How many rows are looked at for k that are sought; with fewer, too few queries are sure."""
    return k + k // 4 + 32


def _pays(num_queries: int, bank: Tensor, k: int) -> bool:
    large = bank.shape[1] >= _LEAST_DIM and len(bank) >= _LEAST_SHARE * _candidates(k)
    return large and num_queries >= _LEAST_QUERIES and multiplies_bfloat16(bank.device)


def _rounded(vectors: Tensor, mean: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Vectors less a mean in bfloat16, their lengths, and the lengths of what rounding took."""
    rounded = torch.empty_like(vectors, dtype=torch.bfloat16)
    length, lost = vectors.new_empty(len(vectors)), vectors.new_empty(len(vectors))
    count = max(1, _VALUES_AT_ONCE // vectors.shape[1])
    for start in range(0, len(vectors), count):
        part = slice(start, start + count)
        centred = vectors[part] - mean
        rounded[part] = centred
        length[part] = centred.norm(dim=1)
        lost[part] = (centred - rounded[part].float()).norm(dim=1)
    return rounded, length, lost
