import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as reference

from dim_lightning.data.augmentation.geometry import (
    Boxes,
    _central_box,
    blurred,
    random_boxes,
    resized_crop,
)
from dim_lightning.seeding import generator_for


def images(n=16, height=20, width=17):
    pixels = torch.rand(n, 3, height, width, generator=generator_for(0))
    return pixels.to(memory_format=torch.channels_last)


def boxes_in(height, width, n=16):
    """Some of every size, from a single pixel to the whole image."""
    boxes = random_boxes(n, (height, width), (0.01, 1.0), (0.2, 5.0), generator_for(1))
    least = Boxes(*(torch.ones(1) for _ in boxes))
    whole = Boxes(*(torch.tensor([each]) for each in (0.0, 0.0, height * 1.0, width * 1.0)))
    rows = zip(least, whole, boxes, strict=True)
    return Boxes(*(torch.cat([a, b, rest[2:]]) for a, b, rest in rows))


@pytest.mark.parametrize("size", [(20, 17), (8, 8), (5, 31), (1, 1)])
def test_each_crop_is_resized_as_torchvision_resizes_it(size):
    before, flipped = images(), torch.arange(16) % 2 == 0
    copy, boxes = before.clone(), boxes_in(20, 17)
    after = resized_crop(before, boxes, size, flipped)
    for i, image in enumerate(before):
        box = [int(each[i]) for each in boxes]
        expected = reference.resized_crop(image, *box, list(size), antialias=True)
        expected = expected.flip(-1) if flipped[i] else expected
        torch.testing.assert_close(after[i], expected, rtol=0, atol=1e-5)
    assert torch.equal(before, copy)


def test_the_whole_image_at_its_own_size_is_the_image_exactly():
    before = images()
    whole = Boxes(*(torch.full((16,), float(each)) for each in (0, 0, 20, 17)))
    assert torch.equal(resized_crop(before, whole, (20, 17)), before)


def test_rounding_never_leaves_zero_to_one():
    white = torch.ones(16, 3, 20, 17)
    assert resized_crop(white, boxes_in(20, 17), (13, 29)).max() <= 1
    assert blurred(white, torch.linspace(0.1, 2, 16), 9).max() <= 1


@pytest.mark.parametrize("ratio", [(3 / 4, 4 / 3), (0.4, 2.5)])
def test_boxes_are_whole_pixels_inside_of_the_image_and_within_the_bounds(ratio):
    boxes = random_boxes(2000, (24, 32), (0.2, 0.8), ratio, generator_for(2))
    for each in boxes:
        assert torch.equal(each, each.round())
    assert (boxes.top >= 0).all()
    assert (boxes.left >= 0).all()
    assert (boxes.top + boxes.height <= 24).all()
    assert (boxes.left + boxes.width <= 32).all()
    assert (boxes.height >= 1).all()
    # Sides are rounded by up to half a pixel each.
    assert ((boxes.height - 0.5) * (boxes.width - 0.5) <= 0.8 * 24 * 32).all()
    assert ((boxes.height + 0.5) * (boxes.width + 0.5) >= 0.2 * 24 * 32).all()


def quantiles(values):
    return values.float().quantile(torch.linspace(0.1, 0.9, 9))


def test_boxes_are_distributed_as_those_of_torchvision():
    shape, scale, ratio = (24, 32), (0.2, 1.0), (3 / 4, 4 / 3)
    theirs = v2.RandomResizedCrop(8, scale, ratio)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        drawn = [theirs.make_params([torch.empty(3, *shape)]) for _ in range(1500)]
    ours = random_boxes(50_000, shape, scale, ratio, generator_for(3))
    for name, values in ours._asdict().items():
        expected = torch.tensor([each[name] for each in drawn])
        # Three standard errors of the middle quantiles of 1500 draws are below 4 % of the range.
        spread = expected.max() - expected.min()
        difference = (quantiles(values) - quantiles(expected)).abs().max()
        assert difference <= max(1.0, 0.06 * float(spread)), name


@pytest.mark.parametrize(
    ("shape", "ratio", "central"),
    [((10, 40), (1.0, 1.0), (0, 15, 10, 10)), ((40, 10), (1.0, 2.0), (15, 0, 10, 10))],
)
def test_where_no_proposal_fits_the_box_is_central(shape, ratio, central):
    boxes = random_boxes(3, shape, (0.9, 1.0), ratio, generator_for(4))
    assert torch.equal(torch.stack(boxes).T, torch.tensor([central] * 3).float())


@pytest.mark.parametrize(("shape", "moving", "still"), [((10, 40), 1, 0), ((40, 10), 0, 1)])
def test_a_box_as_high_or_as_wide_as_the_image_fits(shape, moving, still):
    boxes = random_boxes(500, shape, (0.25, 0.25), (1.0, 1.0), generator_for(5))
    assert torch.equal(boxes[2], torch.full((500,), 10.0))
    assert torch.equal(boxes[3], torch.full((500,), 10.0))
    assert set(boxes[still].tolist()) == {0}
    assert set(boxes[moving].tolist()) == set(range(31))


def test_an_image_whose_shape_is_allowed_is_its_own_central_box():
    assert _central_box(20, 30, (1.0, 2.0)) == (0, 0, 20, 30)


@pytest.mark.parametrize("kernel_size", [3, 9])
def test_each_image_is_blurred_by_its_sigma_as_torchvision_blurs_it(kernel_size):
    before, sigmas = images(), torch.linspace(0.1, 3.0, 16)
    copy = before.clone()
    after = blurred(before, sigmas, kernel_size)
    for image, sigma, result in zip(before, sigmas.tolist(), after, strict=True):
        expected = reference.gaussian_blur(image, [kernel_size] * 2, [sigma] * 2)
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-5)
    assert torch.equal(before, copy)


def test_sigma_zero_leaves_an_image_exactly_as_it_is():
    before = images()
    sigmas = torch.tensor([0.0, 1.0] * 8)
    after = blurred(before, sigmas, 5)
    assert torch.equal(after[::2], before[::2])
    assert not torch.isclose(after[1::2], before[1::2]).all()
