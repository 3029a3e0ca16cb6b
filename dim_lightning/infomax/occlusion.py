"""Occlusion: the code is computed from an image of which a part is hidden."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dim_lightning.errors import InputError
from dim_lightning.processes import uniform


class Occlusion:
    """Hides one random rectangle of each image.

    The global code is computed from the occluded image, the local features from the whole one: so
    the code has to hold what the hidden part shares with the rest. The running statistics of batch
    norms come from both. Height and width of a rectangle are drawn independently, each uniform
    between `min_fraction` and `max_fraction` of the image's and rounded to whole pixels; its place
    is uniform among those where it lies inside the image.

    Source: Hjelm et al., 2019, section 4.3; the published code (rdevon/DIM) has no occlusion. Their
    appendix A.6 (from memory, not checked) asks only that of 10x10 pixels at least one block is
    hidden and one is left; our rectangles of 32x32 images hide less than that in 31 % of cases and
    leave less in 1 %, and `min_fraction` 0.32 hides a block always. Shares and grey are our choice:
    a rectangle hides 18 % of an image on average, and grey is the middle of the range, 0 once an
    encoder has centred the pixels.

    Args:
        min_fraction: smallest height and width of a rectangle, as a share of the image's.
        max_fraction: largest height and width, so the share of hidden pixels lies between
            min_fraction^2 and max_fraction^2.
        fill: the pixel value that hides, in [0, 1].

    Raises:
        InputError: for shares that cannot be, or a pixel value out of range.
    """

    def __init__(self, min_fraction: float = 0.25, max_fraction: float = 0.6, fill: float = 0.5):
        if not 0 < min_fraction <= max_fraction < 1 or not 0 <= fill <= 1:
            raise InputError(
                f"Occlusion was given min_fraction {min_fraction}, max_fraction {max_fraction} "
                f"and fill {fill}; expected 0 < min_fraction <= max_fraction < 1 and fill between "
                "0 and 1; change model.occlusion"
            )
        self.min_fraction = min_fraction
        self.max_fraction = max_fraction
        self.fill = fill

    def __call__(
        self, images: Float[Tensor, "n 3 height width"], generator: torch.Generator
    ) -> Float[Tensor, "n 3 height width"]:
        """The images, new, each with a rectangle of its own hidden.

        Args:
            images: float in [0, 1]; not changed in place.
            generator: on the device of the images; every draw comes from it.
        """
        n, _, height, width = images.shape
        draws = uniform(n, 4, generator=generator).T
        rows = self._interval(height, draws[0], draws[1])
        columns = self._interval(width, draws[2], draws[3])
        hidden = rows[:, None, :, None] & columns[:, None, None, :]
        return torch.where(hidden, self.fill, images)  # keeps channels_last, masked_fill does not

    def _interval(
        self, size: int, length_draw: Float[Tensor, " n"], place_draw: Float[Tensor, " n"]
    ) -> Bool[Tensor, "n size"]:
        """Which of `size` pixels lie in an interval of random length at a random place."""
        smallest = max(1, round(self.min_fraction * size))
        largest = max(1, round(self.max_fraction * size))
        length = smallest + (length_draw * (largest - smallest + 1)).floor()
        first = (place_draw * (size - length + 1)).floor()
        pixels = torch.arange(size, device=length.device)
        return (pixels >= first[:, None]) & (pixels < (first + length)[:, None])
