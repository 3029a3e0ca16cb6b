import pytest
import torch
from torch.nn.functional import normalize

from dim_lightning.evaluation import search
from dim_lightning.evaluation.search import largest


def vectors(n, d, seed):
    """Rectified, and so off centre, in few directions, as features are."""
    generator = torch.Generator().manual_seed(seed)
    latent = torch.randn(n, 12, generator=generator)
    mixing = torch.randn(12, d, generator=torch.Generator().manual_seed(99))
    return (latent @ mixing + 0.1 * torch.randn(n, d, generator=generator)).relu()


def slow(queries, bank, offset, k):
    scores = queries.double() @ bank.double().mT + offset.double()
    return scores, scores.sort(dim=1, descending=True).values[:, :k]


def problem(kind):
    queries, bank = vectors(40, 48, 0), vectors(600, 48, 1)
    if kind == "cosine":
        queries, bank = normalize(queries, dim=1), normalize(bank, dim=1)
        return queries, bank, torch.zeros(600)
    mean = bank.mean(dim=0)
    return queries - mean, bank - mean, (bank - mean).square().sum(dim=1) / -2


def check(found, queries, bank, offset, k):
    """The values are right, and the rows are different ones that have these values."""
    values, rows = found
    scores, expected = slow(queries, bank, offset, k)
    tolerance = 1e-6 * max(1.0, scores.abs().max().item())
    torch.testing.assert_close(values.double(), expected, atol=tolerance, rtol=1e-6)
    torch.testing.assert_close(scores.gather(1, rows), expected, atol=tolerance, rtol=1e-6)
    assert all(len(row.unique()) == k for row in rows)


@pytest.mark.parametrize("narrowed", [False, True])
@pytest.mark.parametrize("chunk", [None, 7])
@pytest.mark.parametrize("kind", ["cosine", "euclidean"])
def test_the_largest_are_those_of_a_slow_search_in_double_precision(kind, chunk, narrowed):
    given = problem(kind)
    check(largest(*given, 20, chunk, narrowed), *given, 20)


@pytest.mark.parametrize("kind", ["cosine", "euclidean"])
def test_most_queries_need_no_second_search(kind):
    queries, bank, offset = problem(kind)
    _, _, sure = search._Bounds(bank, offset).largest(queries, 20)
    assert sure.double().mean() > 0.8


@pytest.mark.parametrize("copies", [3, 300])
def test_equal_rows_and_more_of_them_than_are_looked_at(copies):
    queries, bank, offset = problem("cosine")
    bank = bank[: 600 // copies].repeat_interleave(copies, dim=0)
    check(largest(queries, bank, offset, 20, narrowed=True), queries, bank, offset, 20)


def test_rows_whose_order_bfloat16_cannot_tell():
    queries, _, offset = problem("cosine")
    generator = torch.Generator().manual_seed(3)
    near = queries[0] + 1e-4 * torch.randn(600, 48, generator=generator)
    check(largest(queries, near, offset, 20, narrowed=True), queries, near, offset, 20)


def test_lengths_far_apart_and_zeros():
    queries, bank, _ = problem("euclidean")
    bank = bank * torch.logspace(-6, 3, 600)[:, None]
    bank[17] = 0
    offset = bank.square().sum(dim=1) / -2
    given = queries, bank, offset
    values, rows = largest(*given, 20, narrowed=True)
    plain, _ = largest(*given, 20, narrowed=False)
    torch.testing.assert_close(values, plain, atol=1e-4, rtol=1e-5)
    assert all(len(row.unique()) == 20 for row in rows)


def test_no_row_exceeds_its_bound(monkeypatch):
    # adversarial for rounding: each value half-way between two that bfloat16 has
    monkeypatch.setattr(search, "_candidates", lambda k: k)
    half = 1 + 2.0**-8 + 2.0**-16
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, (300, 64), generator=generator) * 2.0 - 1
    bank = half * signs
    queries = half * signs[:10] * (1 + torch.rand(10, 1, generator=generator))
    given = queries, bank, torch.zeros(300)
    check(largest(*given, 5, narrowed=True), *given, 5)


def test_a_bank_smaller_than_the_candidates():
    queries, bank, offset = problem("cosine")
    given = queries, bank[:30], offset[:30]
    check(largest(*given, 30, narrowed=True), *given, 30)


def test_no_queries():
    _, bank, offset = problem("cosine")
    values, rows = largest(torch.empty(0, 48), bank, offset, 5, narrowed=True)
    assert values.shape == rows.shape == (0, 5)
