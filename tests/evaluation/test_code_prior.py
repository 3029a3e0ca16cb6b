import numpy as np
import pytest
import torch

from dim_lightning.evaluation.code_prior import CODE_PRIORS


@pytest.mark.parametrize("name", CODE_PRIORS)
def test_density_and_spread_are_those_of_the_draws(name):
    prior = CODE_PRIORS[name]
    draws = prior.draws(100_000, 2, torch.Generator().manual_seed(0))
    assert draws.shape == (100_000, 2)
    assert draws.mean(0).abs().max() < 0.02
    torch.testing.assert_close(draws.std(0), torch.full((2,), prior.std), rtol=0.01, atol=0)
    edges = np.linspace(-40, 40, 801)
    middles, width = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
    expected = prior.density(middles) * width
    assert expected.sum() == pytest.approx(1, abs=1e-6)
    assert (middles**2 * expected).sum() == pytest.approx(prior.std**2, rel=1e-3)
    shares = np.histogram(draws.flatten(), edges)[0] / draws.numel()
    assert shares == pytest.approx(expected, abs=0.002)


def test_the_sigmoid_of_codes_of_the_uniform_prior_is_uniform():
    draws = CODE_PRIORS["uniform"].draws(100_000, 1, torch.Generator().manual_seed(0))
    shares = np.histogram(draws.sigmoid(), 10, (0, 1))[0] / len(draws)
    assert shares == pytest.approx(np.full(10, 0.1), abs=0.005)
