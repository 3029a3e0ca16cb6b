"""From a code back to an image."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dim_lightning.errors import InputError


class Decoder(nn.Module):
    """The convolutions of the paper's encoder turned round: a code to an image in [0, 1].

    [Linear, batch norm, ReLU] to a map of widths[0] channels; for each further width [transposed
    convolution 4x4 stride 2, batch norm, ReLU], which doubles height and width; convolution 3x3 to
    the three colours, sigmoid.

    Source: the decoder of the DIM authors' code (rdevon/DIM, configs/deconvnets.py, basic32x32),
    512x4x4-256-128-64-3 for 32x32. There the last layer has no bias and a tanh, as their pixels lie
    in [-1, 1]. Other sizes of image are our choice: they start from a larger or smaller map.

    Args:
        code_dim: d, the size of the code.
        image_size: height and width of the image.
        widths: channels of the first map and of what each transposed convolution gives.

    Raises:
        InputError: an image size that doubling cannot reach, or a layer without channels.
    """

    def __init__(self, code_dim: int, image_size: int, widths: Sequence[int] = (512, 256, 128, 64)):
        super().__init__()
        factor = 2 ** (len(widths) - 1)
        if not widths or min(widths) < 1 or image_size % factor:
            raise InputError(
                f"Decoder got widths {list(widths)} for images of {image_size} pixels; expected "
                "widths of at least 1 and an image size that can be halved once for each width "
                "but the first; set model.decoder.init_args.widths or data.image_size"
            )
        side = image_size // factor
        units = widths[0] * side**2
        self.start = nn.Sequential(
            nn.Linear(code_dim, units, bias=False), nn.BatchNorm1d(units), nn.ReLU()
        )
        self.first_map = (widths[0], side, side)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            convolution = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
        self.rest = nn.Sequential(*layers, nn.Conv2d(widths[-1], 3, 3, padding=1), nn.Sigmoid())
        self.rest.to(memory_format=torch.channels_last)  # the faster layout for convolutions

    def forward(self, code: Float[Tensor, "n d"]) -> Float[Tensor, "n 3 height width"]:
        """One image a code."""
        first = self.start(code).unflatten(1, self.first_map)
        return self.rest(first.to(memory_format=torch.channels_last))
