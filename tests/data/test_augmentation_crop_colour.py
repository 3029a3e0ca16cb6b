from colorsys import rgb_to_hsv

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from dim_lightning.data import CropAndFlip, CropColour
from dim_lightning.errors import InputError
from dim_lightning.seeding import generator_for

STILL = {
    "crop_scale": (1.0, 1.0),
    "ratio": (1.0, 1.0),
    "flip_prob": 0.0,
    "jitter_prob": 0.0,
    "gray_prob": 0.0,
}


def images(n=64, height=12, width=12):
    pixels = torch.rand(n, 3, height, width, generator=generator_for(0))
    return pixels.to(memory_format=torch.channels_last)


def alone(**settings):
    """Nothing but what is set."""
    return CropColour(**{**STILL, **settings})


def share_changed(before, after):
    return (before != after).flatten(1).any(1).float().mean().item()


@settings(max_examples=25)
@given(
    size=st.none() | st.integers(1, 20),
    scale=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(lambda two: tuple(sorted(two))),
    ratio=st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)).map(lambda two: tuple(sorted(two))),
    probs=st.tuples(*[st.floats(0, 1)] * 4),
    jitter=st.tuples(st.floats(0, 3), st.floats(0, 3), st.floats(0, 3), st.floats(0, 0.5)),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_settings_give_reproducible_images_in_zero_to_one(
    size, scale, ratio, probs, jitter, seed
):
    before = images(4, 9, 7)
    copy, state = before.clone(), torch.get_rng_state()
    names = ("flip_prob", "jitter_prob", "gray_prob", "blur_prob")
    shares = dict(zip(names, probs, strict=True))
    augmentation = CropColour(size, scale, ratio, jitter=jitter, **shares)
    after = augmentation(before, generator_for(seed))
    assert after.shape == (4, 3, size or 9, size or 7)
    assert after.is_contiguous(memory_format=torch.channels_last)
    assert ((after >= 0) & (after <= 1)).all()  # and so no NaN
    assert torch.equal(after, augmentation(before, generator_for(seed)))
    assert torch.equal(before, copy)
    assert torch.equal(torch.get_rng_state(), state)


def test_with_everything_off_the_images_stay_exactly():
    before = images()
    assert torch.equal(alone()(before, generator_for(1)), before)


def test_another_generator_gives_other_images():
    before = images()
    first, second = (CropColour()(before, generator_for(seed)) for seed in (1, 2))
    assert share_changed(first, second) > 0.95


@pytest.mark.parametrize(
    "setting",
    [
        {"crop_scale": (0.2, 0.9)},
        {"jitter_prob": 1.0},
        {"jitter_prob": 1.0, "jitter": (0.4, 0.0, 0.0, 0.0)},
        {"jitter_prob": 1.0, "jitter": (0.0, 0.0, 0.0, 0.1)},
        {"blur_prob": 1.0, "blur_sigma": (1.0, 2.0)},
    ],
)
def test_each_image_of_a_batch_has_draws_of_its_own(setting):
    same = images(1).expand(64, -1, -1, -1)
    after = alone(**setting)(same, generator_for(3))
    assert len(after.flatten(1).unique(dim=0)) > 40  # one draw for the whole batch would give 1


@pytest.mark.parametrize("name", ["flip_prob", "jitter_prob", "gray_prob", "blur_prob"])
def test_as_many_images_change_as_the_probability_says(name):
    before = images(3000, 4, 4)
    after = alone(**{name: 0.3})(before, generator_for(4))
    assert abs(share_changed(before, after) - 0.3) < 4 * (0.3 * 0.7 / 3000) ** 0.5


def test_the_flip_is_the_mirror_image():
    before = images()
    assert torch.equal(alone(flip_prob=1.0)(before, generator_for(5)), before.flip(-1))


@pytest.mark.parametrize("shape", [(1, 1), (40, 2), (1, 9)])
def test_the_blur_fits_into_the_smallest_images(shape):
    white = torch.ones(8, 3, *shape)
    after = alone(blur_prob=1.0)(white, generator_for(9))
    torch.testing.assert_close(after, white, rtol=0, atol=1e-6)


def test_brightness_factors_fill_their_range_and_no_more():
    gray = torch.full((4000, 3, 2, 2), 0.25)
    after = alone(jitter=(0.4, 0.0, 0.0, 0.0), jitter_prob=1.0)(gray, generator_for(6))
    factors = after[:, 0, 0, 0] / 0.25
    expected = torch.linspace(0.6, 1.4, 4000)
    torch.testing.assert_close(factors.sort().values, expected, rtol=0, atol=0.04)


def test_contrast_factors_fill_their_range_and_no_more():
    halves = torch.tensor([0.3, 0.7]).expand(4000, 3, 2, 2)
    after = alone(jitter=(0.0, 0.3, 0.0, 0.0), jitter_prob=1.0)(halves, generator_for(6))
    factors = (after[:, 0, 0, 1] - after[:, 0, 0, 0]) / 0.4
    expected = torch.linspace(0.7, 1.3, 4000)
    torch.testing.assert_close(factors.sort().values, expected, rtol=0, atol=0.03)


def test_saturation_factors_fill_their_range_and_no_more():
    colour = torch.tensor([0.6, 0.4, 0.5])[:, None, None].expand(4000, 3, 2, 2)
    after = alone(jitter=(0.0, 0.0, 0.5, 0.0), jitter_prob=1.0)(colour, generator_for(6))
    factors = (after[:, 0, 0, 0] - after[:, 1, 0, 0]) / 0.2
    expected = torch.linspace(0.5, 1.5, 4000)
    torch.testing.assert_close(factors.sort().values, expected, rtol=0, atol=0.05)


def test_hues_turn_either_way_over_their_range_and_no_more():
    cyan = torch.tensor([0.0, 1.0, 1.0])[:, None, None].expand(4000, 3, 2, 2)
    after = alone(jitter=(0.0, 0.0, 0.0, 0.1), jitter_prob=1.0)(cyan, generator_for(6))
    hues = torch.tensor([rgb_to_hsv(*pixel)[0] for pixel in after[:, :, 0, 0].tolist()])
    expected = torch.linspace(0.4, 0.6, 4000)  # cyan is in the middle
    torch.testing.assert_close(hues.sort().values, expected, rtol=0, atol=0.01)


def test_a_change_of_one_image_moves_no_other():
    before = images()
    other = before.clone()
    other[0] = 1 - other[0]
    augmentation = CropColour(blur_prob=0.5)
    first, second = (augmentation(each, generator_for(7)) for each in (before, other))
    assert torch.equal(first[1:], second[1:])
    assert not torch.equal(first[0], second[0])


class NoWaiting(TorchDispatchMode):
    """Refuses whatever would wait for a device, or bring values from the host to it."""

    waiting = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "lift_fresh")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.name().removeprefix("aten::")
        by_mask = name.startswith("index.") and any(
            each is not None and each.dtype == torch.bool for each in args[1]
        )
        if by_mask or name.startswith(self.waiting):
            raise AssertionError(f"{name} waits for the device")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.max().item(),
        lambda x: x[x > 0.5],
        lambda x: bool((x > 2).any()),
        lambda x: x + torch.tensor([1.0]),
    ],
)
def test_waiting_for_the_device_would_be_noticed(wait):
    with NoWaiting(), pytest.raises(AssertionError, match="waits for the device"):
        wait(images(1))


@pytest.mark.parametrize("augmentation", [CropAndFlip(), CropColour(blur_prob=0.5), CropColour(8)])
def test_nothing_waits_for_the_device(augmentation):
    before, generator = images(), generator_for(8)
    with NoWaiting():
        augmentation(before, generator)


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 0},
        {"crop_scale": (0.0, 1.0)},
        {"crop_scale": (0.5, 0.2)},
        {"crop_scale": (0.2, 1.1)},
        {"ratio": (0.0, 1.0)},
        {"ratio": (2.0, 1.0)},
        {"ratio": (1.0, float("inf"))},
        {"flip_prob": 1.5},
        {"jitter": (0.4, 0.4, 0.4, 0.6)},
        {"jitter": (-0.1, 0.4, 0.4, 0.1)},
        {"jitter": (0.4, float("nan"), 0.4, 0.1)},
        {"jitter_prob": -0.1},
        {"gray_prob": float("nan")},
        {"blur_prob": 2.0},
        {"blur_sigma": (0.0, 1.0)},
        {"blur_sigma": (2.0, 1.0)},
    ],
)
def test_impossible_settings_are_refused_by_name(wrong):
    (name,) = wrong
    with pytest.raises(InputError, match=rf"{name} .*; expected .*; change data\.augmentation"):
        CropColour(**wrong)
