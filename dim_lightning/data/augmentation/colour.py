"""Changes of colour of a batch, each image by a factor of its own.

Each gives what torchvision's adjust_* gives for one image. Any memory format is taken; contiguous
images are the quickest. Source: torchvision.transforms.v2.functional; the factors are those of
Pillow's ImageEnhance: of a blend with black, with the mean gray, with the gray image.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Images = Float[Tensor, "n 3 h w"]
Factor = Float[Tensor, " n"]


def luma(images: Images) -> Float[Tensor, "n 1 h w"]:
    """The brightness of each pixel, 0.2989 R + 0.587 G + 0.114 B. Source: ITU-R BT.601."""
    red, green, blue = images.unbind(1)
    return (red * 0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114).unsqueeze_(1)


def with_brightness(images: Images, factor: Factor) -> Images:
    """The images times factor, in [0, 1]; 0 is black, 1 leaves the image as it is."""
    return (images * factor[:, None, None, None]).clamp_(0, 1)


def with_contrast(images: Images, factor: Factor) -> Images:
    """The images x as factor x + (1 - factor) m, in [0, 1], with m the image's mean luma."""
    factor = factor[:, None, None, None]
    mean = luma(images.mean((2, 3), keepdim=True))
    return (images * factor).add_((1 - factor) * mean).clamp_(0, 1)


def with_saturation(images: Images, factor: Factor) -> Images:
    """The images x as factor x + (1 - factor) luma(x), in [0, 1]; 0 is gray."""
    return torch.lerp(luma(images), images, factor[:, None, None, None]).clamp_(0, 1)


def gray_where(images: Images, chosen: Bool[Tensor, " n"]) -> Images:
    """The chosen images without colour, the others as they are."""
    return torch.lerp(images, luma(images), chosen[:, None, None, None].to(images.dtype))


def with_hue(images: Images, turn: Factor) -> Images:
    """The images with their hue turned by a share of the colour circle, in HSV.

    Args:
        images: float in [0, 1].
        turn: 1/3 makes red green; an image of turn 0 stays exactly as it is.
    """
    red, green, blue = images.unbind(1)
    low = torch.minimum(torch.minimum(red, green), blue)
    chroma = torch.maximum(torch.maximum(red, green), blue).sub_(low)
    sixths = _hue(images, low, chroma).add_(6 * turn[:, None, None])
    sixths -= 6 * (sixths / 6).floor_()
    # Each channel is a trapezium over the circle: R is low around 3, G high around 2, B around 4.
    shares = (sixths - 3).abs_().sub_(1), 2 - (sixths - 2).abs_(), 2 - (sixths - 4).abs_()
    turned = torch.stack([low.addcmul(chroma, share.clamp_(0, 1)) for share in shares], 1)
    return torch.lerp(images, turned, (turn != 0).to(images.dtype)[:, None, None, None])


def _hue(
    images: Images, low: Float[Tensor, "n h w"], chroma: Float[Tensor, "n h w"]
) -> Float[Tensor, "n h w"]:
    """Hue of each pixel, in sixths of the circle from red, in [-1, 5]; of a gray one any."""
    divisor = chroma.clamp_min(1e-20)  # smaller than any chroma but 0
    red, green, blue = ((channel - low).div_(divisor) for channel in images.unbind(1))
    # 1 in the largest channel and less elsewhere: floor is a mask, several times as quick as
    # comparing and torch.where on a CPU.
    other = torch.lerp(red - green + 4, blue - red + 2, green.floor())
    return torch.lerp(other, green - blue, red.floor())
