"""How often a classifier is right: top-1 and top-5 accuracy, and the mean over the classes."""

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from dim_lightning.errors import InputError
from dim_lightning.evaluation.labelled import check_classes, check_labelled, check_same_shape

MANY_CLASSES = 10  # of no more than these, five would say little
FIVE = 5
AT_ONCE = 4096  # images whose scores are looked at together

Accuracies = dict[str, float]  # name -> figure in [0, 1], see `accuracies`


def accuracies(
    scores: Float[Tensor, "n c"] | Iterable[Float[Tensor, "_ c"]], labels: Int64[Tensor, " n"]
) -> Accuracies:
    """What the scores of the classes are worth, in [0, 1], by name.

    - top1: the share of the images whose class comes first; every image counts the same (micro
      average).
    - top5: the share of those whose class is among the first five. Only of more than 10 classes.
    - mean_per_class: the mean over the classes of the share of each that top1 counts, so that every
      class counts the same (balanced accuracy, macro recall). A class of no image here has no part
      in it. Only where the classes have different numbers of images, else it is top1.

    The order of the classes, and what is no number, is that of `places`.

    Args:
        scores: of the images in their order; or some of them at a time, used one after the other.
        labels: classes 0 .. c - 1, on any device.

    Raises:
        InputError: some are unlabelled or of class c or more, or there is not one of each image.
    """
    check_labelled(labels)
    found: list[Tensor] = []
    done = num_classes = 0
    for block in scores.split(AT_ONCE) if isinstance(scores, Tensor) else scores:
        if not found:
            num_classes = block.shape[1]
            check_classes(labels, num_classes)
        part = labels[done : done + len(block)].to(block.device)
        if len(part) == len(block):
            found.append(places(block, part))
        done += len(block)
    if done != len(labels):
        raise InputError(
            f"there are scores of {done} images and {len(labels)} labels; expected as many of both"
        )
    place, classes = torch.cat(found).cpu().numpy(), labels.cpu().numpy()
    right = place == 0
    figures = {"top1": int(right.sum()) / len(classes)}
    if num_classes > MANY_CLASSES:
        figures["top5"] = int((place < FIVE).sum()) / len(classes)
    counts = np.bincount(classes)
    rights, present = np.bincount(classes[right], minlength=len(counts)), counts > 0
    if len(np.unique(counts[present])) > 1:
        figures["mean_per_class"] = float((rights[present] / counts[present]).mean())
    return figures


def places(scores: Float[Tensor, "n c"], labels: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
    """How many classes come before that of the image: 0 where argmax gives it.

    They are ordered by their scores, the largest first, of equal ones the lower class first,
    whichever of them is right. A score that is NaN never helps: as that of the image's class it
    puts it last, as that of another one before it. A class of score -inf, such as one that nobody
    votes for, is not predicted at all: if it is the image's, its place is c.

    Args:
        scores: of the classes.
        labels: classes of the images.
    """
    own = scores.gather(1, labels[:, None])
    lower = torch.arange(scores.shape[1], device=scores.device) < labels[:, None]
    before = ~(scores <= own) | ((scores == own) & lower)  # no comparison with NaN is true
    return before.sum(dim=1).masked_fill(own[:, 0] == -torch.inf, scores.shape[1])


def accuracy(predicted: Int64[Tensor, " n"], labels: Int64[Tensor, " n"]) -> float:
    """Share of equal entries, in [0, 1]: every image counts the same (micro average).

    Raises:
        InputError: some are unlabelled, or there is not one of each.
    """
    check_labelled(labels)
    check_same_shape(predicted=predicted, labels=labels)
    return (predicted == labels).sum().item() / len(labels)
