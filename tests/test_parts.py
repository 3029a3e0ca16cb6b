"""Layers that draw from PyTorch's global generators are seen, and said of each part."""

import pytest
import torch
from small_methods import build, decoder, discriminator, encoder
from torch import nn
from torchvision.ops import StochasticDepth

from dim_lightning.baselines import VAE, AdversarialAutoencoder, Autoencoder, BiGAN, Supervised
from dim_lightning.parts import has_dropout


class DropPath(nn.Module):
    """As timm has it."""

    def __init__(self, drop_prob):
        super().__init__()
        self.drop_prob = drop_prob


DRAWING = {
    "dropout": (nn.Dropout(0.1), nn.Dropout(0.0)),
    "dropout of maps": (nn.Dropout2d(0.1), nn.Dropout2d(0.0)),
    "attention": (nn.MultiheadAttention(4, 2, dropout=0.1), nn.MultiheadAttention(4, 2)),
    "recurrence": (nn.LSTM(3, 4, num_layers=2, dropout=0.1), nn.LSTM(3, 4, num_layers=2)),
    "random slopes": (nn.RReLU(), nn.RReLU(0.2, 0.2)),
    "fractional pooling": (
        nn.FractionalMaxPool2d(2, output_size=2),
        nn.FractionalMaxPool2d(2, output_size=2, _random_samples=torch.rand(1, 4, 2)),
    ),
    "stochastic depth": (StochasticDepth(0.1, "row"), StochasticDepth(0.0, "row")),
    "drop path": (DropPath(0.1), DropPath(None)),
}


@pytest.mark.parametrize("kind", DRAWING)
def test_layers_that_draw_are_seen_and_those_turned_off_are_not(kind):
    for layer, draws in zip(DRAWING[kind], (True, False), strict=True):
        assert has_dropout(nn.Sequential(nn.Linear(4, 4), nn.Sequential(layer))) == draws


def with_dropout(make):
    def made(*sizes):
        part = make(*sizes)
        part.dropped = nn.Dropout(0.1)
        return part

    return made


@pytest.mark.parametrize(
    ("method", "part", "make", "named"),
    [
        (Supervised, "encoder", encoder, "PaperEncoder"),
        (Autoencoder, "decoder", decoder, "Decoder"),
        (VAE, "decoder", decoder, "Decoder"),
        (AdversarialAutoencoder, "decoder", decoder, "Decoder"),
        (BiGAN, "decoder", decoder, "Decoder"),
        (BiGAN, "discriminator", discriminator, "JointDiscriminator"),
    ],
)
def test_each_part_with_dropout_is_named_once(method, part, make, named):
    with pytest.warns(UserWarning, match=f"^{named} has dropout or other layers") as said:
        build(method, **{part: with_dropout(make)})
    assert len(said) == 1
