import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dim_lightning.errors import InputError
from dim_lightning.infomax.occlusion import Occlusion


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def hidden_by(occlusion, shape=(64, 3, 32, 32), seed=0):
    """Which pixels are hidden, [n, height, width]: those not 0 in images of zeros."""
    occluded = occlusion(torch.zeros(shape), generator(seed))
    hidden = occluded != 0
    assert (hidden == hidden[:, :1]).all()  # in all channels alike
    return hidden[:, 0]


@given(
    st.integers(4, 48),
    st.integers(4, 48),
    st.tuples(st.floats(0.05, 0.95), st.floats(0.05, 0.95)).map(sorted),
    st.integers(0, 2**31),
)
def test_a_rectangle_within_the_range_in_every_image(height, width, fractions, seed):
    low, high = fractions
    hidden = hidden_by(Occlusion(low, high, 1.0), (9, 3, height, width), seed)
    rows, columns = hidden.any(2), hidden.any(1)
    assert torch.equal(hidden, rows[:, :, None] & columns[:, None, :])
    for lines, size in ((rows, height), (columns, width)):
        lengths = lines.sum(1)
        assert (lengths >= max(1, round(low * size))).all()
        assert (lengths <= max(1, round(high * size))).all()
        edges = (lines[:, 1:] != lines[:, :-1]).sum(1) + lines[:, 0] + lines[:, -1]
        assert (edges == 2).all()  # one interval, without gaps


def test_hidden_area_lies_within_the_squared_fractions():
    shares = hidden_by(Occlusion(0.25, 0.5)).double().mean(dim=(1, 2))
    assert (shares >= 0.25**2).all()
    assert (shares <= 0.5**2).all()


def test_equal_fractions_give_rectangles_of_one_size():
    hidden = hidden_by(Occlusion(0.5, 0.5))
    assert (hidden.flatten(1).sum(1) == 16 * 16).all()


def test_black_can_be_what_hides():
    occluded = Occlusion(fill=0.0)(torch.ones(4, 3, 8, 8), generator())
    assert (occluded == 0).flatten(1).any(1).all()


def test_default_hides_the_stated_share_on_average():
    shares = hidden_by(Occlusion(), (4000, 3, 20, 20)).double().mean(dim=(1, 2))
    assert shares.mean().item() == pytest.approx(0.18, abs=0.008)


def test_sizes_and_places_are_uniform_and_independent_between_images():
    hidden = hidden_by(Occlusion(0.25, 0.5), (20_000, 3, 8, 8))
    rows, columns = hidden.any(2), hidden.any(1)
    heights, widths = rows.sum(1), columns.sum(1)
    top = rows.int().argmax(1)  # the first hidden row
    for lengths in (heights, widths):
        counts = torch.bincount(lengths, minlength=5)[2:]
        assert (counts / 20_000 - 1 / 3).abs().max() < 4.5 * math.sqrt(2 / 9 / 20_000)
    joint = torch.bincount(3 * (heights - 2) + widths - 2, minlength=9) / 20_000
    assert (joint - 1 / 9).abs().max() < 4.5 * math.sqrt(8 / 81 / 20_000)
    tops = torch.bincount(top[heights == 4], minlength=5)
    assert len(tops) == 5
    assert (tops / tops.sum() - 1 / 5).abs().max() < 4.5 * math.sqrt(4 / 25 / tops.sum())
    assert (top[1:] == top[:-1]).double().mean() < 0.25  # neighbours in the batch do not agree


def test_untouched_elsewhere_and_never_in_place():
    images = torch.rand(16, 3, 20, 24, generator=generator(1))
    before = images.clone()
    occluded = Occlusion(fill=0.25)(images, generator(2))
    hidden = hidden_by(Occlusion(), (16, 3, 20, 24), seed=2)[:, None].expand_as(images)
    assert torch.equal(images, before)
    assert torch.equal(occluded[~hidden], images[~hidden])
    assert (occluded[hidden] == 0.25).all()


def test_equal_generators_give_equal_rectangles():
    first, second, other = (hidden_by(Occlusion(), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_draws_come_from_the_given_generator_alone():
    state = torch.get_rng_state()
    hidden_by(Occlusion())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_keeps_type_and_layout(dtype):
    images = torch.rand(4, 3, 8, 8).to(dtype).to(memory_format=torch.channels_last)
    occluded = Occlusion()(images, generator())
    assert occluded.dtype == dtype
    assert occluded.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_fraction": 0.0},
        {"min_fraction": 0.7},
        {"max_fraction": 1.0},
        {"fill": -0.1},
        {"fill": 2.0},
    ],
)
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(InputError, match=r"Occlusion was given .*; expected 0 < min_fraction"):
        Occlusion(**wrong)
