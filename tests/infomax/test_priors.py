import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence

from dim_lightning.encoders import Features
from dim_lightning.errors import InputError
from dim_lightning.infomax.priors import gaussian_kl


def gaussian(mean, log_variance):
    return Features(torch.zeros(len(mean), 1, 1, 1), {}, mean, log_variance)


def test_equals_the_closed_form_of_torch_distributions():
    mean, log_variance = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    reference = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).mean()
    torch.testing.assert_close(gaussian_kl(gaussian(mean, log_variance)), reference)


def test_zero_at_the_prior():
    assert gaussian_kl(gaussian(torch.zeros(3, 2), torch.zeros(3, 2))) == 0


@given(st.floats(-20, 20), st.floats(-10, 10))
def test_never_negative(mean, log_variance):
    value = gaussian_kl(gaussian(torch.full((2, 3), mean), torch.full((2, 3), log_variance)))
    assert value >= -1e-6


def test_its_descent_brings_a_wrong_distribution_to_the_prior():
    mean = (5 + torch.randn(64, 8, generator=torch.Generator().manual_seed(0))).requires_grad_()
    log_variance = torch.full((64, 8), -4.0, requires_grad=True)
    optimizer = torch.optim.Adam([mean, log_variance], lr=0.1)
    distances = []
    for _ in range(300):
        loss = gaussian_kl(gaussian(mean, log_variance))
        distances.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert distances[0] > 10
    assert distances[-1] < 1e-3
    assert mean.abs().max() < 0.05
    assert log_variance.abs().max() < 0.2


def test_a_deterministic_encoder_is_refused():
    with pytest.raises(InputError, match="deterministic"):
        gaussian_kl(gaussian(torch.zeros(3, 2), None))
