import pytest
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
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence

from dim_lightning.errors import InputError
from dim_lightning.infomax.priors import GaussianKL, gaussian_kl


def test_equals_the_closed_form_of_torch_distributions():
    mean, log_variance = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    reference = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).mean()
    torch.testing.assert_close(gaussian_kl(features(mean, log_variance)), reference)


def test_zero_at_the_prior():
    assert gaussian_kl(features(torch.zeros(3, 2), torch.zeros(3, 2))) == 0


@given(st.floats(-20, 20), st.floats(-10, 10))
def test_never_negative(mean, log_variance):
    value = gaussian_kl(features(torch.full((2, 3), mean), torch.full((2, 3), log_variance)))
    assert value >= -1e-6


def test_gradient():
    mean, log_variance = torch.randn(2, 5, 3, dtype=torch.double).requires_grad_()
    assert torch.autograd.gradcheck(lambda m, v: gaussian_kl(features(m, v)), (mean, log_variance))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_huge_codes_keep_value_and_gradient_finite(dtype):
    mean = torch.full((4, 2), 1e4, dtype=dtype, requires_grad=True)
    log_variance = torch.full((4, 2), 80.0, dtype=dtype, requires_grad=True)
    value = gaussian_kl(features(mean, log_variance))
    value.backward()
    assert value.dtype == torch.float32
    for tensor in (value, mean.grad, log_variance.grad):
        assert tensor.isfinite().all()


def test_the_prior_is_the_formula_and_draws_by_reparameterisation():
    mean, log_variance = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    prior, seen = GaussianKL(4), features(mean, log_variance)
    code = prior.draw(seen, torch.Generator().manual_seed(1))
    assert torch.equal(code, seen.sample(torch.Generator().manual_seed(1)))
    assert not torch.equal(code, prior.draw(seen, torch.Generator().manual_seed(2)))
    assert prior(seen, code, torch.Generator().manual_seed(1)) == {"prior": gaussian_kl(seen)}


def test_its_descent_brings_a_wrong_distribution_to_the_prior():
    encoder = LinearEncoder(4, wrong=True, log_variance=-3.0)
    before = codes_of(encoder, normal)
    descend(GaussianKL(4), encoder, normal, steps=200, lr=0.05)
    after = codes_of(encoder, normal)
    assert kolmogorov_smirnov(before, "gaussian") > 0.25
    assert kolmogorov_smirnov(after, "gaussian") < 0.05
    assert correlation(before) > 0.5
    assert correlation(after) < 0.06


def test_its_descent_leaves_the_right_distribution():
    encoder = LinearEncoder(4, wrong=False, log_variance=0.0)
    encoder.weight.data.zero_()
    descend(GaussianKL(4), encoder, normal, steps=50, lr=0.05)
    assert kolmogorov_smirnov(codes_of(encoder, normal), "gaussian") < 0.03


def test_a_deterministic_encoder_is_refused():
    with pytest.raises(InputError, match="deterministic"):
        gaussian_kl(features(torch.zeros(3, 2)))
