"""The augmentation of small pictures in supervised training: a shift and a flip."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from dim_lightning.data.augmentation.augmentation import Augmentation
from dim_lightning.errors import InputError
from dim_lightning.processes import joint_size, own_rows, uniform


class CropAndFlip(Augmentation):
    """Moves each image by up to `shift` pixels and mirrors some of them.

    The usual augmentation of small pictures: a random crop of the padded image, and a horizontal
    flip. Source: He et al., 2016, section 4.2 (4 pixels, one half).
    """

    def __init__(self, shift: int = 4, flip_prob: float = 0.5) -> None:
        """Set how far and how often.

        Args:
            shift: largest shift in pixels; 0 for none.
            flip_prob: share of the images that are mirrored left to right.
        """
        if shift < 0 or not 0 <= flip_prob <= 1:
            raise InputError(
                f"CropAndFlip was given shift {shift} and flip_prob {flip_prob}; expected "
                "shift >= 0 and flip_prob between 0 and 1; change data.augmentation"
            )
        self.shift = shift
        self.flip_prob = flip_prob

    def __call__(
        self, images: Float[Tensor, "n 3 h w"], generator: torch.Generator
    ) -> Float[Tensor, "n 3 h w"]:
        """The images, each shifted and mirrored by a draw of its own."""
        n, _, height, width = images.shape
        size = (2, joint_size(n), 1)
        joint = torch.randint(2 * self.shift + 1, size, generator=generator, device=images.device)
        shifts = own_rows(joint, dim=1)
        flipped = uniform(n, 1, generator=generator) < self.flip_prob
        rows = torch.arange(height, device=images.device) + shifts[0]
        columns = torch.arange(width, device=images.device).expand(n, width)
        columns = torch.where(flipped, width - 1 - columns, columns) + shifts[1]
        padded = F.pad(images, [self.shift] * 4).permute(0, 2, 3, 1)
        image = torch.arange(n, device=images.device)[:, None, None]
        return padded[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
