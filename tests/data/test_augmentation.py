import pytest
import torch
from torch.nn import functional as F

from dim_lightning.data import CropAndFlip, to_float
from dim_lightning.errors import InputError
from dim_lightning.seeding import generator_for


def images(n=64, height=7, width=5):
    pixels = torch.rand(n, 3, height, width, generator=generator_for(0))
    return pixels.to(memory_format=torch.channels_last)


def is_channels_last(batch):
    return batch.is_contiguous(memory_format=torch.channels_last)


def test_to_float_maps_bytes_to_zero_to_one_in_their_layout():
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(2, 3, 16, 16)
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    floats = to_float(pixels)
    assert torch.equal(floats, pixels.double().div(255).float())
    assert is_channels_last(floats)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_what_is_no_bytes_is_refused_and_stays_as_it_is(dtype):
    pixels = torch.ones(1, 3, 2, 2, dtype=dtype)
    with pytest.raises(InputError, match=r"the images are (float|int)\d+; expected uint8"):
        to_float(pixels)
    assert torch.equal(pixels, torch.ones(1, 3, 2, 2, dtype=dtype))


def every_outcome(image, shift):
    """All crops of one padded image, as they are and mirrored."""
    _, height, width = image.shape
    padded = F.pad(image, [shift] * 4)
    for top in range(2 * shift + 1):
        for left in range(2 * shift + 1):
            crop = padded[:, top : top + height, left : left + width]
            yield crop
            yield crop.flip(-1)


def outcome_of(image, original, shift):
    matches = [i for i, each in enumerate(every_outcome(original, shift)) if each.equal(image)]
    assert len(matches) == 1, "not a shift and flip of its original"
    return matches[0]


def test_each_image_is_a_crop_of_its_own_padded_self_drawn_alone():
    before = images()
    after = CropAndFlip(shift=2)(before, generator_for(1))
    pairs = zip(after, before, strict=True)
    outcomes = [outcome_of(image, original, 2) for image, original in pairs]
    assert len(set(outcomes)) > 20  # of 50: one draw for the whole batch would give 1
    assert is_channels_last(after)


def test_every_shift_and_both_directions_occur_about_equally():
    same = images(1).expand(4000, -1, -1, -1)
    after = CropAndFlip(shift=1)(same, generator_for(2))
    counts = torch.stack(
        [(after == each).flatten(1).all(1).sum() for each in every_outcome(same[0], 1)]
    )
    assert counts.sum() == 4000
    assert (counts - 4000 / 18).abs().max() < 5 * (4000 / 18) ** 0.5


@pytest.mark.parametrize(("flip_prob", "flipped"), [(0.0, False), (1.0, True)])
def test_without_shift_only_the_flip_is_left(flip_prob, flipped):
    before = images()
    after = CropAndFlip(shift=0, flip_prob=flip_prob)(before, generator_for(3))
    assert after.equal(before.flip(-1) if flipped else before)


def test_draws_come_from_the_generator_alone_and_the_input_stays():
    before = images()
    copy, state = before.clone(), torch.get_rng_state()
    first = CropAndFlip()(before, generator_for(4))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, CropAndFlip()(before, generator_for(4)))
    assert not torch.equal(first, CropAndFlip()(before, generator_for(5)))
    assert torch.equal(before, copy)


@pytest.mark.parametrize("settings", [{"shift": -1}, {"flip_prob": 1.5}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(InputError, match=r"data\.augmentation"):
        CropAndFlip(**settings)
