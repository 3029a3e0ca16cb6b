"""How far a file may be from its encoder."""

import pytest
import torch

from dim_lightning.encoders import BlogEncoder
from dim_lightning.errors import InputError
from dim_lightning.export.programs import (
    TensorProgram,
    check_equal,
    largest_difference,
    rounding,
)

SIZE = 8


class Steep(BlogEncoder):
    """Makes much of the last digits, as many layers do."""

    def forward(self, images):
        features = super().forward(images)
        return features._replace(layers={"steep": torch.cos(1e4 * features.mean)})


class Drawing(Steep):
    """Draws at random, by no more than Steep rounds."""

    def forward(self, images):
        features = super().forward(images)
        steep = features.layers["steep"]
        return features._replace(layers={"steep": steep + 1e-4 * torch.rand_like(steep)})


class SinglePrecision(Steep):
    """Knows no other precision."""

    def forward(self, images):
        return super().forward(images.float())


def _encoder(kind):
    torch.manual_seed(0)
    return kind(SIZE, widths=(4,), embedding_dim=6).eval()


def _moved(program, by):
    return lambda images: {name: layer + by for name, layer in program(images).items()}


def test_the_rounding_of_an_encoder_is_allowed_and_no_more():
    steep = _encoder(Steep)
    single, exact = TensorProgram(steep), TensorProgram(steep, torch.float64)
    found = rounding(steep, SIZE)
    assert found == largest_difference(single, exact, SIZE) > 1e-4
    assert check_equal(exact, single, steep, SIZE, "file") > 1e-4
    with pytest.raises(InputError, match=r"file differs from the encoder by .*; expected at most"):
        check_equal(_moved(exact, 6 * found), single, steep, SIZE, "file")


def test_an_encoder_that_rounds_little_is_held_to_little():
    encoder = _encoder(BlogEncoder)
    program = TensorProgram(encoder)
    assert rounding(encoder, SIZE) < 2e-6
    with pytest.raises(InputError, match="expected at most 1e-05"):
        check_equal(_moved(program, 2e-5), program, encoder, SIZE, "file")


@pytest.mark.parametrize("kind", [Drawing, SinglePrecision])
def test_where_rounding_cannot_be_told_nothing_more_is_allowed(kind):
    encoder = _encoder(kind)
    program = TensorProgram(encoder)
    assert rounding(encoder, SIZE) == 0
    with pytest.raises(InputError, match="expected at most 1e-05"):
        check_equal(_moved(program, 2e-5), program, encoder, SIZE, "file")


def test_nan_in_a_single_batch_is_no_equality():
    encoder = _encoder(BlogEncoder)
    program = TensorProgram(encoder)

    def broken(images):
        return _moved(program, float("nan") if len(images) == 2 else 0)(images)

    with pytest.raises(InputError, match="file differs from the encoder by nan"):
        check_equal(broken, program, encoder, SIZE, "file")
