"""Frozen features with a class of each."""

from typing import NamedTuple

from jaxtyping import Float, Int64
from torch import Tensor

from dim_lightning.errors import InputError


class Labelled(NamedTuple):
    """Frozen features of the images of a split, and their classes 0 .. num_classes - 1."""

    features: Float[Tensor, "n d"]
    labels: Int64[Tensor, " n"]


def check_labelled(labels: Int64[Tensor, " n"]) -> None:
    """Refuses images without a class, which would count as errors.

    Raises:
        InputError: some are unlabelled, -1.
    """
    count = int((labels < 0).sum())
    if count:
        raise InputError(
            f"{count} of {len(labels)} images are unlabelled (-1); expected a class of each: keep "
            "the others alone, known = labels >= 0; Labelled(features[known], labels[known])"
        )
