"""Crops, resizing and blur of a batch, each image by parameters of its own: matrix products."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dim_lightning.processes import joint_size, own_rows

_PROPOSALS = 10


class Boxes(NamedTuple):
    """One box an image, in pixels: each float [n]."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor


def random_boxes(
    num: int,
    image_size: tuple[int, int],
    scale: tuple[float, float],
    ratio: tuple[float, float],
    generator: torch.Generator,
) -> Boxes:
    """Boxes inside of an image, whole pixels, distributed as those of torchvision.

    Area uniform in `scale`, aspect log-uniform in `ratio`, place uniform. The first of ten
    proposals that fits is taken, a central box where none does.
    Source: torchvision's RandomResizedCrop.

    Args:
        num: how many boxes n.
        image_size: height and width of the images.
        scale: least and largest share of the image's area.
        ratio: least and largest width / height.
        generator: of the draws, on the device of the boxes.
    """
    height, width = image_size
    joint = 2, joint_size(num)
    draws = torch.rand(*joint, _PROPOSALS, generator=generator, device=generator.device)
    draws = own_rows(draws, dim=1)
    area = height * width * (scale[0] + (scale[1] - scale[0]) * draws[0])
    low, high = math.log(ratio[0]), math.log(ratio[1])
    aspect = (low + (high - low) * draws[1]).exp()
    heights, widths = (area / aspect).sqrt().round(), (area * aspect).sqrt().round()
    fits = (heights >= 1) & (heights <= height) & (widths >= 1) & (widths <= width)
    first = fits.to(torch.uint8).argmax(1, keepdim=True)  # of equals the first
    chosen = torch.stack([heights, widths]).gather(2, first.expand(2, -1, -1))[..., 0]
    place = own_rows(torch.rand(joint, generator=generator, device=generator.device), dim=1)
    top = (place[0] * (height + 1 - chosen[0])).floor()
    left = (place[1] * (width + 1 - chosen[1])).floor()
    central = _central_box(height, width, ratio)
    found = zip((top, left, *chosen), central, strict=True)
    return Boxes(*(torch.where(fits.any(1), drawn, other) for drawn, other in found))


def _central_box(
    height: int, width: int, ratio: tuple[float, float]
) -> tuple[float, float, float, float]:
    """Top, left, height and width of the largest central box of an aspect in `ratio`."""
    box_height, box_width = height, width
    if width / height < ratio[0]:
        box_height = round(width / ratio[0])
    elif width / height > ratio[1]:
        box_width = round(height * ratio[1])
    top, left = (height - box_height) // 2, (width - box_width) // 2
    return float(top), float(left), float(box_height), float(box_width)


def resized_crop(
    images: Float[Tensor, "n 3 h w"],
    boxes: Boxes,
    size: tuple[int, int],
    flipped: Bool[Tensor, " n"] | None = None,
) -> Float[Tensor, "n 3 new_h new_w"]:
    """What is inside of the boxes, brought to one size; as torchvision's, antialiased.

    Bilinear, and where a box is made smaller, each new pixel is a weighted mean of all the pixels
    under it. The weights of rows and columns are two matrices an image, so mirroring is free.

    Args:
        images: float, quickest in channels_last.
        boxes: inside of the images.
        size: height and width to come out.
        flipped: which of the images to mirror left to right; none if None.
    """
    rows = _bilinear(boxes.top, boxes.height, images.shape[2], size[0])
    columns = _bilinear(boxes.left, boxes.width, images.shape[3], size[1], flipped)
    return _mixed(images, rows, columns)


def _bilinear(
    start: Float[Tensor, " n"],
    length: Float[Tensor, " n"],
    old_size: int,
    new_size: int,
    reverse: Bool[Tensor, " n"] | None = None,
) -> Float[Tensor, "n new old"]:
    """How much of each old row a new one has: a triangle around its middle; rows sum to 1."""
    start, length = start[:, None, None], length[:, None, None]
    place = torch.arange(new_size, device=start.device)[:, None] + 0.5
    if reverse is not None:
        place = torch.where(reverse[:, None, None], new_size - place, place)
    old = torch.arange(old_size, device=start.device) + 0.5
    step = length / new_size
    distance = (old - (start + place * step)).abs_().div_(step.clamp_min(1))
    weights = (1 - distance).clamp_min_(0)
    weights *= (old > start) & (old < start + length)
    return weights.div_(weights.sum(2, keepdim=True))


def blurred(
    images: Float[Tensor, "n 3 h w"], sigma: Float[Tensor, " n"], kernel_size: int
) -> Float[Tensor, "n 3 h w"]:
    """The images under a Gaussian window exp(-d^2 / 2 sigma^2), mirrored at their edges.

    Args:
        images: float, with more than kernel_size // 2 rows and columns.
        sigma: in pixels; an image of sigma 0 stays exactly as it is.
        kernel_size: pixels the window takes in along an axis, odd.
    """
    radius = kernel_size // 2
    offsets = torch.arange(-radius, radius + 1, device=images.device)
    # Below 1/100 pixel the neighbours' weights are zero in float32.
    kernel = (-((offsets / sigma.clamp_min(0.01)[:, None]) ** 2) / 2).softmax(1)
    rows, columns = (_windows(kernel, size) for size in images.shape[2:])
    return _mixed(images, rows, columns)


def _windows(kernel: Float[Tensor, "n k"], size: int) -> Float[Tensor, "n size size"]:
    """The kernels as matrices over rows, what leaves the image reflected back into it."""
    radius = kernel.shape[1] // 2
    places = torch.arange(size, device=kernel.device)
    taps = places[:, None] + torch.arange(-radius, radius + 1, device=kernel.device)
    taps = size - 1 - (size - 1 - taps.abs()).abs()
    hits = (taps.T[:, :, None] == places).to(kernel.dtype)
    return (kernel @ hits.flatten(1)).unflatten(1, (size, size))


def _mixed(
    images: Float[Tensor, "n 3 h w"],
    rows: Float[Tensor, "n new_h h"],
    columns: Float[Tensor, "n new_w w"],
) -> Float[Tensor, "n 3 new_h new_w"]:
    """Rows and columns of the images mixed by weights that sum to 1; contiguous, within [0, 1]."""
    n, channels, _, width = images.shape
    mixed = torch.bmm(rows, images.permute(0, 2, 3, 1).flatten(2))
    mixed = mixed.unflatten(2, (width, channels)).permute(0, 3, 1, 2).reshape(n, -1, width)
    mixed = torch.bmm(mixed, columns.mT).unflatten(1, (channels, -1))
    return mixed.clamp_(0, 1)  # rounding leaves it
