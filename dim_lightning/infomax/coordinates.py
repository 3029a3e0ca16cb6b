"""Coordinate tasks: where in the image does a local feature belong, given the code?"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from dim_lightning.encoders import FeatureShape
from dim_lightning.errors import InputError
from dim_lightning.infomax.precision import widened
from dim_lightning.processes import uniform


class Coordinates(nn.Module):
    """Cross-entropies, in nats, of predicting places in the feature map; to be minimised.

    Absolute: E[-log p(i, j | y, C_ij)] over all h * w locations. Chance, a uniform guess:
    log h + log w, 2.77 for a 4 x 4 map.
    Relative: E[-log p(i - i', j - j' | y, C_ij, C_i'j')], for every location i, j one other
    location i', j' drawn at random. A uniform guess over the 2h - 1 and 2w - 1 offsets costs
    log(2h - 1) + log(2w - 1), 3.89 for a 4 x 4 map; small offsets are more frequent, and the best
    guess without a look at the features costs the entropy of the offsets, 3.73.

    Minus a cross-entropy is, up to the entropy of the places, a lower bound of the information
    that the features have of them. Both terms train the encoder and the predictor alike.

    Source: Hjelm et al., 2019, section 4.3, and their code (rdevon/DIM, models/coordinates.py),
    which predicts row and column independently, by a softmax each. There only the absolute task
    is to be found; its hidden layer has no more units than there are rows and columns, with batch
    norm and a linear shortcut, its logits pass a layer norm, and the map has to be square. Appendix
    A.6 (from memory, not checked) has two hidden layers of 512 units with batch norm. Here: one
    hidden ReLU layer of `width` units, plain logits, any map.

    Args:
        feature_shape: shape of one image's feature map.
        code_dim: d, the size of the code.
        width: units of each task's hidden layer.
        absolute: whether to predict the row and the column of a location.
        relative: whether to predict the offset from one location to another.

    Raises:
        InputError: for no task, no units, or a feature map of a single location; in use, for a map
            of another size.
    """

    places: Int64[Tensor, "m 2"]

    def __init__(
        self,
        feature_shape: FeatureShape,
        code_dim: int,
        width: int = 512,
        absolute: bool = True,
        relative: bool = True,
    ):
        super().__init__()
        channels, height, map_width = feature_shape
        _check(height * map_width, width, absolute or relative)
        places = torch.cartesian_prod(torch.arange(height), torch.arange(map_width))
        self.register_buffer("places", places, persistent=False)
        self.size = (height, map_width)
        dims = [code_dim, channels]
        sizes, offsets = (height, map_width), (2 * height - 1, 2 * map_width - 1)
        self.absolute = _PlacePredictor(dims, width, sizes) if absolute else None
        self.relative = _PlacePredictor([*dims, channels], width, offsets) if relative else None

    def forward(
        self,
        feature_map: Float[Tensor, "n c h w"],
        code: Float[Tensor, "n d"],
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """`coordinates` and `relative_coordinates`, as far as they are wanted.

        Args:
            feature_map: the local features C.
            code: y, the code of each image.
            generator: of the other locations, on the device of the features.
        """
        self._check_size(feature_map)
        local = feature_map.flatten(2).transpose(1, 2)  # [n, m, c]
        terms = {}
        if self.absolute is not None:
            from_code, from_local = self.absolute.split(code, local)
            places = self.places.expand(len(local), -1, -1)
            hidden = from_code[:, None] + from_local
            terms["coordinates"] = self.absolute.cross_entropy(hidden, places)
        if self.relative is not None:
            from_code, from_local, from_other = self.relative.split(code, local, local)
            other = other_locations(len(local), len(self.places), generator)
            image = torch.arange(len(local), device=local.device)[:, None]
            hidden = from_code[:, None] + from_local + from_other[image, other]
            offsets = self.places - self.places[other]  # rows from 1 - h to h - 1, columns alike
            counted = offsets + self.places[-1]  # from 0
            terms["relative_coordinates"] = self.relative.cross_entropy(hidden, counted)
        return terms

    def _check_size(self, feature_map: Tensor) -> None:
        size = tuple(feature_map.shape[2:])
        if size != self.size:
            raise InputError(
                f"the coordinate task predicts places in a feature map of {self.size}, and one of "
                f"{size} came; expected views of data.image_size pixels; set data.view_sizes to [] "
                "and the size of data.augmentation to null, or model.coordinate_weight to 0"
            )


class _PlacePredictor(nn.Module):
    """Softmax over rows and softmax over columns, by a hidden ReLU layer over [s_1, ..., s_k].

    The first layer is linear in all sources, W [s_1, ..., s_k] = W_1 s_1 + ... + W_k s_k, so each
    is computed once, whatever it is paired with: nothing is concatenated.
    """

    def __init__(self, source_dims: Sequence[int], width: int, sizes: tuple[int, int]):
        super().__init__()
        self.source_dims = list(source_dims)
        self.sizes = list(sizes)
        self.first = nn.Linear(sum(source_dims), width)
        self.last = nn.Linear(width, sum(sizes))

    def split(self, *sources: Tensor) -> list[Tensor]:
        """What each source adds to the hidden layer; the bias comes with the first."""
        weights = self.first.weight.split(self.source_dims, dim=1)
        biases = [self.first.bias, *[None] * (len(sources) - 1)]
        return [F.linear(*parts) for parts in zip(sources, weights, biases, strict=True)]

    def cross_entropy(
        self, hidden: Float[Tensor, "n m width"], places: Int64[Tensor, "n m 2"]
    ) -> Float[Tensor, ""]:
        """That of the rows plus that of the columns, in nats, mean over images and locations."""
        logits = self.last(hidden.relu()).flatten(0, 1)
        rows, columns = widened(logits).split(self.sizes, dim=1)
        row, column = places.flatten(0, 1).unbind(1)
        return F.cross_entropy(rows, row) + F.cross_entropy(columns, column)


def other_locations(
    num_images: int, num_locations: int, generator: torch.Generator
) -> Int64[Tensor, "n m"]:
    """For each location of each image the index of another, each of the m - 1 equally likely."""
    draws = uniform(num_images, num_locations, generator=generator)
    steps = 1 + (draws * (num_locations - 1)).long()
    return (torch.arange(num_locations, device=generator.device) + steps) % num_locations


def _check(num_locations: int, width: int, any_task: bool) -> None:
    if not any_task:
        raise InputError(
            "Coordinates has neither its absolute nor its relative task; expected at least one; "
            "set absolute or relative to true, or leave the coordinate task out"
        )
    if width < 1:
        raise InputError(
            f"Coordinates has a hidden layer of width {width}; expected at least 1; set its width"
        )
    if num_locations < 2:
        raise InputError(
            "the feature map has a single location, so there is no place to predict; expected at "
            "least 2 locations; set data.image_size higher, give model.encoder fewer widths or "
            "leave the coordinate task out"
        )
