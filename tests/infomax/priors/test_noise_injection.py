import math

import pytest
import torch
from code_training import (
    LinearEncoder,
    correlation,
    descend,
    features,
    kolmogorov_smirnov,
    logistic,
    normal,
)
from torch.nn.functional import softplus

from dim_lightning.errors import InputError
from dim_lightning.infomax.priors import NoiseInjection
from dim_lightning.seeding import generator_for

TARGETS = ["gaussian", "uniform"]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def means(num=512, dim=4):
    return 3 + 2 * torch.randn(num, dim, generator=generator())


def information(prior, mean, noisy):
    """InfoNCE in nats, with the noise's own log density as critic (its box softened)."""
    distances = noisy[:, None] - prior.normalize(mean)[None]
    if prior.target == "gaussian":
        scores = -0.5 * (distances / prior.noise_scale).square().sum(2)
    else:
        scores = -softplus(10 * (distances.abs() / prior.noise_scale - 1)).sum(2)
    return (scores.diagonal() - scores.logsumexp(1)).mean() + math.log(len(scores))


def test_the_gaussian_channel_has_unit_variance_and_its_noise_the_given_one():
    prior, mean = NoiseInjection(4, "gaussian", 0.3), means()
    normalized = prior.normalize(mean)
    torch.testing.assert_close(normalized.mean(0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(normalized.var(0, unbiased=False), torch.ones(4), rtol=1e-4, atol=0)
    reference = (mean - mean.mean(0)) / mean.var(0, unbiased=False).sqrt()
    torch.testing.assert_close(normalized, reference, rtol=1e-4, atol=1e-5)
    noise = prior.draw(features(mean), generator(1)) - normalized
    assert noise.std().item() == pytest.approx(0.3, rel=0.05)
    assert abs(torch.corrcoef(torch.stack([noise, normalized]).flatten(1))[0, 1]) < 0.06


def test_the_moments_are_those_of_batch_normalisation_in_float32_also_of_half_precision():
    small = 0.003 * torch.tensor([[1.0, -2.0], [-1.0, 3.0], [2.0, 0.0]])  # about its epsilon
    far = means(4096, 2).bfloat16()
    for mean in (small, far):
        expected = torch.nn.functional.batch_norm(mean.double(), None, None, training=True)
        found = NoiseInjection(2).normalize(mean)
        torch.testing.assert_close(found, expected.float(), rtol=1e-4, atol=1e-5)


def test_the_uniform_channel_is_bounded_and_its_noise_too():
    prior, mean = NoiseInjection(4, "uniform", 0.2), means()
    noise = prior.draw(features(mean), generator(1)) - mean.sigmoid()
    assert noise.abs().max() <= 0.2 + 1e-6
    assert noise.std().item() == pytest.approx(0.2 / math.sqrt(3), rel=0.05)
    assert torch.equal(prior.normalize(mean), mean.sigmoid())


@pytest.mark.parametrize("target", TARGETS)
def test_no_term_is_added_and_the_mean_is_left_alone(target):
    prior, mean = NoiseInjection(4, target), means()
    seen = features(mean.clone(), torch.zeros_like(mean))
    code = prior.draw(seen, generator())
    assert prior(seen, code, generator()) == {}
    assert torch.equal(seen.mean, mean)
    assert not list(prior.state_dict())


@pytest.mark.parametrize("target", TARGETS)
def test_equal_generators_give_equal_noise(target):
    prior, seen = NoiseInjection(4, target), features(means())
    assert torch.equal(prior.draw(seen, generator(5)), prior.draw(seen, generator(5)))
    assert not torch.equal(prior.draw(seen, generator(5)), prior.draw(seen, generator(6)))


def test_shift_and_scale_of_the_code_do_not_matter_to_the_gaussian_channel():
    prior, mean = NoiseInjection(4), means()
    moved = prior.draw(features(100 * mean - 7), generator())
    torch.testing.assert_close(moved, prior.draw(features(mean), generator()), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("target", TARGETS)
def test_gradient(target):
    def draw(mean):
        return NoiseInjection(3, target).draw(features(mean), generator())

    mean = torch.randn(5, 3, generator=generator(), dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(draw, mean)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("spread", [0, 1])
def test_huge_and_constant_codes_keep_draw_and_gradient_finite(dtype, target, spread):
    mean = (1e4 * (1 + spread * torch.randn(8, 3, generator=generator()))).to(dtype)
    mean.requires_grad_()
    code = NoiseInjection(3, target).draw(features(mean), generator())
    code.float().square().sum().backward()
    assert code.dtype == dtype
    assert code.isfinite().all()
    assert mean.grad.isfinite().all()


@pytest.mark.parametrize(
    ("target", "points", "scale", "capacity", "error"),
    [
        ("gaussian", normal, 0.3, 0.5 * math.log(1 + 1 / 0.3**2), 0.06),
        ("gaussian", normal, 1.0, 0.5 * math.log(2), 0.04),
        ("uniform", logistic, 0.02, math.log(1 + 1 / 0.04), 0.12),
    ],
)
def test_at_the_prior_the_information_is_the_capacity(target, points, scale, capacity, error):
    prior, mean = NoiseInjection(1, target, scale), points(2000, 1, generator())
    value = information(prior, mean, prior.draw(features(mean), generator(1))).item()
    assert value == pytest.approx(capacity, abs=error)


def test_uniform_noise_is_best_used_by_a_grid_of_levels():
    prior = NoiseInjection(1, "uniform", 0.25)
    grid = torch.tensor([-20.0, 0.0, 20.0]).repeat(500)[:, None]
    even = logistic(1500, 1, generator())
    on_grid, uniform = (
        information(prior, mean, prior.draw(features(mean), generator(1))).item()
        for mean in (grid, even)
    )
    capacity = math.log(3)
    assert on_grid == pytest.approx(capacity, rel=0.05)
    assert uniform < 0.85 * capacity


class Bend(torch.nn.Module):
    """A linear encoder with a bend in each dimension, to straighten or to leave."""

    def __init__(self, wrong):
        super().__init__()
        self.linear = LinearEncoder(2, wrong)
        self.bend = torch.nn.Parameter(torch.full((2,), 2.0 if wrong else 0.0))
        self.bias = self.linear.bias

    def forward(self, points):
        mean = self.linear(points).mean
        return features(mean + self.bend * softplus(2 * mean - 2))


@torch.no_grad()
def normalized_codes(prior, encoder, points):
    return prior.normalize(encoder(points(4000, 2, generator_for(1))).mean)


@pytest.mark.parametrize(
    ("target", "points", "scale"), [("gaussian", normal, 0.3), ("uniform", logistic, 0.05)]
)
def test_with_an_information_term_a_wrong_distribution_comes_to_the_prior(target, points, scale):
    prior, encoder = NoiseInjection(2, target, scale), Bend(wrong=True)
    before = normalized_codes(prior, encoder, points)
    descend(prior, encoder, points, 120, 0.03, information)
    after = normalized_codes(prior, encoder, points)
    assert kolmogorov_smirnov(before, target) > {"gaussian": 0.04, "uniform": 0.3}[target]
    assert kolmogorov_smirnov(after, target) < {"gaussian": 0.03, "uniform": 0.1}[target]
    assert correlation(before) > 0.3
    assert correlation(after) < 0.06


@pytest.mark.parametrize(
    ("target", "points", "scale"), [("gaussian", normal, 0.3), ("uniform", logistic, 0.05)]
)
def test_with_an_information_term_the_right_distribution_stays(target, points, scale):
    prior, encoder = NoiseInjection(2, target, scale), Bend(wrong=False)
    descend(prior, encoder, points, 50, 0.01, information)
    after = normalized_codes(prior, encoder, points)
    assert kolmogorov_smirnov(after, target) < {"gaussian": 0.03, "uniform": 0.08}[target]
    assert correlation(after) < 0.06


@pytest.mark.parametrize("scale", [0.0, math.inf])
def test_a_scale_that_is_no_channel_is_refused(scale):
    with pytest.raises(InputError, match=r"model\.prior\.init_args\.noise_scale"):
        NoiseInjection(4, "gaussian", scale)
