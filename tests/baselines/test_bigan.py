import math

import pytest
import torch
import torch.nn.functional as F
from small_methods import SIZE, batch, build, encoder, gaussian

from dim_lightning.baselines import BiGAN
from dim_lightning.baselines.bigan import JointDiscriminator
from dim_lightning.errors import InputError
from dim_lightning.processes import normal_like


def generator(seed=5):
    return torch.Generator().manual_seed(seed)


def players(module):
    """The adversary's parameters, and those of encoder and generator."""
    others = [*module.encoder.parameters(), *module.decoder.parameters()]
    return list(module.discriminator.parameters()), others


@pytest.mark.parametrize("make", [encoder, gaussian])
def test_the_terms_are_the_losses_of_the_game(make):
    module, one = build(BiGAN, encoder=make).double(), batch()
    images = one.images.double()
    found, terms = module.code_and_terms(one._replace(images=images), generator())
    features, drawing = module.encoder(images), generator()
    torch.testing.assert_close(found, features.mean)
    code = features.sample(drawing)
    draws = normal_like(code, drawing)
    of_real = torch.sigmoid(module.discriminator(images, code))
    of_made = torch.sigmoid(module.discriminator(module.decoder(draws), draws))
    told = -torch.log(of_real).mean() - torch.log(1 - of_made).mean()
    fooling = -torch.log(1 - of_real).mean() - torch.log(of_made).mean()
    torch.testing.assert_close(terms["discriminator"], told)
    torch.testing.assert_close(terms["encoder_generator"], fooling)
    torch.testing.assert_close(terms["loss"], told + fooling)


def test_the_discriminator_layer_by_layer():
    torch.manual_seed(0)
    network = JointDiscriminator(3, 2 * SIZE, widths=(4, 6, 5), hidden_dim=7)
    images, code = torch.rand(6, 3, 2 * SIZE, 2 * SIZE), torch.randn(6, 3)
    first, second, third = (m for m in network.trunk if isinstance(m, torch.nn.Conv2d))
    hidden, last = (m for m in network.joint if isinstance(m, torch.nn.Linear))

    def convolved(x, layer, norm):
        x = F.conv2d(x, layer.weight, layer.bias, stride=2, padding=1)
        return F.leaky_relu(F.batch_norm(x, None, None, training=True) if norm else x, 0.2)

    x = convolved(2 * images - 1, first, norm=False)
    x = convolved(convolved(x, second, norm=True), third, norm=True)
    expected = last(F.leaky_relu(hidden(torch.cat([x.flatten(1), code], 1)), 0.2))
    torch.testing.assert_close(network(images, code), expected)


def test_a_fooled_discriminator_gives_two_log_two():
    module = build(BiGAN)
    for weight in module.discriminator.joint[-1].parameters():
        torch.nn.init.zeros_(weight)
    _, terms = module.code_and_terms(batch(), generator())
    assert terms["discriminator"].item() == pytest.approx(2 * math.log(2))
    assert terms["encoder_generator"].item() == pytest.approx(2 * math.log(2))


def test_logits_of_half_precision_are_judged_in_float32():
    module, one = build(BiGAN).bfloat16(), batch()
    _, terms = module.code_and_terms(one._replace(images=one.images.bfloat16()), generator())
    assert {term.dtype for term in terms.values()} == {torch.float32}


def test_the_discriminator_judges_in_evaluation_as_in_training():
    module, one = build(BiGAN), batch()
    _, terms = module.code_and_terms(one, generator())
    module.discriminator.eval()
    _, again = module.code_and_terms(one, generator())
    assert {k: v.item() for k, v in terms.items()} == {k: v.item() for k, v in again.items()}
    assert not list(module.discriminator.buffers())


@pytest.mark.parametrize("term", ["discriminator", "encoder_generator"])
def test_each_term_reaches_its_own_player_only(term):
    module = build(BiGAN)
    _, terms = module.code_and_terms(batch(), generator())
    terms[term].backward()
    adversary, others = players(module)
    own, other = (adversary, others) if term == "discriminator" else (others, adversary)
    assert all(weight.grad is None for weight in other)
    assert all(weight.grad is not None for weight in own)
    assert sum(weight.grad.abs().sum() for weight in own) > 0


def test_one_backward_gives_each_player_its_own_gradient():
    module = build(BiGAN)
    adversary, others = players(module)
    _, terms = module.code_and_terms(batch(), generator())
    own = torch.autograd.grad(terms["discriminator"], adversary, retain_graph=True)
    theirs = torch.autograd.grad(terms["encoder_generator"], others, retain_graph=True)
    terms["loss"].backward()
    for weight, gradient in zip([*adversary, *others], [*own, *theirs], strict=True):
        torch.testing.assert_close(weight.grad, gradient)


def trained(module, term, steps, lr):
    """The values of `term` while all parameters that it reaches descend it."""
    optimizer = torch.optim.Adam(module.parameters(), lr=lr)
    values = []
    for step in range(steps):
        optimizer.zero_grad()
        _, terms = module.code_and_terms(batch(32), generator(step))
        terms[term].backward()
        optimizer.step()
        values.append({name: value.item() for name, value in terms.items()})
    return values


def test_the_discriminator_learns_to_tell_and_the_others_to_fool_it():
    module = build(BiGAN)
    told = trained(module, "discriminator", 40, 0.01)
    assert told[-1]["discriminator"] < 0.5 * told[0]["discriminator"]
    weights = [weight.detach().clone() for weight in module.discriminator.parameters()]
    fooled = trained(module, "encoder_generator", 20, 0.01)
    assert all(map(torch.equal, module.discriminator.parameters(), weights))
    assert fooled[-1]["encoder_generator"] < fooled[0]["encoder_generator"] - 0.5
    assert fooled[-1]["discriminator"] > fooled[0]["discriminator"] + 0.5


def test_sizes_that_cannot_be_are_refused():
    with pytest.raises(InputError, match=r"at least 32 pixels; set model\.discriminator"):
        JointDiscriminator(3, SIZE, widths=(4, 4, 4, 4))


def test_a_single_image_is_judged_in_the_smallest_map():
    """The last batch of an evaluation may hold one."""
    network = JointDiscriminator(3, 2 * SIZE, widths=(4, 6, 5)).eval()
    assert network(torch.rand(1, 3, 2 * SIZE, 2 * SIZE), torch.randn(1, 3)).isfinite().all()
    with pytest.raises(InputError, match=f"expected .* images of at least {2 * SIZE} pixels"):
        JointDiscriminator(3, SIZE, widths=(4, 6, 5))
