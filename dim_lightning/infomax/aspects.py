"""Aspects of an image that a code is paired with: its locations, its feature map, its pixels."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dim_lightning.encoders import FeatureShape
from dim_lightning.errors import InputError
from dim_lightning.infomax.critics.critic import check_widths
from dim_lightning.infomax.view import View
from dim_lightning.processes import uniform


class Aspect(nn.Module, ABC):
    """What of an image a critic gets to see.

    Attributes:
        dim: s, the size of a source.
    """

    dim: int

    @abstractmethod
    def forward(self, view: View, generator: torch.Generator) -> Float[Tensor, "n m s"]:
        """M sources of each image.

        The generator is equal on every process, see `uniform` of `dim_lightning.processes`.
        """


def made_aspect(
    make: Callable[[FeatureShape, int], Aspect], feature_shape: FeatureShape, code_dim: int
) -> Aspect:
    """What `make` gives for the encoder's sizes, if it tells the size of its sources.

    Raises:
        InputError: it does not.
    """
    aspect = make(feature_shape, code_dim)
    if not hasattr(aspect, "dim"):
        raise InputError(
            f"{type(aspect).__name__} has no dim; expected the size of its sources; set self.dim "
            "in its constructor"
        )
    return aspect


class Locations(Aspect):
    """The local features C_ij: the pairs of the local term.

    Args:
        feature_shape: of the map.
        scale: which map: 0 the encoder's feature map, 1 and on its further `scales`.
        num_locations: how many of them, drawn anew for each image and step; all if None. The
            mean of scores is unbiased, `info_nce`'s set and `donsker_varadhan`'s shrink with it,
            and `n_way_nce` contrasts with other places of the other images.
            Source: the sub-sampling of the authors' code, to save the critic's cost.

    Raises:
        InputError: more locations than there are, or none.
    """

    def __init__(
        self, feature_shape: FeatureShape, scale: int = 0, num_locations: int | None = None
    ):
        super().__init__()
        available = feature_shape.height * feature_shape.width
        if num_locations is not None and not 1 <= num_locations <= available:
            raise InputError(
                f"model.num_locations is {num_locations}; expected 1 to {available}, the locations "
                "of the encoder's feature map, or null for all"
            )
        self.dim = feature_shape.channels
        self.scale = scale
        self.num_locations = num_locations

    def forward(self, view: View, generator: torch.Generator) -> Float[Tensor, "n m s"]:
        """The features at the h * w locations, or at those drawn."""
        maps = (view.features.feature_map, *view.features.scales)
        sources = maps[self.scale].flatten(2).transpose(1, 2)
        n, m, _ = sources.shape
        if self.num_locations is None or self.num_locations == m:
            return sources
        order = uniform(n, m, generator=generator).argsort(dim=1)
        rows = torch.arange(n, device=sources.device)[:, None]
        return sources[rows, order[:, : self.num_locations]]


class WholeMap(Aspect):
    """The feature map, flattened: the pairs of the paper's global term.

    Source: Hjelm et al., 2019, appendix A.2, table 5.

    Raises:
        InputError: in use, the map is of another size.
    """

    def __init__(self, feature_shape: FeatureShape, code_dim: int):
        super().__init__()
        self.dim = feature_shape.channels * feature_shape.height * feature_shape.width

    def forward(self, view: View, generator: torch.Generator) -> Float[Tensor, "n 1 s"]:
        """One source, c * h * w values."""
        values = view.features.feature_map.flatten(1)[:, None]
        if values.shape[2] != self.dim:
            raise InputError(
                f"WholeMap takes feature maps of {self.dim} values, and one of {values.shape[2]} "
                "came; expected views of data.image_size pixels; set data.view_sizes to [] and the "
                "size of data.augmentation to null, or take another model.global_aspect"
            )
        return values


class WholeImage(Aspect):
    """The pixels x, by a small trunk of the critic's own: the pairs of the article's text.

    For each width [conv 4x4 stride 2, ReLU], then the mean over what locations are left.

    Source: Su Jianlin, 2018, the objective as written; the article leaves the network open.

    Args:
        feature_shape: not used.
        code_dim: not used.
        widths: channels of the trunk.

    Raises:
        InputError: no layer, or one without channels.
    """

    def __init__(
        self, feature_shape: FeatureShape, code_dim: int, widths: Sequence[int] = (32, 64, 128)
    ):
        super().__init__()
        check_widths("widths", widths)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((3, *widths)):
            layers += [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), nn.ReLU()]
        self.trunk = nn.Sequential(*layers).to(memory_format=torch.channels_last)
        self.dim = widths[-1]

    def forward(self, view: View, generator: torch.Generator) -> Float[Tensor, "n 1 s"]:
        """One source, the trunk's summary of the pixels."""
        return self.trunk(2 * view.images - 1).mean(dim=(2, 3))[:, None]


class ImageCode(Aspect):
    """The code z' of the image itself: the pairs of the article's script, and global to global.

    Within one view the positive is the same vector twice, [z, z] against [z, shuffled z], and the
    critic never sees an image: kept to reproduce the script. Between two views it is the
    information that their codes share.

    Source: code bojone/infomax, 2018.
    """

    def __init__(self, feature_shape: FeatureShape, code_dim: int):
        super().__init__()
        self.dim = code_dim

    def forward(self, view: View, generator: torch.Generator) -> Float[Tensor, "n 1 s"]:
        """One source, the code."""
        return view.code[:, None]
