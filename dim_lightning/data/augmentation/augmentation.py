"""What every random change of images keeps to."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from dim_lightning.errors import InputError


def to_float(images: Tensor) -> Float[Tensor, "n 3 h w"]:
    """The images, uint8 [n, 3, h, w], as float32 in [0, 1], in the memory format they come in.

    Raises:
        InputError: they are no bytes.
    """
    if images.dtype != torch.uint8:
        raise InputError(
            f"the images are {str(images.dtype).removeprefix('torch.')}; expected uint8, values "
            "from 0 to 255; take floats in [0, 1] as they are"
        )
    return images.to(torch.float32).div_(255)


class Augmentation(ABC):
    """A random change of images that leaves what they show."""

    @abstractmethod
    def __call__(
        self, images: Float[Tensor, "n 3 h w"], generator: torch.Generator
    ) -> Float[Tensor, "n 3 new_h new_w"]:
        """The images changed, each by a draw of its own; values stay in [0, 1].

        Args:
            images: float in [0, 1], channels_last; not to be changed in place.
            generator: on the device of the images; every draw comes from it. It is the same on
                each of several processes: draw for the images of all and take the own rows, as
                `dim_lightning.processes.uniform` does.
        """

    def resized(self, size: int) -> "Augmentation":
        """The same change, with images of `size` x `size` pixels that come out.

        Raises:
            InputError: it leaves the size as it is.
        """
        raise InputError(
            f"data.view_sizes asks for views of {size} pixels, but {type(self).__name__} leaves "
            "the size as it is; set data.augmentation to CropColour, or data.view_sizes to []"
        )
