"""The encoders of the Deep InfoMax paper, for 32x32 and for 64x64 pictures."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dim_lightning.encoders.convolution import Convolution
from dim_lightning.encoders.encoder import Encoder, Features, FeatureShape
from dim_lightning.encoders.head import Head, check_halvings, check_sizes
from dim_lightning.errors import InputError


class PaperEncoder(Encoder):
    """The encoder for 32x32: a stack of strided convolutions, a hidden layer, the code.

    For each width [convolution 4x4 stride 2, batch norm, ReLU]; flattened; [linear, batch norm,
    ReLU]; linear. The feature map is what the convolution before the last gives, 128x8x8. Layers to
    probe: `conv` (the last convolution, flattened), `fc` (the hidden layer), `y` (the code).
    4,921,280 parameters, 21.8 million multiply-adds an image.

    Source: Hjelm et al., 2019, appendix A.1, and their code (rdevon/DIM, configs/convnets.py,
    basic32x32). Layers before a batch norm have no bias; in the code those of convolutions have
    none either.

    Args:
        image_size: height and width of an image.
        widths: channels of the convolutions; each halves the height and the width.
        hidden_dim: units of the hidden layer.
        embedding_dim: d, the size of the code.
        gaussian: whether p(z|x) has a variance, by one more linear layer beside the code's.
        pixel_range: what the pixel values 0 and 1 are brought to.

    Raises:
        InputError: sizes that cannot be, or an image too small to be halved as often.
    """

    def __init__(
        self,
        image_size: int,
        *,
        widths: Sequence[int] = (64, 128, 256),
        hidden_dim: int = 1024,
        embedding_dim: int = 64,
        gaussian: bool = False,
        pixel_range: tuple[float, float] = (-1.0, 1.0),
    ):
        super().__init__()
        check_sizes("PaperEncoder", (*widths, hidden_dim, embedding_dim), 4, pixel_range)
        check_halvings(image_size, len(widths))
        sides = [image_size // 2 ** (i + 1) for i in range(len(widths))]
        self.feature_shape = FeatureShape(widths[-2], sides[-2], sides[-2])
        self.embedding_dim = embedding_dim
        self.is_gaussian = gaussian
        self.pixel_range = pixel_range
        blocks = [
            nn.Sequential(
                Convolution(inputs, outputs, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            )
            for inputs, outputs in pairwise((3, *widths))
        ]
        self.local_trunk = nn.Sequential(*blocks[:-1])
        self.last = blocks[-1]
        self.head = Head(widths[-1] * sides[-1] ** 2, (hidden_dim,), embedding_dim, gaussian)
        self.to(memory_format=torch.channels_last)  # the faster layout for convolutions

    def forward(self, images: Float[Tensor, "n 3 height width"]) -> Features:
        """The features of `images`, pixel values in [0, 1]."""
        low, high = self.pixel_range
        local = self.local_trunk(images * (high - low) + low)
        conv = self.last(local).flatten(1)
        return self.head(local, {"conv": conv}, conv)


class PaperEncoder64(Encoder):
    """The encoder for 64x64 (Tiny ImageNet, STL-10): an AlexNet of 3x3 convolutions.

    Five times [convolution 3x3, batch norm, ReLU], the first two and the last followed by a max
    pool of 3x3 with stride 2; flattened; twice [linear, batch norm, ReLU]; linear. The feature map
    is what the third convolution gives, 384x15x15. Layers to probe: `conv` (the last convolution,
    pooled and flattened), `fc` (the second hidden layer), `y` (the code). 58,416,160 parameters,
    823 million multiply-adds an image.

    Source: Hjelm et al., 2019, appendix A.1, and their code (rdevon/DIM, configs/convnets.py,
    alex64x64). Layers before a batch norm have no bias; in the code those of convolutions have
    none either.

    Args:
        image_size: height and width of an image.
        widths: channels of the five convolutions.
        hidden_dim: units of both hidden layers.
        embedding_dim: d, the size of the code.
        gaussian: whether p(z|x) has a variance, by one more linear layer beside the code's.
        pixel_range: what the pixel values 0 and 1 are brought to.

    Raises:
        InputError: sizes that cannot be, or an image too small to be pooled three times.
    """

    def __init__(
        self,
        image_size: int,
        *,
        widths: tuple[int, int, int, int, int] = (96, 192, 384, 384, 192),
        hidden_dim: int = 4096,
        embedding_dim: int = 64,
        gaussian: bool = False,
        pixel_range: tuple[float, float] = (-1.0, 1.0),
    ):
        super().__init__()
        check_sizes("PaperEncoder64", (*widths, hidden_dim, embedding_dim), 7, pixel_range)
        local_side = _pooled(_pooled(image_size))
        side = _pooled(local_side)
        if side < 1:
            raise InputError(
                f"image size {image_size} is too small for PaperEncoder64, which pools three "
                "times; expected at least 15 pixels; set data.image_size higher or take "
                "PaperEncoder"
            )
        self.feature_shape = FeatureShape(widths[2], local_side, local_side)
        self.embedding_dim = embedding_dim
        self.is_gaussian = gaussian
        self.pixel_range = pixel_range
        pooled = (True, True, False, False, True)
        blocks = [
            _conv_block(inputs, outputs, pool)
            for (inputs, outputs), pool in zip(pairwise((3, *widths)), pooled, strict=True)
        ]
        self.local_trunk = nn.Sequential(*blocks[:3])
        self.rest = nn.Sequential(*blocks[3:])
        hidden_dims = (hidden_dim, hidden_dim)
        self.head = Head(widths[-1] * side**2, hidden_dims, embedding_dim, gaussian)
        self.to(memory_format=torch.channels_last)  # the faster layout for convolutions

    def forward(self, images: Float[Tensor, "n 3 height width"]) -> Features:
        """The features of `images`, pixel values in [0, 1]."""
        low, high = self.pixel_range
        local = self.local_trunk(images * (high - low) + low)
        conv = self.rest(local).flatten(1)
        return self.head(local, {"conv": conv}, conv)


def _conv_block(inputs: int, outputs: int, pool: bool) -> nn.Sequential:
    """3x3 convolution, batch norm, pooling if asked for, ReLU.

    ReLU never falls, so it commutes with the maximum: pooling first gives the same numbers.
    """
    layers = [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, *([nn.MaxPool2d(3, stride=2)] if pool else []), nn.ReLU())


def _pooled(side: int) -> int:
    return (side - 3) // 2 + 1
