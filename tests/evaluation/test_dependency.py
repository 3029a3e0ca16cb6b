import math

import pytest
import torch
from torch import nn

from dim_lightning.errors import InputError
from dim_lightning.evaluation.dependency import (
    Paired,
    _estimate,
    _OfCodes,
    _OfPairs,
    multi_sample_bound,
    mutual_information,
    total_correlation,
)
from dim_lightning.infomax.critics import ConcatCritic
from dim_lightning.seeding import generator_for

SMALL = {"epochs": 15, "widths": (64, 64)}
SHORT = {**SMALL, "epochs": 3}


def pairs(n, seed, rho, d=2):
    """Gaussian x and z with correlation rho in each dimension, at odd scales: d pairs."""
    generator = torch.Generator().manual_seed(seed)
    x, noise = torch.randn(2, n, d, generator=generator)
    z = rho * x + math.sqrt(1 - rho**2) * noise
    return Paired(100 * x + 7, 0.01 * z)


def codes(n, seed, rho, d=3):
    """Gaussian codes, each two dimensions correlated by rho; and their total correlation."""
    covariance = torch.full((d, d), rho).fill_diagonal_(1.0)
    draws = torch.randn(n, d, generator=torch.Generator().manual_seed(seed))
    return draws @ torch.linalg.cholesky(covariance).T, -0.5 * covariance.logdet().item()


@pytest.mark.parametrize("rho", [0.8, -0.6])
def test_mine_finds_the_information_of_gaussians(rho):
    parts = [pairs(3000, seed, rho) for seed in range(3)]
    truth = -math.log(1 - rho**2)  # two dimensions
    found = mutual_information(*parts, **SMALL)
    assert found.nats == pytest.approx(truth, rel=0.12, abs=0.03)
    assert found.val_nats == pytest.approx(truth, rel=0.12, abs=0.03)
    assert 1 <= found.epoch <= 15


def test_ndm_finds_the_total_correlation_of_gaussians():
    parts = [codes(3000, seed, 0.5) for seed in range(3)]
    found = total_correlation(*(part for part, _ in parts), **SMALL)
    assert found.nats == pytest.approx(parts[0][1], rel=0.12)


def test_independence_is_nothing_however_long_the_statistic_learns_by_heart():
    parts = [pairs(200, seed, 0.0) for seed in range(3)]
    assert mutual_information(*parts, **SMALL).nats == pytest.approx(0.0, abs=0.05)
    alone = [codes(200, seed, 0.0)[0] for seed in range(3)]
    assert total_correlation(*alone, **SMALL).nats == pytest.approx(0.0, abs=0.05)


def test_the_test_images_choose_nothing_and_the_seed_decides_everything():
    train, val, test, other = (pairs(300, seed, 0.7) for seed in range(4))
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = mutual_information(train, val, test, **SHORT)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert mutual_information(train, val, test, **SHORT) == first
    again = mutual_information(train, val, other, **SHORT)
    assert again._replace(nats=first.nats, bound_nats=first.bound_nats) == first
    assert again.nats != first.nats
    assert mutual_information(train, val, test, **SHORT, seed=1) != first


def test_codes_may_carry_a_graph():
    parts = [pairs(60, seed, 0.7) for seed in range(3)]
    learned = [Paired(x, z.clone().requires_grad_() * 1) for x, z in parts]
    assert mutual_information(*learned, **SHORT) == mutual_information(*parts, **SHORT)
    found = total_correlation(*(part.codes for part in learned), **SHORT)
    assert found == total_correlation(*(part.codes for part in parts), **SHORT)


def test_the_test_codes_set_no_scale():
    train, val, test = (codes(100, seed, 0.5)[0] for seed in range(3))
    found = total_correlation(train, val, test, **SHORT)
    other = total_correlation(train, val, 3 * test, **SHORT)
    assert (other.epoch, other.val_nats) == (found.epoch, found.val_nats)
    assert other.nats != found.nats


class Listening(nn.Linear):
    """A statistic that notes from which draws its negatives come."""

    def __init__(self):
        super().__init__(2, 1)
        self.seeds = set()

    def forward(self, data, rows, draws, generator):
        self.seeds.add(generator.initial_seed())
        scores = super().forward(data[0][rows])
        return scores[:, 0], scores.expand(-1, draws)


def test_no_image_is_paired_with_its_own_code_as_if_it_were_another():
    part, rows = pairs(2, 0, 0.5), torch.arange(2)
    critic = ConcatCritic(2, 2, widths=(8,))
    joint, marginal = _OfPairs(critic)(part, rows, 30, generator_for(0))
    expected = critic(part.images[:, None], part.codes, torch.tensor([[1], [0]]))
    torch.testing.assert_close(joint, expected.joint[:, 0])
    met = expected.marginal[:, 0].flip(0)  # image 0 with code 1
    torch.testing.assert_close(marginal, met.expand(2, 30))


def test_mixed_codes_are_drawn_from_the_given_generator():
    part, rows = (torch.randn(20, 3),), torch.arange(20)
    statistic = _OfCodes(nn.Linear(3, 1))
    first, again, other = (statistic(part, rows, 2, generator_for(n))[1] for n in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_every_code_can_be_mixed_in():
    part, rows = (torch.tensor([[1.0], [2.0], [3.0]]),), torch.arange(3)
    _, mixed = _OfCodes(nn.Identity())(part, rows, 30, generator_for(0))
    assert set(mixed.flatten().tolist()) == {1.0, 2.0, 3.0}


class Rising(nn.Module):
    """A statistic that is the larger, the nearer its weight is to the data; nothing of others."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, data, rows, draws, generator):
        return -(self.weight - data[0][rows]).square()[:, 0], torch.zeros(len(rows), draws)


def test_the_validation_images_choose_the_epoch_that_the_test_images_judge():
    """Adam moves the weight by 0.01 an epoch towards the training data."""
    parts = [(torch.full((10, 1), place),) for place in (9.0, 0.031, 0.5)]
    found = _estimate("mine", Rising(), parts, epochs=9, batch_size=10, learning_rate=0.01, seed=0)
    assert found.epoch == 3
    assert found.val_nats == pytest.approx(-(0.001**2), abs=1e-7)
    assert found.nats == pytest.approx(-(0.47**2), abs=1e-4)


def test_negatives_are_not_drawn_as_the_order_of_an_epoch_is():
    statistic, part = Listening(), (torch.randn(20, 2),)
    _estimate("mine", statistic, [part] * 3, epochs=4, batch_size=10, learning_rate=1e-3, seed=0)
    assert len(statistic.seeds) == 2  # fitting and judging
    orders = {generator_for(0, epoch).initial_seed() for epoch in range(4)}
    assert not statistic.seeds & orders


def test_the_bound_is_what_it_is_called():
    joint, marginal = torch.randn(6, dtype=torch.float64), torch.randn(9, dtype=torch.float64)
    means = ((t.exp() + marginal.exp().sum()) / 10 for t in joint)
    expected = torch.stack([t - mean.log() for t, mean in zip(joint, means, strict=True)]).mean()
    torch.testing.assert_close(multi_sample_bound(joint, marginal), expected)


@pytest.mark.parametrize("scale", [1.0, 30.0, 1e4])
def test_the_bound_cannot_say_more_than_its_draws_know(scale):
    """Nor less than nothing can, where T is the same everywhere."""
    joint = scale * torch.rand(50, dtype=torch.float64)
    bound = multi_sample_bound(joint + scale, -joint)
    assert bound.isfinite()
    assert bound <= math.log(51) + 1e-6
    same = torch.full((7,), scale, dtype=torch.float64)
    assert multi_sample_bound(same[:5], same).abs() < 1e-6


def test_the_bound_is_one_on_average_even_of_few_draws():
    """Of the best T, the logarithm of the ratio of two Gaussians whose divergence is 2."""
    generator = torch.Generator().manual_seed(0)
    joint, marginal = torch.randn(2, 20_000, 8, generator=generator, dtype=torch.float64)
    ratio = [2 * x - 2 for x in (joint + 2, marginal)]
    bounds = torch.stack([multi_sample_bound(j, m) for j, m in zip(*ratio, strict=True)])
    formula = (ratio[0].mean(1) - ratio[1].logsumexp(1) + math.log(8)).mean()
    error = bounds.std() / math.sqrt(len(bounds))
    assert bounds.mean() < 2.0 - 5 * error
    assert formula > 2.1  # as the logarithm of a mean of few draws is too small


def test_strong_dependence_is_found_alike_on_other_images():
    """A statistic fitted by the formula itself, after Belghazi et al., finds 5.2 here."""
    parts = [codes(3000, seed, 0.95, d=8) for seed in range(3)]
    found = total_correlation(*(part for part, _ in parts), **SMALL)
    truth = parts[0][1]  # 9.5
    assert 5.6 < found.bound_nats < found.nats < truth
    assert found.val_nats == pytest.approx(found.nats, rel=0.05)


def test_too_few_images_and_a_code_of_one_dimension_are_refused():
    some, few = pairs(20, 0, 0.5), pairs(9, 0, 0.5)
    with pytest.raises(InputError, match=r"evaluation\.mine_epochs.*9 images"):
        mutual_information(some, few, some, epochs=1)
    with pytest.raises(InputError, match=r"evaluation\.ndm_epochs.*9 images"):
        total_correlation(few.codes, some.codes, some.codes, epochs=1)
    with pytest.raises(InputError, match=r"evaluation\.ndm_epochs asks .*the code has one"):
        total_correlation(*[some.codes[:, :1]] * 3, epochs=1)
