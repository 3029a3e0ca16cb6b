"""The encoders of the article this project started from, for 32x32 and for 64x64 pictures."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dim_lightning.encoders.attention import SelfAttention
from dim_lightning.encoders.convolution import Convolution
from dim_lightning.encoders.encoder import Encoder, Features, FeatureShape
from dim_lightning.encoders.head import check_halvings, check_sizes
from dim_lightning.errors import InputError


class BlogEncoder(Encoder):
    """A Gaussian encoder p(z|x) = N(mu(x), diag sigma^2(x)) over a small convolutional trunk.

    Local trunk: for each width [conv 3x3, batch norm, LeakyReLU 0.2, max pool 2], which gives the
    feature map C. Global trunk: 2 x [conv 3x3, batch norm, LeakyReLU 0.2], global max pool, and a
    linear layer each for the mean and the log variance. Layers to probe: `conv` (C, flattened),
    `pool` (the pooled global trunk), `embedding` (the mean).

    Two things the article names as ways to go on, both off by default: self-attention between the
    local and the global trunk, so the code is computed with it while each location of C goes on
    seeing its own part of the image only; and local features of several scales.

    Source: Su Jianlin, "Mutual information in deep learning", 2018, code bojone/infomax: widths
    64-128-256 and pixels in [-1/2, 1/2] for CIFAR-10, widths 32-64-128-256 and pixels in [-1, 1]
    for Tiny ImageNet. Batch norm and initialisation are PyTorch's, not Keras's.

    Args:
        image_size: height and width of an image.
        widths: channels of the local trunk's blocks; each halves the height and the width.
        embedding_dim: d, the size of the code, and the width of the global trunk.
        pixel_range: what the pixel values 0 and 1 are brought to.
        attention_heads: heads of the self-attention before the global trunk; 0 for none.
        scales: how many of the local trunk's blocks before the last are given as further maps;
            1 gives the map that the last block starts from.

    Raises:
        InputError: sizes that cannot be, a feature map smaller than 2 x 2, heads that do not
            divide its channels, or more scales than there are blocks before the last.
    """

    def __init__(
        self,
        image_size: int,
        *,
        widths: Sequence[int] = (64, 128, 256),
        embedding_dim: int = 256,
        pixel_range: tuple[float, float] = (-0.5, 0.5),
        attention_heads: int = 0,
        scales: int = 0,
    ):
        super().__init__()
        check_sizes("BlogEncoder", (*widths, embedding_dim), 2, pixel_range)
        check_halvings(image_size, len(widths), least=2)
        _check_options(len(widths), attention_heads, scales)
        shapes = _map_shapes(image_size, widths)
        self.feature_shape = shapes[-1]
        self.scale_shapes = tuple(shapes[-1 - scales : -1])
        self.embedding_dim = embedding_dim
        self.pixel_range = pixel_range
        local_layers = []
        for inputs, outputs in pairwise((3, *widths)):
            local_layers += _conv_block(inputs, outputs, pool=True)
        self.local_trunk = nn.Sequential(*local_layers)
        self.global_trunk = nn.Sequential(
            *_conv_block(widths[-1], embedding_dim), *_conv_block(embedding_dim, embedding_dim)
        )
        self.mean = nn.Linear(embedding_dim, embedding_dim)
        self.log_variance = nn.Linear(embedding_dim, embedding_dim)
        # made last: the layers above start from the same draws with and without it
        self.attention = (
            SelfAttention(widths[-1], attention_heads) if attention_heads else nn.Identity()
        )
        self.to(memory_format=torch.channels_last)  # the faster layout for convolutions

    def forward(self, images: Float[Tensor, "n 3 height width"]) -> Features:
        """The features of `images`, pixel values in [0, 1]."""
        low, high = self.pixel_range
        *scales, feature_map = self._local_maps(images * (high - low) + low)
        found = self.global_trunk(self.attention(feature_map))
        # not amax, whose gradient looks the maximum up by its value: compiled in bfloat16, that
        # compares values of two precisions, finds none and gives NaN
        pooled = F.max_pool2d(found, found.shape[2:]).flatten(1)
        mean = self.mean(pooled)
        layers = {"conv": feature_map.flatten(1), "pool": pooled, "embedding": mean}
        return Features(feature_map, layers, mean, self.log_variance(pooled), tuple(scales))

    def _local_maps(self, pixels: Float[Tensor, "n 3 height width"]) -> list[Tensor]:
        """What the last blocks of the local trunk give: the further scales and C, in order."""
        maps = []
        x = pixels
        for layer in self.local_trunk:
            x = layer(x)
            if isinstance(layer, nn.LeakyReLU):  # the end of a block
                maps.append(x)
        return maps[-1 - len(self.scale_shapes) :]


def _conv_block(inputs: int, outputs: int, pool: bool = False) -> list[nn.Module]:
    """Convolution, batch norm, pooling if asked for, LeakyReLU.

    LeakyReLU rises everywhere, so it commutes with the maximum: pooling first gives the same
    numbers with a quarter of the work.
    """
    layers = [Convolution(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs)]
    return [*layers, *([nn.MaxPool2d(2)] if pool else []), nn.LeakyReLU(0.2)]


def _map_shapes(image_size: int, widths: Sequence[int]) -> list[FeatureShape]:
    """What each block of the local trunk gives: half the height and width of what it is given."""
    sides = [image_size // 2**halvings for halvings in range(1, len(widths) + 1)]
    return [FeatureShape(width, side, side) for width, side in zip(widths, sides, strict=True)]


def _check_options(num_blocks: int, attention_heads: int, scales: int) -> None:
    if attention_heads < 0:
        raise InputError(
            f"BlogEncoder got attention_heads {attention_heads}; expected 0 for no attention, or "
            "the number of heads; set model.encoder.init_args.attention_heads"
        )
    if not 0 <= scales < num_blocks:
        raise InputError(
            f"BlogEncoder got scales {scales} with {num_blocks} widths; expected 0 to "
            f"{num_blocks - 1}, the blocks before the last; set model.encoder.init_args.scales"
        )
