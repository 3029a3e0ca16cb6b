import re
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm

from dim_lightning.data import Batch
from dim_lightning.encoders import (
    BlogEncoder,
    PaperEncoder,
    ResidualEncoder,
    StridedEncoder,
    TorchvisionEncoder,
)
from dim_lightning.errors import InputError
from dim_lightning.evaluation.untrained import untrained


def images(seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.zeros(20, dtype=torch.int64)
    return [Batch(torch.rand(20, 3, 8, 8, generator=generator), labels, torch.arange(20))]


def small_encoder():
    torch.manual_seed(0)
    encoder = BlogEncoder(8, widths=(4, 8), embedding_dim=5)
    for part in encoder.parameters():
        part.data += 1.0
    return encoder


@pytest.mark.parametrize(
    "make",
    [
        partial(BlogEncoder, widths=(4, 8), attention_heads=2, scales=1),
        partial(PaperEncoder, widths=(4, 8), hidden_dim=8, gaussian=True),
        partial(ResidualEncoder, widths=(4, 4, 8, 8), hidden_dim=8, bottleneck=True),
        partial(StridedEncoder, widths=(4, 8), blocks=(1,)),
        partial(TorchvisionEncoder, hidden_dim=8),
    ],
)
def test_every_encoder_can_be_drawn_anew_as_it_was_made(make):
    torch.manual_seed(0)
    encoder = make(8)
    for part in encoder.parameters():
        part.data += 1.0
    fresh = untrained(encoder, images(), "cpu", seed=0)
    torch.manual_seed(1)
    for (name, value), made in zip(fresh.named_parameters(), make(8).parameters(), strict=True):
        spread = made.std() if made.numel() > 1 else torch.zeros(())
        assert abs(value.mean() - made.mean()) <= 3 * spread + 1e-6, name


def test_an_untrained_encoder_has_fresh_weights_and_fitting_statistics():
    encoder = small_encoder()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    state = torch.get_rng_state()
    fresh = untrained(encoder, images(), "cpu", seed=0)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert not any(part.training for part in fresh.modules())
    for name, value in fresh.named_parameters():
        if value.ndim > 1:
            assert not torch.equal(value, before[name]), name
    with torch.no_grad():
        activations = fresh.local_trunk[:2](fresh_pixels(fresh, images()))
    torch.testing.assert_close(activations.mean((0, 2, 3)), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(activations.var((0, 2, 3)), torch.ones(4), atol=1e-2, rtol=0)


class Frozen(nn.Identity):
    """A part that should not be in training mode when it is used."""

    def forward(self, x):
        assert not self.training
        return x


def test_only_batch_norms_train_while_the_statistics_are_taken():
    encoder = small_encoder()
    encoder.local_trunk.insert(0, Frozen())
    untrained(encoder, images(), "cpu")


def fresh_pixels(encoder, batches):
    low, high = encoder.pixel_range
    return batches[0].images * (high - low) + low


def test_the_floor_depends_on_its_seed_alone():
    torch.manual_seed(5)
    first = untrained(small_encoder(), images(), "cpu", seed=0).state_dict()
    torch.manual_seed(6)
    again = untrained(small_encoder(), images(), "cpu", seed=0).state_dict()
    other = untrained(small_encoder(), images(), "cpu", seed=1).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["mean.weight"], other["mean.weight"])


def test_the_floor_knows_no_order_of_the_images_and_no_size_of_their_batches():
    generator = torch.Generator().manual_seed(0)
    colours = torch.rand(5, 3, 1, 1, generator=generator).repeat_interleave(103, dim=0)
    classes = colours + 0.1 * torch.rand(515, 3, 8, 8, generator=generator)
    none = torch.zeros(515, dtype=torch.int64)

    def floor(size):
        parts = classes.split(size)
        batches = [Batch(part, none[: len(part)], none[: len(part)]) for part in parts]
        encoder = PaperEncoder(8, widths=(4, 8), hidden_dim=8)
        return untrained(encoder, batches, "cpu").state_dict()

    ones, others = floor(257), floor(103)  # a last batch of a single image; a class each
    assert all(torch.equal(ones[name], others[name]) for name in ones)
    torch.testing.assert_close(
        ones["local_trunk.0.1.running_var"],
        convolved(ones, classes).var((0, 2, 3)),
        rtol=0.05,
        atol=0,
    )


def convolved(weights, images):
    filters = weights["local_trunk.0.0.weight"]
    return nn.functional.conv2d(2 * images - 1, filters, stride=2, padding=1)


def test_weights_that_cannot_be_drawn_anew_are_named():
    encoder = small_encoder()
    encoder.head = nn.ParameterList([nn.Parameter(torch.ones(2))])
    said = (
        r"'head' has parameters and no reset_parameters\(\), .*give it, or a part around it, that"
    )
    with pytest.raises(InputError, match=said):
        untrained(encoder, images(), "cpu")


@pytest.mark.parametrize(
    "normalised", [parametrizations.weight_norm, parametrizations.spectral_norm, spectral_norm]
)
def test_weights_of_which_a_layer_draws_the_norm_alone_are_named(normalised):
    """They would stay those of the trained encoder."""
    encoder = small_encoder()
    name, layer = next((n, m) for n, m in encoder.named_modules() if isinstance(m, nn.Conv2d))
    normalised(layer)
    with pytest.raises(InputError, match=rf"'{re.escape(name)}\..*' is not drawn anew by reset"):
        untrained(encoder, images(), "cpu")


class Attending(BlogEncoder):
    """Its map goes through a layer of torch's transformers, as a part of which others are made."""

    def __init__(self, around=None):
        torch.manual_seed(0)
        super().__init__(8, widths=(4, 8), embedding_dim=5)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.tokens = nn.TransformerEncoder(layer, 1) if around is None else around(layer)


def test_attention_of_torch_is_drawn_as_it_is_made():
    encoder = Attending()
    with torch.no_grad():
        for part in encoder.parameters():
            part.add_(1.0)
    found = untrained(encoder, images(), "cpu").tokens.layers[0].self_attn
    bound = (6 / (3 * 8 + 8)) ** 0.5  # Glorot and Bengio, 2010, of queries, keys and values as one
    assert 0.9 * bound < found.in_proj_weight.abs().max() <= bound
    assert not found.in_proj_bias.any()
    assert not found.out_proj.bias.any()


class Around(nn.Sequential):
    """Notes what the global generator would draw, where its own turn comes."""

    def reset_parameters(self):
        state = torch.get_rng_state()
        self.drawn = torch.rand(4)
        torch.set_rng_state(state)
        for part in self.parameters():
            nn.init.normal_(part)


def test_a_part_around_attention_draws_as_if_it_were_none():
    class Plain(nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.weights = nn.ParameterList(p for p in layer.self_attn.parameters(recurse=False))

    def drawn(within):
        encoder = Attending(lambda layer: Around(within(layer)))
        return untrained(encoder, images(), "cpu").tokens.drawn

    attention = drawn(lambda layer: layer.self_attn)
    plain = drawn(lambda layer: nn.Sequential(Plain(layer), layer.self_attn.out_proj))
    assert torch.equal(attention, plain)
