"""Frozen features with a class of each."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from dim_lightning.errors import InputError


class Labelled(NamedTuple):
    """Frozen features of the images of a split, and their classes 0 .. num_classes - 1."""

    features: Float[Tensor, "n d"]
    labels: Int64[Tensor, " n"]


def few_labelled(part: Labelled, share: float, seed: int) -> Labelled:
    """A random share of the images of each class, but at least one of each.

    A smaller share of the same seed is a part of a larger one.

    Args:
        part: all images.
        share: of them, between 0 and 1.
        seed: of the draw.
    """
    labels = part.labels.cpu().numpy()
    order = np.random.default_rng(seed).permutation(len(labels))
    of_classes = [order[labels[order] == each] for each in np.unique(labels)]
    kept = [rows[: max(1, round(share * len(rows)))] for rows in of_classes]
    rows = torch.from_numpy(np.sort(np.concatenate(kept))).to(part.labels.device)
    return Labelled(part.features[rows], part.labels[rows])


def check_parts(*parts: Labelled) -> None:
    """Looks at what classifiers are fitted to, chosen by and judged on.

    Raises:
        InputError: some images are unlabelled, -1, or have features that are NaN or infinite.
    """
    for part in parts:
        check_labelled(part.labels)
        check_finite(part.features)


def check_finite(features: Float[Tensor, "..."]) -> None:
    """Refuses features that are no numbers, of which a classifier would still say a class.

    Raises:
        InputError: some are NaN or infinite.
    """
    if not bool(features.isfinite().all()):
        raise InputError("features are NaN or infinite; expected finite numbers")


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
