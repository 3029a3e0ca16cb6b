import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dim_lightning.infomax.estimators import jensen_shannon
from dim_lightning.infomax.scores import Scores


def scores(joint, marginal):
    joint, marginal = torch.as_tensor(joint), torch.as_tensor(marginal)
    return Scores(joint.reshape(-1, 1), marginal.reshape(len(joint.reshape(-1)), -1, 1))


def gaussian_pairs(rho, num_pairs, seed=0):
    """Exact log density ratio of correlated Gaussians at joint and at independent pairs."""
    generator = torch.Generator().manual_seed(seed)
    x, noise, other = torch.randn(3, num_pairs, generator=generator, dtype=torch.double)
    y = rho * x + math.sqrt(1 - rho**2) * noise

    def log_ratio(x, y):
        quadratic = (rho**2 * (x**2 + y**2) - 2 * rho * x * y) / (2 * (1 - rho**2))
        return -0.5 * math.log(1 - rho**2) - quadratic

    return log_ratio(x, y), log_ratio(x, other)


def jensen_shannon_by_quadrature(rho):
    """JSD(p(x,y) || p(x)p(y)) in nats on a fine grid."""
    axis = torch.linspace(-9, 9, 2001, dtype=torch.double)
    x, y = axis[:, None], axis[None, :]
    independent = torch.exp(-(x**2 + y**2) / 2) / (2 * math.pi)
    joint = torch.exp(-(x**2 + y**2 - 2 * rho * x * y) / (2 * (1 - rho**2)))
    joint = joint / (2 * math.pi * math.sqrt(1 - rho**2))
    middle = (joint + independent) / 2
    divergence = (
        torch.xlogy(joint, joint / middle) + torch.xlogy(independent, independent / middle)
    ) / 2
    return divergence.nan_to_num().sum().item() * (axis[1] - axis[0]).item() ** 2


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_jensen_shannon_at_the_exact_critic_is_2_jsd_minus_2_log_2(rho):
    joint, marginal = gaussian_pairs(rho, 200_000)
    value = jensen_shannon(scores(joint, marginal)).item()
    standard_error = math.sqrt((joint.var() + marginal.var()).item() / 200_000)
    expected = 2 * jensen_shannon_by_quadrature(rho) - 2 * math.log(2)
    assert abs(value - expected) < 4 * standard_error + 1e-5


def test_the_exact_critic_is_the_best_one():
    joint, marginal = gaussian_pairs(0.8, 100_000)
    best = jensen_shannon(scores(joint, marginal))
    for scale, shift in [(0.5, 0), (2, 0), (1, 0.5), (1, -0.5), (-1, 0)]:
        assert jensen_shannon(scores(scale * joint + shift, scale * marginal + shift)) < best


def test_jensen_shannon_is_minus_the_cross_entropy_of_real_against_shuffled():
    joint, marginal = torch.randn(7, dtype=torch.double), torch.randn(7, 3, dtype=torch.double)
    reference = (
        torch.log(torch.sigmoid(joint)).mean() + torch.log(1 - torch.sigmoid(marginal)).mean()
    )
    torch.testing.assert_close(jensen_shannon(scores(joint, marginal)).double(), reference)


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=20), st.floats(-50, 50))
def test_jensen_shannon_is_at_most_zero(joint, other):
    assert jensen_shannon(scores(torch.tensor(joint), torch.full((len(joint), 2), other))) <= 0


def test_chance_is_minus_two_log_two():
    value = jensen_shannon(scores(torch.zeros(4), torch.zeros(4, 2)))
    assert value.item() == pytest.approx(-2 * math.log(2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("sign", [1, -1])
def test_extreme_scores_keep_value_and_gradient_finite(dtype, sign):
    joint = torch.full((4, 2), sign * 1e4, dtype=dtype, requires_grad=True)
    marginal = torch.full((4, 3, 2), -sign * 1e4, dtype=dtype, requires_grad=True)
    value = jensen_shannon(Scores(joint, marginal))
    value.backward()
    assert value.isfinite()
    assert joint.grad.isfinite().all()
    assert marginal.grad.isfinite().all()
    assert value.item() == pytest.approx(0 if sign > 0 else -2e4, rel=0.01)
