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


def checked_parts(*parts: Labelled, num_classes: int | None = None) -> list[Labelled]:
    """What classifiers are fitted to, chosen by and judged on, after a look; without its graph.

    Args:
        parts: features and classes of the images.
        num_classes: c; None where the labels say it.

    Raises:
        InputError: see `check_labelled_features`; or features are NaN or infinite.
    """
    for part in parts:
        check_labelled_features(part, num_classes)
        check_finite(part.features)
    return [Labelled(part.features.detach(), part.labels) for part in parts]


def check_labelled_features(part: Labelled, num_classes: int | None = None) -> None:
    """Looks at whether there is a class of each row of features.

    Args:
        part: features and classes of the images.
        num_classes: c; None where the labels say it.

    Raises:
        InputError: they are no such pair of tensors, there are no images, not as many labels as
            images, unlabelled ones, or classes beyond `num_classes`.
    """
    if not (isinstance(part, Labelled) and all(isinstance(each, Tensor) for each in part)):
        raise InputError(
            f"the features are given as {_kinds(part)}; expected Labelled(features, labels), two "
            "tensors; torch.from_numpy makes one of an array"
        )
    shape, count = list(part.features.shape), list(part.labels.shape)
    if len(shape) != 2 or count != shape[:1] or not shape[0]:
        raise InputError(
            f"features are {shape} and labels {count}; expected [n, d] and [n], of at least one "
            "image; flatten(1) makes features so"
        )
    check_labelled(part.labels)
    if num_classes is not None:
        check_classes(part.labels, num_classes)


def check_classes(labels: Int64[Tensor, " n"], num_classes: int) -> None:
    """Refuses classes that there are not.

    Raises:
        InputError: one is `num_classes` or more.
    """
    last = int(labels.max())
    if last >= num_classes:
        raise InputError(
            f"there are images of class {last}, and {num_classes} classes; expected classes from 0 "
            f"to {num_classes - 1}; set num_classes to at least {last + 1}"
        )


def check_same_shape(**tensors: Tensor) -> None:
    """Refuses tensors that would be broadcast against one another.

    Args:
        tensors: by their names, for the error.

    Raises:
        InputError: their shapes differ.
    """
    shapes = {name: list(each.shape) for name, each in tensors.items()}
    first, *others = shapes.values()
    if any(other != first for other in others):
        found = " and ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise InputError(f"the shapes are {found}; expected the same of both")


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
        InputError: there are none, some are unlabelled, -1, or their classes are no whole numbers.
    """
    if labels.dtype != torch.int64 or labels.ndim != 1 or not len(labels):
        raise InputError(
            f"labels are {str(labels.dtype).removeprefix('torch.')} {list(labels.shape)}; expected "
            "int64 [n], a class of each of at least one image; labels.long() makes whole numbers so"
        )
    count = int((labels < 0).sum())
    if count:
        raise InputError(
            f"{count} of {len(labels)} images are unlabelled (-1); expected a class of each: keep "
            "the others alone, known = labels >= 0; Labelled(features[known], labels[known])"
        )


def _kinds(part: object) -> str:
    """The type of what was given, or, of a pair, of both."""
    given = part if isinstance(part, Labelled) else [part]
    return " and ".join(type(each).__name__ for each in given)
