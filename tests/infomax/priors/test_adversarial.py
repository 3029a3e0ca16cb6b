import math

import pytest
import torch
from code_training import (
    LinearEncoder,
    codes_of,
    correlation,
    descend,
    features,
    kolmogorov_smirnov,
    logistic,
    normal,
)

from dim_lightning.errors import InputError
from dim_lightning.infomax.priors import AdversarialPrior

TARGETS = ["uniform", "gaussian"]
RIGHT = {"uniform": logistic, "gaussian": normal}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def make(target="uniform", dim=3, widths=(32, 32)):
    torch.manual_seed(0)
    return AdversarialPrior(dim, target, widths)


def terms_of(prior, code, seed=0):
    return prior(features(code), code, generator(seed))


def encoded(encoder, num=256):
    return encoder(normal(num, 3, generator(7))).mean


def accuracy(prior, code):
    """How often the discriminator is right, on as many draws as codes."""
    with torch.no_grad():
        seen = prior.seen(code)
        found = prior.discriminator(seen) < 0
        believed = prior.discriminator(prior.sample(seen, generator(9))) > 0
    return torch.cat([found, believed]).float().mean().item()


def train_discriminator(prior, code, steps=60):
    optimizer = torch.optim.Adam(prior.parameters(), lr=1e-2)
    for step in range(steps):
        optimizer.zero_grad()
        terms_of(prior, code, step)["discriminator"].backward()
        optimizer.step()


def test_the_network_of_the_paper():
    widths = [tuple(weight.shape) for weight in AdversarialPrior(64).parameters()]
    assert widths == [(1000, 64), (1000,), (200, 1000), (200,), (1, 200), (1,)]


@pytest.mark.parametrize("target", TARGETS)
def test_a_fooled_discriminator_gives_log_two_and_two_log_two(target):
    prior = make(target)
    for weight in prior.discriminator[-1].parameters():
        torch.nn.init.zeros_(weight)
    terms = terms_of(prior, torch.randn(8, 3, generator=generator()))
    assert terms["prior"].item() == pytest.approx(math.log(2))
    assert terms["discriminator"].item() == pytest.approx(2 * math.log(2))


@pytest.mark.parametrize("target", TARGETS)
def test_the_terms_are_the_two_losses_of_the_game(target):
    prior = make(target).double()
    code = torch.randn(9, 3, generator=generator(), dtype=torch.double)
    if target == "uniform":
        seen = 1 / (1 + torch.exp(-code))
        real = torch.rand(9, 3, generator=generator(4)).double()
    else:
        seen = code
        real = torch.empty_like(code).normal_(generator=generator(4))
    of_codes, of_draws = (torch.sigmoid(prior.discriminator(x)) for x in (seen, real))
    terms = terms_of(prior, code, seed=4)
    torch.testing.assert_close(terms["prior"], -torch.log(of_codes).mean())
    game = torch.log(of_draws).mean() + torch.log(1 - of_codes).mean()
    torch.testing.assert_close(terms["discriminator"], -game)


@pytest.mark.parametrize("target", TARGETS)
def test_each_term_reaches_its_own_player_only(target):
    prior, encoder = make(target), LinearEncoder(3, wrong=True)
    terms_of(prior, encoded(encoder))["prior"].backward()
    assert all(weight.grad is None for weight in prior.parameters())
    assert all(weight.grad.abs().sum() > 0 for weight in encoder.parameters())
    encoder.zero_grad()
    terms_of(prior, encoded(encoder))["discriminator"].backward()
    assert all(weight.grad is None for weight in encoder.parameters())
    assert all(weight.grad.abs().sum() > 0 for weight in prior.parameters())


def test_one_backward_of_the_sum_gives_each_player_its_own_gradient():
    prior, encoder = make(), LinearEncoder(3, wrong=True)
    terms = terms_of(prior, encoded(encoder))
    own = torch.autograd.grad(terms["discriminator"], list(prior.parameters()), retain_graph=True)
    (0.1 * terms["prior"] + terms["discriminator"]).backward()
    for weight, gradient in zip(prior.parameters(), own, strict=True):
        torch.testing.assert_close(weight.grad, gradient)


@pytest.mark.parametrize("target", TARGETS)
def test_the_step_of_the_discriminator_raises_its_accuracy(target):
    prior, code = make(target), encoded(LinearEncoder(3, wrong=True)).detach()
    before = accuracy(prior, code)
    train_discriminator(prior, code)
    assert accuracy(prior, code) > max(0.75, before + 0.15)


@pytest.mark.parametrize("target", TARGETS)
def test_the_step_of_the_encoder_leaves_the_discriminator_and_lowers_its_accuracy(target):
    prior, encoder = make(target), LinearEncoder(3, wrong=True)
    train_discriminator(prior, encoded(encoder).detach())
    before = accuracy(prior, encoded(encoder))
    weights = [weight.detach().clone() for weight in prior.parameters()]
    optimizer = torch.optim.Adam([*encoder.parameters(), *prior.parameters()], lr=0.05)
    for step in range(10):
        optimizer.zero_grad()
        terms_of(prior, encoded(encoder), step)["prior"].backward()
        optimizer.step()
    assert all(map(torch.equal, prior.parameters(), weights))
    assert accuracy(prior, encoded(encoder)) < before - 0.1


def test_the_sigmoid_is_inside_the_discriminator_only():
    code = 3 * torch.randn(5, 3, generator=generator())
    for target, expected in (("uniform", code.sigmoid()), ("gaussian", code)):
        prior = make(target)
        assert torch.equal(prior.draw(features(code), generator()), code)
        assert torch.equal(prior.seen(code), expected)


def test_draws_are_of_the_target():
    like = torch.zeros(4000, 3)
    assert kolmogorov_smirnov(make("uniform").sample(like, generator()), "uniform") < 0.03
    assert kolmogorov_smirnov(make("gaussian").sample(like, generator()), "gaussian") < 0.03


def test_equal_generators_give_equal_terms():
    prior, code = make(), torch.randn(9, 3, generator=generator())
    one, two, other = (terms_of(prior, code, seed) for seed in (1, 1, 2))
    assert one == two
    assert one["discriminator"] != other["discriminator"]


@pytest.mark.parametrize("target", TARGETS)
def test_gradient(target):
    prior = make(target, widths=(8,)).double()
    code = torch.randn(4, 3, generator=generator(), dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda c: terms_of(prior, c)["prior"], code)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16])
def test_huge_codes_keep_terms_and_gradients_finite(target, dtype, weights):
    prior = make(target).to(weights)
    code = (1e4 * torch.randn(6, 3, generator=generator())).to(dtype).requires_grad_()
    terms = terms_of(prior, code)
    sum(terms.values()).backward()
    for tensor in (*terms.values(), code.grad, *(weight.grad for weight in prior.parameters())):
        assert tensor.isfinite().all()


def test_autocast():
    prior, code = make(), torch.randn(64, 3, generator=generator())
    exact = terms_of(prior, code)
    with torch.autocast("cpu", torch.bfloat16):
        terms = terms_of(prior, code)
    for name, term in terms.items():
        assert term.dtype == torch.float32
        torch.testing.assert_close(term, exact[name], rtol=0.01, atol=0)


def test_logits_of_half_precision_are_not_rounded_again():
    prior, code = make().bfloat16(), torch.randn(64, 3, generator=generator())
    draws = prior.sample(prior.seen(code), generator())
    of_draws, of_codes = (prior.discriminator(x).double() for x in (draws, prior.seen(code)))
    told = torch.log1p(torch.exp(-of_draws)).mean() + torch.log1p(torch.exp(of_codes)).mean()
    term = terms_of(prior, code)["discriminator"]
    torch.testing.assert_close(term, told.float(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("target", TARGETS)
def test_the_game_brings_a_wrong_distribution_to_the_prior(target):
    prior, encoder, points = make(target, 2), LinearEncoder(2, wrong=True), RIGHT[target]
    before = prior.seen(codes_of(encoder, points))
    descend(prior, encoder, points, steps=250, lr=0.01)
    after = prior.seen(codes_of(encoder, points)).detach()
    assert kolmogorov_smirnov(before, target) > 0.18
    assert kolmogorov_smirnov(after, target) < 0.08
    assert correlation(before) > 0.3
    assert correlation(after) < 0.15


@pytest.mark.parametrize("target", TARGETS)
def test_the_game_leaves_the_right_distribution(target):
    prior, encoder, points = make(target, 2), LinearEncoder(2, wrong=False), RIGHT[target]
    descend(prior, encoder, points, steps=100, lr=0.003)
    after = prior.seen(codes_of(encoder, points)).detach()
    assert kolmogorov_smirnov(after, target) < 0.08
    assert correlation(after) < 0.15


def test_an_empty_layer_is_refused():
    with pytest.raises(InputError, match=r"model\.prior\.init_args\.widths"):
        AdversarialPrior(3, "uniform", (10, 0))


@pytest.mark.parametrize("widths", [(), (1,)])
def test_the_smallest_discriminators(widths):
    terms = terms_of(make(widths=widths), torch.randn(8, 3, generator=generator()))
    assert all(term > 0 for term in terms.values())
