"""The augmentation of contrastive learning: a resized crop, a flip, other colours, a blur."""

import copy

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dim_lightning.data.augmentation.augmentation import Augmentation
from dim_lightning.data.augmentation.colour import (
    gray_where,
    with_brightness,
    with_contrast,
    with_hue,
    with_saturation,
)
from dim_lightning.data.augmentation.geometry import blurred, random_boxes, resized_crop
from dim_lightning.errors import InputError
from dim_lightning.processes import joint_size, own_rows, uniform


class CropColour(Augmentation):
    """A part of each image at one size, mirrored or not, in other colours or gray, sharp or not.

    Every image has draws of its own. Each operation gives what torchvision's of the same name gives
    for one image; the crop is antialiased. Brightness, contrast, saturation and hue change in this
    order, the result cut to [0, 1] after each. About 0.03 ms an image of 32 x 32 and 0.14 ms of
    64 x 64 on one core.

    Source: Chen et al., 2020 (SimCLR), appendix A: least scale 0.08, jitter (0.8, 0.8, 0.8, 0.2),
    blur_prob 0.5 for ImageNet; B.9: half that jitter and no blur for CIFAR-10, as by default here.
    The authors' code draws the order of the four changes of colour anew for each image.
    """

    def __init__(
        self,
        size: int | None = None,
        crop_scale: tuple[float, float] = (0.2, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        flip_prob: float = 0.5,
        jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.1),
        jitter_prob: float = 0.8,
        gray_prob: float = 0.2,
        blur_prob: float = 0.0,
        blur_sigma: tuple[float, float] = (0.1, 2.0),
    ) -> None:
        """Set how strong and how often.

        Args:
            size: height and width in pixels that come out; those of the images if None.
            crop_scale: least and largest share of the image's area.
            ratio: least and largest width / height of the crop, before it is resized.
            flip_prob: share of the images that are mirrored left to right.
            jitter: of brightness, contrast, saturation and hue: factors are uniform in
                [max(0, 1 - s), 1 + s], the hue turns by up to s of the circle either way.
            jitter_prob: share of the images whose colours are changed so.
            gray_prob: share of the images that lose their colour.
            blur_prob: share of the images that are blurred.
            blur_sigma: least and largest width of the blur in pixels; its window takes in a tenth
                of the image's height, at least 3 pixels.

        Raises:
            InputError: a number is out of its range.
        """
        _check_settings(size, crop_scale, ratio, jitter, blur_sigma)
        probs = {"flip_prob": flip_prob, "jitter_prob": jitter_prob}
        probs |= {"gray_prob": gray_prob, "blur_prob": blur_prob}
        for name, prob in probs.items():
            _check(name, prob, 0 <= prob <= 1, "a share between 0 and 1")
        self.size = size
        self.crop_scale = crop_scale
        self.ratio = ratio
        self.flip_prob = flip_prob
        self.jitter = jitter
        self.jitter_prob = jitter_prob
        self.gray_prob = gray_prob
        self.blur_prob = blur_prob
        self.blur_sigma = blur_sigma

    def __call__(
        self, images: Float[Tensor, "n 3 h w"], generator: torch.Generator
    ) -> Float[Tensor, "n 3 new_h new_w"]:
        """The images, each changed by draws of its own."""
        n, _, height, width = images.shape
        boxes = random_boxes(n, (height, width), self.crop_scale, self.ratio, generator)
        size = (height, width) if self.size is None else (self.size, self.size)
        views = resized_crop(images, boxes, size, _chosen(n, self.flip_prob, generator))
        if self.jitter_prob > 0:
            views = self._jittered(views, generator)
        if self.gray_prob > 0:
            views = gray_where(views, _chosen(n, self.gray_prob, generator))
        if self.blur_prob > 0:
            views = self._blurred(views, generator)
        return views.contiguous(memory_format=torch.channels_last)

    def resized(self, size: int) -> "CropColour":
        """The same change, with images of `size` x `size` pixels that come out."""
        other = copy.copy(self)
        other.size = size
        return other

    def _jittered(
        self, images: Float[Tensor, "n 3 h w"], generator: torch.Generator
    ) -> Float[Tensor, "n 3 h w"]:
        chosen = _chosen(len(images), self.jitter_prob, generator)
        joint = torch.rand(4, joint_size(len(images)), generator=generator, device=images.device)
        draws = own_rows(joint, dim=1)
        operations = (with_brightness, with_contrast, with_saturation)
        for operation, strength, draw in zip(operations, self.jitter, draws, strict=False):
            if strength > 0:
                least = max(0.0, 1 - strength)
                factor = least + (1 + strength - least) * draw
                images = operation(images, torch.where(chosen, factor, 1.0))
        turn = self.jitter[3] * (2 * draws[3] - 1)
        return with_hue(images, turn * chosen) if self.jitter[3] > 0 else images

    def _blurred(
        self, images: Float[Tensor, "n 3 h w"], generator: torch.Generator
    ) -> Float[Tensor, "n 3 h w"]:
        chosen = _chosen(len(images), self.blur_prob, generator)
        draw = uniform(len(images), generator=generator)
        least, largest = self.blur_sigma
        height, width = images.shape[2:]
        radius = min(max(1, height // 20), height - 1, width - 1)
        return blurred(images, (least + (largest - least) * draw) * chosen, 2 * radius + 1)


def _chosen(num: int, prob: float, generator: torch.Generator) -> Bool[Tensor, " num"]:
    """Which of the images something happens to."""
    return uniform(num, generator=generator) < prob


def _check_settings(
    size: int | None,
    crop_scale: tuple[float, float],
    ratio: tuple[float, float],
    jitter: tuple[float, float, float, float],
    blur_sigma: tuple[float, float],
) -> None:
    _check("size", size, size is None or size >= 1, "at least one pixel, or null")
    ordered = 0 < crop_scale[0] <= crop_scale[1] <= 1
    _check("crop_scale", crop_scale, ordered, "two shares of the area, 0 < least <= largest <= 1")
    finite = 0 < ratio[0] <= ratio[1] < float("inf")
    _check("ratio", ratio, finite, "two numbers above 0, the least first")
    strengths = all(0 <= each < float("inf") for each in jitter) and jitter[3] <= 0.5
    _check("jitter", jitter, strengths, "four numbers of at least 0, the last at most 0.5")
    finite = 0 < blur_sigma[0] <= blur_sigma[1] < float("inf")
    _check("blur_sigma", blur_sigma, finite, "two numbers above 0, the least first")


def _check(name: str, value: object, holds: bool, expected: str) -> None:
    if not holds:
        raise InputError(
            f"data.augmentation of class CropColour has {name} {value}; expected {expected}; "
            f"change data.augmentation.{name}"
        )
