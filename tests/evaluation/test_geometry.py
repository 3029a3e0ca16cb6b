import math

import numpy as np
import pytest
import torch

from dim_lightning.errors import InputError
from dim_lightning.evaluation import alignment, effective_rank, geometry_of, uniformity


def normal(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def test_effective_rank_is_rankme():
    codes = normal(50, 8) @ torch.diag(torch.arange(1.0, 9.0)) + 0.5
    values = np.linalg.svd(codes.double().numpy(), compute_uv=False)
    share = values / values.sum()
    expected = np.exp(-(share * np.log(share)).sum())
    assert effective_rank(codes) == pytest.approx(expected, rel=1e-9)
    assert geometry_of(codes).effective_rank == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("codes", "rank"),
    [
        (torch.eye(7), 7.0),
        (torch.outer(torch.arange(1.0, 6.0), torch.tensor([1.0, -2.0, 3.0])), 1.0),
        (torch.ones(20, 4), 1.0),
        (torch.zeros(5, 3), 0.0),
        (torch.cat([torch.eye(2), torch.zeros(2, 3)], dim=1), 2.0),
    ],
    ids=["identity", "rank one", "one point", "nothing", "two of five"],
)
def test_effective_rank_of_known_cases(codes, rank):
    assert effective_rank(codes) == pytest.approx(rank, abs=1e-5)


def test_codes_of_the_prior_look_like_the_prior():
    summary = geometry_of(normal(20_000, 4)).summary()
    assert summary["mean_abs"] == pytest.approx(0, abs=0.02)
    assert summary["std_mean"] == pytest.approx(1, abs=0.02)
    assert summary["aggregate_std_mean"] == pytest.approx(1, abs=0.02)
    assert summary["correlation_abs"] == pytest.approx(0, abs=0.02)
    assert summary["effective_rank"] == pytest.approx(4, abs=0.02)
    assert summary["dead_share"] == 0


def test_moments_are_those_of_each_dimension():
    codes = normal(30, 3) * torch.tensor([1.0, 2.0, 3.0]) + torch.tensor([0.0, 1.0, 2.0])
    geometry = geometry_of(codes)
    np.testing.assert_allclose(geometry.mean, codes.numpy().mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(geometry.std, codes.numpy().std(axis=0), rtol=1e-5)


def test_noise_adds_to_the_spread_of_drawn_codes():
    codes = normal(5000, 2)
    log_variance = torch.full_like(codes, math.log(3.0))
    geometry = geometry_of(codes, log_variance)
    expected = (geometry.std.square() + 3).sqrt()
    torch.testing.assert_close(geometry.aggregate_std, expected)


def test_dimensions_that_say_nothing_are_counted():
    codes = normal(500, 4)
    codes[:, 1] = 2.0
    codes[:, 3] *= 0.05
    assert geometry_of(codes).dead_share == 0.5
    codes = normal(500, 4) / normal(500, 4).std(0) * torch.tensor([0.09, 0.11, 0.13, 1.0])
    assert geometry_of(codes).dead_share == 0.25  # a variance of at most 0.01


def test_correlation_sees_repeated_dimensions():
    codes = normal(500, 1).repeat(1, 3)
    assert geometry_of(codes).correlation_abs == pytest.approx(1)
    assert geometry_of(codes * torch.tensor([1.0, -2.0, 3.0])).correlation_abs == pytest.approx(1)


def test_dimensions_that_do_not_vary_do_not_hide_a_correlation():
    codes = torch.cat([normal(500, 1).repeat(1, 2), torch.zeros(500, 62)], dim=1)
    assert geometry_of(codes).correlation_abs == pytest.approx(1)
    assert geometry_of(codes[:, 1:]).correlation_abs == 0


def test_correlation_knows_no_centre():
    codes = normal(500, 3)
    expected = geometry_of(codes).correlation_abs
    assert geometry_of(codes + 10).correlation_abs == pytest.approx(expected, rel=1e-4)


def test_the_figures_of_a_log_are_of_sizes_and_of_the_narrowest_dimension():
    codes = torch.tensor([[1.0, -5.0, 0.5], [3.0, -1.0, 0.5]])
    summary = geometry_of(codes, torch.full_like(codes, math.log(3.0))).summary()
    assert summary["mean_abs"] == pytest.approx((2 + 3 + 0.5) / 3)
    assert summary["std_mean"] == pytest.approx((1 + 2 + 0) / 3)
    assert summary["std_min"] == 0
    expected = (math.sqrt(1 + 3) + math.sqrt(4 + 3) + math.sqrt(3)) / 3
    assert summary["aggregate_std_mean"] == pytest.approx(expected)


def test_uniformity_of_known_cases():
    assert uniformity(torch.ones(5, 3)) == pytest.approx(0, abs=1e-6)
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])  # one pair, at distance 2
    assert uniformity(opposite) == pytest.approx(-8)
    codes = torch.nn.functional.normalize(normal(40, 6).double(), dim=1)
    squared = torch.cdist(codes, codes).square()[~torch.eye(40, dtype=torch.bool)]
    expected = (-2 * squared).exp().mean().log().item()
    assert uniformity(normal(40, 6)) == pytest.approx(expected, rel=1e-6)


def test_uniformity_is_that_of_codes_evenly_spaced():
    codes = normal(30, 4)
    assert uniformity(codes, limit=10) == uniformity(codes[::3])
    assert uniformity(codes[:29], limit=20) == uniformity(codes[[i * 29 // 20 for i in range(20)]])
    assert uniformity(codes, limit=30) == uniformity(codes) != uniformity(codes, limit=29)


def test_uniformity_sees_all_classes_though_one_comes_after_the_other():
    codes = torch.eye(3).repeat_interleave(200, dim=0)  # a point for each of three classes
    assert uniformity(codes, limit=60) == pytest.approx(uniformity(codes), abs=0.05)


@pytest.mark.parametrize("limit", [1, 0, -5])
def test_too_few_codes_for_uniformity_are_refused(limit):
    with pytest.raises(InputError, match=f"limit is {limit}; expected at least 2"):
        uniformity(normal(30, 4), limit=limit)


def test_statistics_carry_no_graph():
    codes = normal(30, 4).requires_grad_()
    found = geometry_of(codes, codes * 1)
    tensors = found.mean, found.std, found.aggregate_std, found.singular_values
    assert not any(each.requires_grad for each in tensors)


def test_alignment_is_two_less_twice_the_mean_cosine():
    first, second = normal(40, 6), normal(40, 6, seed=1)
    cosines = torch.nn.functional.cosine_similarity(first.double(), second.double())
    assert alignment(first, second) == pytest.approx(2 - 2 * cosines.mean().item(), rel=1e-6)


def test_alignment_of_known_cases():
    codes = normal(10, 4)
    assert alignment(codes, 3 * codes) == pytest.approx(0, abs=1e-6)  # lengths do not count
    assert alignment(codes, -codes) == pytest.approx(4)
