"""Which other images of the batch a code is contrasted with."""

import torch
from jaxtyping import Int64
from torch import Tensor

from dim_lightning.errors import InputError


def shuffled(
    num_images: int, num_negatives: int, generator: torch.Generator
) -> Int64[Tensor, "n k"]:
    """For each image the indices of k other images, [n, k]; no image is its own negative.

    The images are put into a random cycle, and each gets the k before it: all different, and each
    of the other n - 1 images equally likely to be one of them. Every image is a negative exactly k
    times. With k = 1 it is a cyclic derangement of the batch. A plain shuffle instead leaves one
    image on average in its place, a positive pair labelled as a negative. The indices are on the
    device of the generator.

    Source: Sattolo, "An algorithm to generate a random cyclic permutation", 1986.

    Raises:
        InputError: for fewer than two images, or for more negatives than there are other images.
    """
    check_num_images(num_images)
    check_num_negatives(num_negatives, num_images)
    device = generator.device
    order = torch.randperm(num_images, generator=generator, device=device)
    negatives = torch.empty(num_images, num_negatives, dtype=torch.int64, device=device)
    places = torch.arange(num_images, device=device)[:, None]
    before = torch.arange(1, num_negatives + 1, device=device)
    negatives[order] = order[(places - before) % num_images]
    return negatives


def check_num_images(num_images: int) -> None:
    """Refuses a joint batch in which there is no other image.

    Raises:
        InputError: it has fewer than two.
    """
    if num_images < 2:
        raise InputError(
            f"a batch of {num_images} image has no negatives; expected at least 2 images; "
            "set data.batch_size to 2 or more"
        )


def check_num_negatives(num_negatives: int, num_images: int) -> None:
    """Refuses numbers of negatives that a batch cannot give.

    Raises:
        InputError: it is below 1, or above the number of other images.
    """
    if not 1 <= num_negatives < num_images:
        raise InputError(
            f"model.num_negatives is {num_negatives}; expected 1 to {num_images - 1}, the other "
            f"images of a batch of {num_images}, or all"
        )
