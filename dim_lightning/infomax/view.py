"""One view of the images of a batch, and what the encoder made of it."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from dim_lightning.encoders import Features


class View(NamedTuple):
    """n images as they were seen once: whole, augmented, cropped or occluded.

    Attributes:
        images: values in [0, 1], [n, 3, height, width].
        features: of these images.
        code: z, as the prior draws it, [n, d].
    """

    images: Float[Tensor, "n 3 height width"]
    features: Features
    code: Float[Tensor, "n d"]
