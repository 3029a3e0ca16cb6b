"""A residual encoder, wider than the paper's plain ones."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dim_lightning.encoders.convolution import Convolution
from dim_lightning.encoders.encoder import Encoder, Features, FeatureShape
from dim_lightning.encoders.head import Head, check_sizes
from dim_lightning.errors import InputError


class ResidualEncoder(Encoder):
    """A residual network with a stem for small pictures, a hidden layer, the code.

    Stem [convolution 3x3, batch norm, ReLU]; stages of residual blocks, each stage but the first
    halving height and width; the mean over the locations, or all of them flattened; [linear, batch
    norm, ReLU]; linear. The defaults are ResNet-18 as it is used on CIFAR. Layers to probe: `conv`
    (the last stage, flattened), `pool` (its mean over the locations, if pooled), `fc` (the hidden
    layer), `y` (the code).

    Source: He et al., 2016, figure 5 and section 4.2. The residual net of the DIM authors' code
    (rdevon/DIM, configs/resnets.py, resnet19_32x32) is widths [64, 128, 256], blocks [2, 2, 2],
    bottleneck true, stem_stride 2, pool false and local_stage 2.

    Args:
        image_size: height and width of an image.
        widths: channels of the stages; four times as many leave a bottleneck.
        blocks: number of blocks of each stage.
        bottleneck: whether a block is 1x1, 3x3, 1x1 to four times the width; otherwise 3x3, 3x3.
        stem_stride: 1, or 2 to halve the image before the first stage.
        local_stage: the stage, counted from 1, that gives the feature map.
        pool: whether the hidden layer sees the mean over the locations, or all of them.
        hidden_dim: units of the hidden layer.
        embedding_dim: d, the size of the code.
        gaussian: whether p(z|x) has a variance, by one more linear layer beside the code's.
        pixel_range: what the pixel values 0 and 1 are brought to.

    Raises:
        InputError: sizes that cannot be, or a stage that there is not.
    """

    def __init__(
        self,
        image_size: int,
        *,
        widths: Sequence[int] = (64, 128, 256, 512),
        blocks: Sequence[int] = (2, 2, 2, 2),
        bottleneck: bool = False,
        stem_stride: int = 1,
        local_stage: int = 3,
        pool: bool = True,
        hidden_dim: int = 1024,
        embedding_dim: int = 64,
        gaussian: bool = False,
        pixel_range: tuple[float, float] = (-1.0, 1.0),
    ):
        super().__init__()
        check_sizes(
            "ResidualEncoder", (*widths, *blocks, hidden_dim, embedding_dim), 4, pixel_range
        )
        _check_stages(widths, blocks, stem_stride, local_stage)
        first = -(-image_size // stem_stride)
        sides = [-(-first // 2**stage) for stage in range(len(widths))]
        outputs = [4 * width if bottleneck else width for width in widths]
        local = local_stage - 1
        self.feature_shape = FeatureShape(outputs[local], sides[local], sides[local])
        self.embedding_dim = embedding_dim
        self.is_gaussian = gaussian
        self.pixel_range = pixel_range
        self.pool = pool
        self.stem = _normed(3, widths[0], 3, stem_stride)
        stages = []
        for i, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            inputs = widths[0] if i == 0 else outputs[i - 1]
            sizes = [inputs, *[outputs[i]] * (count - 1)]
            strides = [1 if i == 0 else 2, *[1] * (count - 1)]
            parts = zip(sizes, strides, strict=True)
            stages.append(
                nn.Sequential(*(ResidualBlock(n, width, s, bottleneck) for n, s in parts))
            )
        self.local_trunk = nn.Sequential(*stages[:local_stage])
        self.rest = nn.Sequential(*stages[local_stage:])
        flat = outputs[-1] * (1 if pool else sides[-1] ** 2)
        self.head = Head(flat, (hidden_dim,), embedding_dim, gaussian)
        self.to(memory_format=torch.channels_last)  # the faster layout for convolutions

    def forward(self, images: Float[Tensor, "n 3 height width"]) -> Features:
        """The features of `images`, pixel values in [0, 1]."""
        low, high = self.pixel_range
        local = self.local_trunk(self.stem(images * (high - low) + low).relu())
        last = self.rest(local)
        layers = {"conv": last.flatten(1)}
        if self.pool:
            layers["pool"] = last.mean(dim=(2, 3))
        return self.head(local, layers, layers["pool" if self.pool else "conv"])


class ResidualBlock(nn.Module):
    """ReLU(x + convolutions(x)); x by a 1x1 convolution where the shape changes.

    Args:
        inputs: channels of what it is given.
        width: channels of its convolutions.
        stride: 2 to halve height and width.
        bottleneck: whether its convolutions are 1x1, 3x3, 1x1 to four times the width; otherwise
            3x3, 3x3.
    """

    def __init__(self, inputs: int, width: int, stride: int = 1, bottleneck: bool = False):
        super().__init__()
        outputs = 4 * width if bottleneck else width
        if bottleneck:
            sizes = [(inputs, width, 1, 1), (width, width, 3, stride), (width, outputs, 1, 1)]
        else:
            sizes = [(inputs, width, 3, stride), (width, width, 3, 1)]
        self.convolutions = nn.ModuleList(_normed(*size) for size in sizes)
        changes = stride > 1 or inputs != outputs
        self.shortcut = _normed(inputs, outputs, 1, stride) if changes else nn.Identity()

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        """The block."""
        found = x
        for i, convolution in enumerate(self.convolutions):
            found = convolution(F.relu(found) if i > 0 else found)
        return F.relu(self.shortcut(x) + found)


def _normed(inputs: int, outputs: int, size: int, stride: int) -> nn.Sequential:
    convolution = Convolution(inputs, outputs, size, stride, padding=size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


def _check_stages(
    widths: Sequence[int], blocks: Sequence[int], stem_stride: int, local_stage: int
) -> None:
    if len(widths) != len(blocks) or stem_stride not in (1, 2):
        raise InputError(
            f"ResidualEncoder got widths {list(widths)}, blocks {list(blocks)} and stem_stride "
            f"{stem_stride}; expected a width and a number of blocks for each stage, and a stride "
            "of 1 or 2; set model.encoder.init_args"
        )
    if not 1 <= local_stage <= len(widths):
        raise InputError(
            f"ResidualEncoder got local_stage {local_stage} with {len(widths)} stages; expected 1 "
            f"to {len(widths)}; set model.encoder.init_args.local_stage"
        )
