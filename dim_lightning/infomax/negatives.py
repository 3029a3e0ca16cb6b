"""Which other images of the batch a code is contrasted with."""

import torch
from jaxtyping import Int64
from torch import Tensor

from dim_lightning.errors import InputError


def derangement(
    num_images: int,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> Int64[Tensor, "n 1"]:
    """For each image the index of one other image, [n, 1]; no image is its own negative.

    A random cycle through all images: every image is a negative exactly once, and each of the
    other n - 1 images is equally likely to be the negative of a given one. A plain shuffle instead
    leaves one image on average in its place, a positive pair labelled as a negative.

    Source: Sattolo, "An algorithm to generate a random cyclic permutation", 1986.

    Raises:
        InputError: for fewer than two images.
    """
    if num_images < 2:
        raise InputError(
            f"a batch of {num_images} image has no negatives; expected at least 2 images; "
            "set data.batch_size to 2 or more"
        )
    order = torch.randperm(num_images, generator=generator, device=device)
    negatives = torch.empty_like(order)
    negatives[order] = order.roll(1)
    return negatives[:, None]
