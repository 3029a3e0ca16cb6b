"""A small, quick encoder: strided convolutions and a mean over the locations."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dim_lightning.encoders.convolution import Convolution
from dim_lightning.encoders.encoder import Encoder, Features, FeatureShape
from dim_lightning.encoders.head import check_halvings, check_sizes
from dim_lightning.encoders.residual import ResidualBlock
from dim_lightning.errors import InputError


class StridedEncoder(Encoder):
    """Convolutions 4x4 that halve the image, one 3x3 that widens it, their mean as the code.

    For each width but the last [convolution 4x4 stride 2, batch norm, ReLU], and residual blocks if
    asked for; then [convolution 3x3, batch norm, ReLU] to the last width. This is the feature map,
    and the code is its mean over the locations, so images of every size that leaves a location can
    be encoded. Layers to probe: `conv` (the feature map, flattened), `quarters` (its mean over each
    quarter of the image, where there are as many locations), `embedding` (the code).

    Nothing is computed to be pooled away: 36.4 million multiply-adds an image of 32x32, of which a
    CPU does most at the rate of its matrix products.

    Args:
        image_size: height and width of an image.
        widths: channels of the convolutions; all but the last halve the height and the width.
        blocks: number of residual blocks after each convolution that halves; none if empty.
        pixel_range: what the pixel values 0 and 1 are brought to.

    Raises:
        InputError: sizes that cannot be, or an image too small to be halved as often.
    """

    is_gaussian = False

    def __init__(
        self,
        image_size: int,
        *,
        widths: Sequence[int] = (64, 128, 256, 512),
        blocks: Sequence[int] = (),
        pixel_range: tuple[float, float] = (-2.0, 2.0),
    ):
        super().__init__()
        check_sizes("StridedEncoder", widths, 2, pixel_range)
        _check_blocks(blocks, widths)
        halvings = len(widths) - 1
        check_halvings(image_size, halvings)
        side = image_size // 2**halvings
        self.feature_shape = FeatureShape(widths[-1], side, side)
        self.embedding_dim = widths[-1]
        self.pixel_range = pixel_range
        layers: list[nn.Module] = []
        counts = blocks or [0] * (len(widths) - 1)
        for (inputs, outputs), count in zip(pairwise((3, *widths[:-1])), counts, strict=True):
            layers += _conv_block(inputs, outputs, 4, 2)
            layers += [ResidualBlock(outputs, outputs) for _ in range(count)]
        layers += _conv_block(widths[-2], widths[-1], 3, 1)
        self.trunk = nn.Sequential(*layers)
        self.to(memory_format=torch.channels_last)  # the faster layout for convolutions

    def forward(self, images: Float[Tensor, "n 3 height width"]) -> Features:
        """The features of `images`, pixel values in [0, 1]."""
        low, high = self.pixel_range
        feature_map = self.trunk(images * (high - low) + low)
        code = feature_map.mean(dim=(2, 3))
        layers = {"conv": feature_map.flatten(1)}
        if min(feature_map.shape[2:]) > 2:
            layers["quarters"] = _quarters(feature_map).flatten(1)
        layers["embedding"] = code
        return Features(feature_map, layers, code, None)


def _quarters(feature_map: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c 2 2"]:
    """Means of the four quarters; the middle row or column of an odd side is in two of them.

    The windows of `F.adaptive_avg_pool2d`, which Apple's GPUs take of even sides alone.
    """
    height, width = feature_map.shape[2:]
    window = ((height + 1) // 2, (width + 1) // 2)
    return F.avg_pool2d(feature_map, window, stride=(height // 2, width // 2))


def _conv_block(inputs: int, outputs: int, size: int, stride: int) -> list[nn.Module]:
    convolution = Convolution(inputs, outputs, size, stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]


def _check_blocks(blocks: Sequence[int], widths: Sequence[int]) -> None:
    if blocks and (len(blocks) != len(widths) - 1 or min(blocks) < 0):
        raise InputError(
            f"StridedEncoder got blocks {list(blocks)}; expected none, or a number of at least 0 "
            f"for each of its {len(widths) - 1} convolutions that halve; set "
            "model.encoder.init_args.blocks"
        )
