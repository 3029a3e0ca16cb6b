import math

import numpy as np
import pytest
import scipy.integrate
import torch
from code_training import (
    LinearEncoder,
    codes_of,
    correlation,
    descend,
    features,
    kolmogorov_smirnov,
    normal,
)

from dim_lightning.errors import InputError
from dim_lightning.infomax.priors import SIGReg, epps_pulley, sigreg


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def samples(num=40, columns=3):
    return 0.7 + 1.5 * torch.randn(num, columns, generator=generator(), dtype=torch.double)


def by_integration(column, largest):
    """The statistic of one column on a fine grid, with complex exponentials."""
    t = np.linspace(-largest, largest, 4001)
    empirical = np.exp(1j * t[:, None] * column.numpy()).mean(1)
    error = np.abs(empirical - np.exp(-(t**2) / 2)) ** 2 * np.exp(-(t**2) / 2)
    return len(column) * scipy.integrate.trapezoid(error, t)


def in_closed_form(column):
    """The statistic integrated over the whole line, from all pairs of samples."""
    pairs = torch.exp(-0.5 * (column[:, None] - column).square()).sum() / len(column)
    own = torch.exp(-0.25 * column.square()).sum()
    root = math.sqrt(math.tau)
    return root * pairs - 2 * math.sqrt(math.pi) * own + len(column) * root / math.sqrt(3)


def test_the_statistic_is_the_integral_over_its_range():
    values = epps_pulley(samples())
    reference = [by_integration(column, 3.0) for column in samples().T]
    torch.testing.assert_close(
        values, torch.tensor(reference, dtype=torch.double), rtol=2e-3, atol=0
    )
    fine = epps_pulley(samples(), num_knots=4001)
    torch.testing.assert_close(fine, torch.tensor(reference, dtype=torch.double), rtol=1e-6, atol=0)


def test_over_the_whole_line_the_statistic_has_a_closed_form():
    values = epps_pulley(samples(), num_knots=101, max_frequency=9.0)
    reference = torch.stack([in_closed_form(column) for column in samples().T])
    torch.testing.assert_close(values, reference)


def test_sigreg_is_the_mean_of_the_statistic_over_unit_projections():
    codes = samples(30, 5)
    directions = torch.empty(5, 16, dtype=torch.double).normal_(generator=generator(3))
    reference = [
        by_integration(codes @ direction / direction.square().sum().sqrt(), 3.0)
        for direction in directions.T
    ]
    value = sigreg(codes, generator(3), num_slices=16, num_knots=201)
    assert value.item() == pytest.approx(np.mean(reference), rel=1e-4)


@pytest.mark.parametrize("num", [16, 256])
def test_about_one_at_the_prior_whatever_the_batch(num):
    draws = torch.randn(num, 2000, generator=generator())
    expected = math.sqrt(math.tau) * (1 - 1 / math.sqrt(3))
    assert epps_pulley(draws, max_frequency=6.0).mean().item() == pytest.approx(expected, rel=0.06)


def test_known_values_of_collapsed_codes():
    values = epps_pulley(torch.zeros(50, 1, dtype=torch.double), 101, 9.0)
    root = math.sqrt(math.tau)
    assert values.item() == pytest.approx(50 * root * (1 - math.sqrt(2) + 1 / math.sqrt(3)))
    far = epps_pulley(torch.full((50, 1), 12.0, dtype=torch.double), 101, 9.0)
    assert far.item() == pytest.approx(50 * root * (1 + 1 / math.sqrt(3)))


def test_codes_ten_off_do_not_look_right_as_they_do_with_the_knots_of_the_paper():
    shifted = torch.randn(4000, 1, generator=generator(), dtype=torch.double)
    shifted = shifted + 2 * math.pi / (10 / 16)
    assert epps_pulley(shifted, num_knots=9, max_frequency=5.0).item() < 5
    assert epps_pulley(shifted).item() > 4000


def test_a_shift_by_the_period_of_the_default_knots_goes_unseen():
    shifted = epps_pulley(samples() + 2 * math.pi * 16 / 3)
    torch.testing.assert_close(shifted, epps_pulley(samples()))


def test_gradient():
    codes = samples(6, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda c: sigreg(c, generator(), num_slices=8), codes)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [0.0, 1e4, 1e30])
def test_any_codes_keep_value_and_gradient_finite(dtype, size):
    codes = (size * torch.ones(4, 3)).to(dtype).requires_grad_()
    value = sigreg(codes, generator())
    value.backward()
    assert value.isfinite()
    assert codes.grad.isfinite().all()


def test_autocast_does_not_coarsen_it():
    codes = torch.randn(64, 16, generator=generator())
    exact = sigreg(codes, generator(1))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(sigreg(codes, generator(1)), exact)


def test_codes_of_half_precision_are_tested_in_float32():
    codes = torch.randn(64, 16, generator=generator()).bfloat16()
    value = sigreg(codes, generator(1))
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, sigreg(codes.float(), generator(1)))


def test_equal_generators_give_equal_slices_and_each_call_fresh_ones():
    prior, codes = SIGReg(8, num_slices=4), torch.randn(64, 8, generator=generator())
    one, two = generator(1), generator(1)
    first, second = (prior(features(codes), codes, one)["prior"] for _ in range(2))
    assert torch.equal(first, prior(features(codes), codes, two)["prior"])
    assert first != second


def test_its_descent_brings_a_wrong_distribution_to_the_prior():
    encoder = LinearEncoder(4, wrong=True)
    before = codes_of(encoder, normal)
    descend(SIGReg(4, num_slices=8), encoder, normal, steps=150, lr=0.03)
    after = codes_of(encoder, normal)
    assert kolmogorov_smirnov(before, "gaussian") > 0.25
    assert kolmogorov_smirnov(after, "gaussian") < 0.05
    assert correlation(before) > 0.5
    assert correlation(after) < 0.1


def test_its_descent_leaves_the_right_distribution():
    encoder = LinearEncoder(4, wrong=False)
    descend(SIGReg(4, num_slices=8), encoder, normal, steps=100, lr=0.01)
    after = codes_of(encoder, normal)
    assert kolmogorov_smirnov(after, "gaussian") < 0.05
    assert correlation(after) < 0.1


@pytest.mark.parametrize(
    ("name", "value"), [("num_slices", 0), ("num_knots", 1), ("max_frequency", 0.0)]
)
def test_settings_with_which_nothing_is_tested_are_refused(name, value):
    with pytest.raises(InputError, match=f"model.prior.init_args.{name}"):
        SIGReg(4, **{name: value})


def test_the_smallest_settings_are_a_test_of_their_own():
    prior, codes = SIGReg(4, num_slices=1, num_knots=2, max_frequency=1.0), samples(20, 4)
    direction = torch.empty(4, 1, dtype=torch.double).normal_(generator=generator(1))
    projected = (codes @ direction / direction.norm()).squeeze()
    target = math.exp(-0.5)  # and at frequency 0 both are 1
    error = (projected.cos().mean() - target) ** 2 + projected.sin().mean() ** 2
    value = prior(features(codes), codes, generator(1))["prior"]
    torch.testing.assert_close(value, 20 * error * target)
