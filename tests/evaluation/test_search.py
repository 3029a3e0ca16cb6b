import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dim_lightning.evaluation import knn, search
from dim_lightning.evaluation.search import largest

KINDS = ("cosine", "euclidean")


def vectors(n, d, seed):
    """Rectified, and so off centre, in few directions, as features are."""
    generator = torch.Generator().manual_seed(seed)
    latent = torch.randn(n, 12, generator=generator)
    mixing = torch.randn(12, d, generator=torch.Generator().manual_seed(99))
    return (latent @ mixing + 0.1 * torch.randn(n, d, generator=generator)).relu()


def ranking(kind, queries, bank):
    return {"cosine": knn._by_cosine, "euclidean": knn._by_distance}[kind](queries, bank)


def scores(ranking):
    """Of every row for every query, in double precision."""
    q, b, weight, offset = (part.double() for part in ranking[:4])
    return weight * (q @ b.mT) + offset


def check(queries, bank, k, kinds=KINDS, chunk=None, narrowed=True):
    """The values are right, and the rows are different ones that have these values."""
    rankings = [ranking(kind, queries, bank) for kind in kinds]
    for each, found in zip(
        rankings, largest(queries, bank, rankings, k, chunk, narrowed), strict=True
    ):
        all_scores = scores(each)
        expected = all_scores.sort(dim=1, descending=True).values[:, :k]
        tolerance = 1e-6 * max(1.0, all_scores.abs().max().item())
        torch.testing.assert_close(found.values.double(), expected, atol=tolerance, rtol=1e-6)
        has = all_scores.gather(1, found.rows)
        torch.testing.assert_close(has, expected, atol=tolerance, rtol=1e-6)
        assert all(len(row.unique()) == k for row in found.rows)


@pytest.mark.parametrize("narrowed", [False, True])
@pytest.mark.parametrize("chunk", [None, 7])
@pytest.mark.parametrize("kinds", [KINDS, KINDS[:1], KINDS[1:]])
def test_what_comes_first_is_that_of_a_slow_search_in_double_precision(kinds, chunk, narrowed):
    check(vectors(40, 48, 0), vectors(600, 48, 1), 20, kinds, chunk, narrowed)


@pytest.mark.parametrize("kind", KINDS)
def test_most_queries_need_no_second_search(kind, monkeypatch):
    again = []
    searched = search._search
    monkeypatch.setattr(search, "_search", lambda *a: (again.append(len(a[1])), searched(*a))[1])
    check(vectors(40, 48, 0), vectors(600, 48, 1), 20, [kind])
    assert sum(again) < 8


@pytest.mark.parametrize("copies", [3, 300])
def test_equal_rows_and_more_of_them_than_are_looked_at(copies):
    bank = vectors(600 // copies, 48, 1).repeat_interleave(copies, dim=0)
    check(vectors(40, 48, 0), bank, 20)


def test_rows_whose_order_bfloat16_cannot_tell():
    queries = vectors(40, 48, 0)
    generator = torch.Generator().manual_seed(3)
    near = queries[0] + 1e-3 * torch.randn(600, 48, generator=generator)
    check(queries, near, 20)


def test_lengths_far_apart_and_zeros():
    queries, bank = vectors(40, 48, 0), vectors(600, 48, 1)
    bank = bank * torch.logspace(-6, 3, 600)[:, None]
    bank[17] = queries[3] = 0
    check(queries, bank, 20)


def test_a_bound_holds_where_rounding_is_worst(monkeypatch):
    # half-way between two numbers of bfloat16, and no spare candidates
    monkeypatch.setattr(search, "_candidates", lambda k: k)
    half = 1 + 2.0**-8 + 2.0**-16
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, (300, 64), generator=generator) * 2.0 - 1
    queries = half * signs[:10] * (1 + torch.rand(10, 1, generator=generator))
    check(queries, half * signs, 5)


def test_no_score_exceeds_its_bound():
    queries, bank = vectors(40, 48, 0), vectors(600, 48, 1)
    for kind in KINDS:
        each = ranking(kind, queries, bank)
        bounds = search._Bounds(bank, [each])
        bounds.search(queries, torch.arange(40), 5, [search._room(each, 5)])
        _, upper = bounds._reused(40)  # where the bounds were left
        gap = upper.double() / each.size[:, None] - scores(each)
        spread = scores(each).std()
        assert gap.min() >= 0
        assert gap.max() < 0.1 * spread


def test_a_bank_smaller_than_the_candidates():
    check(vectors(40, 48, 0), vectors(30, 48, 1), 30)


def test_no_queries():
    bank = vectors(600, 48, 1)
    each = ranking("cosine", torch.empty(0, 48), bank)
    (found,) = largest(torch.empty(0, 48), bank, [each], 5, narrowed=True)
    assert found.values.shape == found.rows.shape == (0, 5)


class Largest(TorchDispatchMode):
    """Notes the most numbers that a tensor holds of those that are made."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for each in made if isinstance(made, tuple | list) else [made]:
            if isinstance(each, torch.Tensor) and each.layout == torch.strided:
                self.numbers = max(self.numbers, each.numel())
        return made


@pytest.mark.parametrize("narrowed", [False, True])
def test_memory_does_not_grow_with_the_number_of_queries(narrowed, monkeypatch):
    monkeypatch.setattr(search, "_SCORES_AT_ONCE", 2**15)
    queries, bank = vectors(3000, 8, 0), vectors(600, 8, 1)  # 1.8 million scores
    rankings = [ranking(kind, queries, bank) for kind in KINDS]
    with Largest() as seen:
        largest(queries, bank, rankings, 5, narrowed=narrowed)
    assert seen.numbers <= 2**15
