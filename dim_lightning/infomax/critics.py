"""Critics T: how well does a code belong to an image, or to one location of it?

Every critic takes the images, their feature maps, their codes and the negatives' indices, uses
what it is made for, and returns `Scores`. Row i of the scores belongs to code i alone; image j is
seen by its own joint scores and by the marginal ones that have it as a negative, by no other.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from dim_lightning.encoders import FeatureShape
from dim_lightning.errors import InputError
from dim_lightning.infomax.scores import Scores


class Critic(nn.Module, ABC):
    """The interface of all critics."""

    @abstractmethod
    def forward(
        self,
        images: Float[Tensor, "n 3 height width"],
        feature_map: Float[Tensor, "n c h w"],
        code: Float[Tensor, "n d"],
        negatives: Int64[Tensor, "n k"],
    ) -> Scores:
        """Scores of each code with its own image and with the images `negatives` names."""


def check_widths(name: str, widths: Sequence[int]) -> None:
    """Refuses layers that cannot be.

    Raises:
        InputError: no layer, or one without units.
    """
    if not widths or min(widths) < 1:
        raise InputError(
            f"a critic's {name} are {list(widths)}; expected at least one, each at least 1; set "
            f"init_args.{name} of the critic"
        )


class ConcatMLP(nn.Module):
    """T([z, s]) by a multilayer perceptron on the concatenation of a code z and a source s.

    The first layer is linear in both, W [z, s] = W_z z + W_s s, so each half is computed once for
    a code and once for a source, whatever the number of pairs: the same numbers as concatenating,
    without the copies and with a fraction of the arithmetic.

    Args:
        source_dim: size of s.
        code_dim: size of z.
        widths: units of the hidden ReLU layers.

    Raises:
        InputError: no hidden layer, or one without units.
    """

    def __init__(self, source_dim: int, code_dim: int, widths: Sequence[int]):
        super().__init__()
        check_widths("widths", widths)
        self.code_dim = code_dim
        self.first = nn.Linear(code_dim + source_dim, widths[0])
        layers: list[nn.Module] = []
        for inputs, outputs in zip(widths, (*widths[1:], 1), strict=True):
            layers += [nn.ReLU(), nn.Linear(inputs, outputs)]
        self.rest = nn.Sequential(*layers)

    def forward(
        self,
        source: Float[Tensor, "n m s"],
        code: Float[Tensor, "n d"],
        negatives: Int64[Tensor, "n k"],
    ) -> Scores:
        """Scores of each code with the m sources of its own image and of its negatives'."""
        code_weight, source_weight = self.first.weight.split(
            [self.code_dim, self.first.in_features - self.code_dim], dim=1
        )
        from_code = F.linear(code, code_weight, self.first.bias)
        from_source = F.linear(source, source_weight)
        own = torch.arange(len(code), device=negatives.device)[:, None]
        pairs = from_source[torch.cat([own, negatives], dim=1)]  # [n, 1 + k, m, width]
        scores = self.rest(pairs + from_code[:, None, None]).squeeze(-1)
        return Scores(scores[:, 0], scores[:, 1:])


class ConcatLocalCritic(Critic):
    """T_local(C_ij, z): 1x1 convolutions over [z, C_ij], z repeated at every location.

    Source: the blog's script, three hidden layers of 256; with widths (512, 512) Hjelm et al.,
    2019, table 7 ('concat-and-convolve').
    """

    def __init__(
        self, feature_shape: FeatureShape, code_dim: int, widths: Sequence[int] = (256, 256, 256)
    ):
        super().__init__()
        self.network = ConcatMLP(feature_shape.channels, code_dim, widths)

    def forward(
        self,
        images: Float[Tensor, "n 3 height width"],
        feature_map: Float[Tensor, "n c h w"],
        code: Float[Tensor, "n d"],
        negatives: Int64[Tensor, "n k"],
    ) -> Scores:
        """Scores over the m = h * w locations of the feature map."""
        return self.network(feature_map.flatten(2).transpose(1, 2), code, negatives)


class ImageGlobalCritic(Critic):
    """T_global(x, z), the pairs of the article's text: does z belong to the image x?

    The critic sees the pixels by a small trunk of its own: for each width [conv 4x4 stride 2,
    ReLU], then the mean over what locations are left.

    Source: Su Jianlin, 2018, the objective as written; the article leaves the network open.
    """

    def __init__(
        self,
        feature_shape: FeatureShape,
        code_dim: int,
        image_widths: Sequence[int] = (32, 64, 128),
        widths: Sequence[int] = (256, 256, 256),
    ):
        super().__init__()
        check_widths("image_widths", image_widths)
        layers: list[nn.Module] = []
        for inputs, outputs in zip((3, *image_widths[:-1]), image_widths, strict=True):
            layers += [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), nn.ReLU()]
        self.trunk = nn.Sequential(*layers).to(memory_format=torch.channels_last)
        self.network = ConcatMLP(image_widths[-1], code_dim, widths)

    def forward(
        self,
        images: Float[Tensor, "n 3 height width"],
        feature_map: Float[Tensor, "n c h w"],
        code: Float[Tensor, "n d"],
        negatives: Int64[Tensor, "n k"],
    ) -> Scores:
        """Scores with m = 1."""
        summary = self.trunk(2 * images - 1).mean(dim=(2, 3))
        return self.network(summary[:, None], code, negatives)


class CodeGlobalCritic(Critic):
    """T_global(z', z), the pairs of the article's script: [z, z] against [z, shuffled z].

    It never sees an image: its positive is the same vector twice. Kept to reproduce the script;
    `ImageGlobalCritic` is what the article's text says.

    Source: code bojone/infomax, 2018.
    """

    def __init__(
        self, feature_shape: FeatureShape, code_dim: int, widths: Sequence[int] = (256, 256, 256)
    ):
        super().__init__()
        self.network = ConcatMLP(code_dim, code_dim, widths)

    def forward(
        self,
        images: Float[Tensor, "n 3 height width"],
        feature_map: Float[Tensor, "n c h w"],
        code: Float[Tensor, "n d"],
        negatives: Int64[Tensor, "n k"],
    ) -> Scores:
        """Scores with m = 1."""
        return self.network(code[:, None], code, negatives)
