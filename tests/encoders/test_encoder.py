import torch

from dim_lightning.encoders import Features


def features(mean, log_variance):
    return Features(torch.zeros(len(mean), 1, 1, 1), {}, mean, log_variance)


def test_sample_has_the_stated_mean_and_variance():
    mean = torch.tensor([[1.0, -2.0]]).expand(200_000, 2)
    log_variance = torch.log(torch.tensor([[0.25, 4.0]])).expand(200_000, 2)
    code = features(mean, log_variance).sample(torch.Generator().manual_seed(0))
    torch.testing.assert_close(code.mean(0), mean[0], atol=0.02, rtol=0)
    torch.testing.assert_close(code.var(0), log_variance[0].exp(), atol=0, rtol=0.02)


def test_sample_is_differentiable_in_mean_and_variance():
    mean = torch.zeros(3, 2, requires_grad=True)
    log_variance = torch.zeros(3, 2, requires_grad=True)
    code = features(mean, log_variance).sample(torch.Generator().manual_seed(0))
    code.sum().backward()
    torch.testing.assert_close(mean.grad, torch.ones(3, 2))
    torch.testing.assert_close(log_variance.grad, 0.5 * code.detach())  # d/ds exp(s/2) eps, s = 0


def test_sample_of_a_deterministic_encoder_is_the_mean():
    mean = torch.randn(3, 2)
    assert features(mean, None).sample() is mean


def test_equal_generators_give_equal_codes():
    draws = [
        features(torch.zeros(4, 2), torch.zeros(4, 2)).sample(torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
