"""Autoencoder, VAE, adversarial autoencoder: their losses against slow formulas."""

import math
from functools import partial

import pytest
import torch
from small_methods import DIM, SIZE, batch, build, encoder, gaussian

from dim_lightning.baselines import VAE, AdversarialAutoencoder, Autoencoder, BiGAN
from dim_lightning.baselines.decoder import Decoder
from dim_lightning.errors import InputError
from dim_lightning.processes import normal_like


def generator():
    return torch.Generator().manual_seed(5)


def double(method, **settings):
    module, one = build(method, **settings).double(), batch()
    return module, one._replace(images=one.images.double())


@pytest.mark.parametrize("make", [encoder, gaussian])
def test_the_autoencoder_minimises_the_mean_square_error(make):
    module, one = double(Autoencoder, encoder=make)
    _, terms = module.code_and_terms(one, generator())
    made = module.decoder(module.encoder(one.images).mean)
    expected = sum((a - b) ** 2 for a, b in zip(made.flatten(), one.images.flatten(), strict=True))
    torch.testing.assert_close(terms["loss"], expected / one.images.numel())
    assert terms["square_error"] is terms["loss"]


class Gray(Decoder):
    def forward(self, code):
        return super().forward(code)[:, :1]


@pytest.mark.parametrize("method", [Autoencoder, VAE, AdversarialAutoencoder, BiGAN])
def test_decoders_that_make_other_images_or_are_made_already_are_refused(method):
    with pytest.raises(InputError, match=rf"Gray makes \[2, 1, {SIZE}, {SIZE}\] of 2 codes"):
        build(method, decoder=partial(Gray, widths=(8,)))
    with pytest.raises(InputError, match="decoder is an object of class Decoder; expected what"):
        build(method, decoder=Decoder(DIM, SIZE, (8,)))


@pytest.mark.parametrize(("beta", "std"), [(1.0, 0.1), (4.0, 0.5), (0.0, 0.1)])
def test_the_vae_minimises_the_negative_evidence_lower_bound(beta, std):
    """Against torch.distributions, image by image."""
    module, one = double(VAE, beta=beta, pixel_std=std)
    code, terms = module.code_and_terms(one, generator())
    features = module.encoder(one.images)
    torch.testing.assert_close(code, features.mean)
    sigma = torch.exp(features.log_variance / 2)
    z = features.mean + sigma * normal_like(features.mean, generator())
    made = module.decoder(z)
    likelihood = torch.distributions.Normal(made, std).log_prob(one.images)
    posterior = torch.distributions.Normal(features.mean, sigma)
    prior = torch.distributions.Normal(torch.zeros_like(sigma), torch.ones_like(sigma))
    kl = torch.distributions.kl_divergence(posterior, prior)
    bounds = [p.sum() - beta * k.sum() for p, k in zip(likelihood, kl, strict=True)]
    torch.testing.assert_close(terms["loss"], -torch.stack(bounds).mean())
    torch.testing.assert_close(terms["kl"], kl.sum(1).mean())
    torch.testing.assert_close(terms["reconstruction"], -likelihood.flatten(1).sum(1).mean())


def test_the_bound_is_below_the_true_density_and_meets_it():
    """With a decoder that ignores the code, log q(x) is known, and a posterior N(0, I) meets it."""
    module, one = double(VAE)
    for head in (module.encoder.head.mean, module.encoder.head.log_variance):
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
    module.decoder = Flat()
    _, terms = module.code_and_terms(one, generator())
    square = ((one.images - 0.5) / 0.1).square().flatten(1).sum(1)
    count = one.images[0].numel()
    density = -square / 2 - count * math.log(0.1 * math.sqrt(2 * math.pi))
    torch.testing.assert_close(-terms["loss"], density.mean())
    torch.nn.init.ones_(module.encoder.head.mean.bias)
    _, moved = module.code_and_terms(one, generator())
    torch.testing.assert_close(moved["kl"], torch.tensor(DIM / 2).double())
    assert moved["loss"] > terms["loss"]


class Flat(torch.nn.Module):
    """Grey images, whatever the code."""

    def forward(self, code):
        return torch.full((len(code), 3, 8, 8), 0.5, dtype=code.dtype)


def test_a_vae_needs_a_variance():
    with pytest.raises(InputError, match=r"model\.encoder\.init_args\.gaussian"):
        build(VAE, encoder=encoder)


@pytest.mark.parametrize(
    "settings", [{"beta": -1.0}, {"beta": math.inf}, {"pixel_std": 0.0}, {"pixel_std": math.inf}]
)
def test_settings_that_cannot_be_are_refused(settings):
    with pytest.raises(InputError, match=r"model\.beta is .* model\.pixel_std"):
        build(VAE, **settings)


@pytest.mark.parametrize("make", [encoder, gaussian])
def test_the_adversarial_autoencoder_adds_error_and_game(make):
    """Both of codes drawn from p(z|x), of which evaluation sees the mean."""
    module, one = double(AdversarialAutoencoder, encoder=make, prior_weight=0.3)
    code, terms = module.code_and_terms(one, generator())
    features, draws = module.encoder(one.images), generator()
    drawn = features.sample(draws)
    game = module.prior(features, drawn, draws)
    error = (module.decoder(drawn) - one.images).square().mean()
    torch.testing.assert_close(code, features.mean)
    torch.testing.assert_close(terms["square_error"], error)
    expected = error + 0.3 * game["prior"] + game["discriminator"]
    torch.testing.assert_close(terms["loss"], expected)
    assert module.prior.target == "gaussian"


def test_the_players_of_the_adversarial_autoencoder():
    """One backward gives each player the gradient of its own terms."""
    module, one = double(AdversarialAutoencoder, prior_weight=0.3)
    adversary = list(module.prior.parameters())
    others = [*module.encoder.parameters(), *module.decoder.parameters()]
    _, terms = module.code_and_terms(one, generator())
    own = torch.autograd.grad(terms["discriminator"], adversary, retain_graph=True)
    both = terms["square_error"] + 0.3 * terms["prior"]
    theirs = torch.autograd.grad(both, others, retain_graph=True)
    terms["loss"].backward()
    for weight, gradient in zip([*adversary, *others], [*own, *theirs], strict=True):
        torch.testing.assert_close(weight.grad, gradient)


@pytest.mark.parametrize("weight", [0.0, math.inf])
def test_a_prior_without_a_weight_that_can_be_is_refused(weight):
    with pytest.raises(InputError, match="set method to Autoencoder"):
        build(AdversarialAutoencoder, prior_weight=weight)
