import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as reference

from dim_lightning.data.augmentation import colour
from dim_lightning.seeding import generator_for

MATCHES = [
    (colour.with_brightness, reference.adjust_brightness, (0.0, 2.0)),
    (colour.with_contrast, reference.adjust_contrast, (0.0, 2.0)),
    (colour.with_saturation, reference.adjust_saturation, (0.0, 2.0)),
    (colour.with_hue, reference.adjust_hue, (-0.5, 0.5)),
]
ours_and_theirs = pytest.mark.parametrize(("ours", "theirs", "bounds"), MATCHES)


def images(n=48, height=6, width=5):
    """Random ones, and some with what hue is sensitive to: grays, black, white, equal channels."""
    pixels = torch.rand(n, 3, height, width, generator=generator_for(0))
    pixels[0] = pixels[0, :1]
    pixels[1], pixels[2] = 0, 1
    pixels[3, 1] = pixels[3, 0]
    pixels[4, 2] = pixels[4, 0]
    pixels[5, 2] = pixels[5, 1]
    pixels[6] = pixels[6].round()
    pixels[7] = 0.5 + 1e-6 * pixels[7]
    return pixels


def one_by_one(operation, pixels, factors):
    pairs = zip(pixels, factors.tolist(), strict=True)
    return torch.stack([operation(image, factor) for image, factor in pairs])


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@ours_and_theirs
def test_each_image_changes_by_its_factor_as_torchvision_changes_it(ours, theirs, bounds, layout):
    before = images().to(memory_format=layout)
    copy = before.clone()
    factors = torch.linspace(*bounds, len(before))
    after = ours(before, factors)
    torch.testing.assert_close(after, one_by_one(theirs, before, factors), rtol=0, atol=1e-5)
    assert ((after >= 0) & (after <= 1)).all()
    assert torch.equal(before, copy)


@pytest.mark.parametrize(
    ("operation", "factor"), [(ours, float(ours is not colour.with_hue)) for ours, _, _ in MATCHES]
)
def test_the_neutral_factor_changes_nothing_at_all(operation, factor):
    before = images()
    assert torch.equal(operation(before, torch.full((len(before),), factor)), before)


def test_only_the_chosen_images_become_gray_as_torchvision_makes_them():
    before = images()
    chosen = torch.arange(len(before)) % 2 == 0
    after = colour.gray_where(before, chosen)
    assert torch.equal(after[~chosen], before[~chosen])
    expected = reference.rgb_to_grayscale(before, num_output_channels=3)
    torch.testing.assert_close(after[chosen], expected[chosen], rtol=0, atol=1e-6)


def test_a_third_of_the_circle_makes_red_green_and_green_blue():
    primaries = torch.eye(3).reshape(3, 3, 1, 1)
    turned = colour.with_hue(primaries, torch.full((3,), 1 / 3))
    torch.testing.assert_close(turned, primaries.roll(-1, 0), rtol=0, atol=1e-6)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.floats(-0.5, 0.5, width=32))
def test_turning_the_hue_and_back_is_no_turn_and_keeps_the_extremes(seed, turn):
    before = torch.rand(4, 3, 3, 3, generator=generator_for(seed))
    turns = torch.full((4,), turn)
    turned = colour.with_hue(before, turns)
    torch.testing.assert_close(turned.amax(1), before.amax(1), rtol=0, atol=1e-6)
    torch.testing.assert_close(turned.amin(1), before.amin(1), rtol=0, atol=1e-6)
    torch.testing.assert_close(colour.with_hue(turned, -turns), before, rtol=0, atol=1e-5)


@ours_and_theirs
def test_no_image_depends_on_another(ours, theirs, bounds):
    before = images()
    factors = torch.linspace(*bounds, len(before))
    changed = torch.cat([before[:1], before.flip(0)[1:]])
    torch.testing.assert_close(ours(changed, factors)[0], ours(before, factors)[0], rtol=0, atol=0)
