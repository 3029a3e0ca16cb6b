"""A linear support vector machine on frozen features."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from dim_lightning.errors import InputError
from dim_lightning.evaluation.knn import accuracy
from dim_lightning.evaluation.labelled import Labelled, check_labelled
from dim_lightning.evaluation.softmax_regression import standardisation, wide

C_GRID = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)

_TOLERANCE = 1e-4  # of the largest gradient, of that of no machine at all
_HISTORY = 20  # steps from which L-BFGS knows the curvature
_ROWS = 4096  # of a block to classify
_PATIENCE = 2  # penalties in a row that are no better, after which weaker ones are not tried


class SVMResult(NamedTuple):
    """What `linear_svm` found.

    Attributes:
        top1: share of the test images classified rightly, in [0, 1].
        val_top1: the same of the validation images, at the chosen C.
        c: the chosen weight of the loss against the penalty.
        converged: whether the chosen machine was solved to the tolerance.
    """

    top1: float
    val_top1: float
    c: float
    converged: bool


def linear_svm(
    train: Labelled,
    val: Labelled,
    test: Labelled,
    grid: Sequence[float] = C_GRID,
    max_iter: int = 1000,
) -> SVMResult:
    """Accuracy of a linear SVM on features standardised by their training statistics.

    One machine a class against the others: min over (w, b) of 1/2 |(w, b)|^2 + C sum of squared
    hinge losses. The C with the best validation accuracy, the smaller of equal ones, is tested. The
    search goes from small C to large ones, which take longest, each from the machine before, and
    ends after two in a row that are no better than the best. The test images choose nothing.

    SciPy's L-BFGS solves all classes at once, in float64 (float32 on Apple's GPUs), without draws,
    so that there is no seed and no spread over seeds. It needs 8 bytes a feature and training image
    beside the features.

    Source: the objective of LIBLINEAR (Fan et al., 2008) and so of scikit-learn's LinearSVC; the
    linear SVM of Hjelm et al., 2019, table 4, who name neither loss, penalty nor scaling.

    Args:
        train: what is fitted.
        val: what chooses C.
        test: what is reported.
        grid: values of C to try.
        max_iter: steps of L-BFGS for one C.

    Raises:
        InputError: all training images are of one class, or some images are unlabelled.
    """
    for part in (train, val, test):
        check_labelled(part.labels)
    classes, places = train.labels.unique(return_inverse=True)
    if len(classes) < 2:
        raise InputError(
            "the training images are all of one class, which no SVM can be fitted to; expected at "
            "least two classes; set evaluation.svm to false"
        )
    assert grid, "the grid of C is empty"
    mean, scale = standardisation(train.features)
    standard = _standardised(train.features, mean, scale)
    machine = standard.new_zeros(standard.shape[1] + 1, len(classes))
    best_top1, best_c, best, best_converged, since = -1.0, 0.0, machine, False, 0
    for c in sorted(grid):
        machine, converged = _solved(standard, places, c, machine, max_iter)
        top1 = _top1(machine, classes, val, mean, scale)
        since += 1
        if top1 > best_top1:
            best_top1, best_c, best, best_converged, since = top1, c, machine, converged, 0
        if since == _PATIENCE:
            break
    return SVMResult(_top1(best, classes, test, mean, scale), best_top1, best_c, best_converged)


def _solved(
    features: Float[Tensor, "n d"],
    labels: Int64[Tensor, " n"],
    c: float,
    start: Float[Tensor, "d1 k"],
    max_iter: int,
) -> tuple[Float[Tensor, "d1 k"], bool]:
    """Weights of each class, the bias below, and whether the tolerance was reached.

    Args:
        features: standardised.
        labels: 0 to k - 1.
        c: weight of the loss.
        start: where the search begins.
        max_iter: most steps.
    """
    from scipy.optimize import minimize  # takes half a second to import

    sign = torch.full((len(labels), start.shape[1]), -1.0).to(features)
    sign.scatter_(1, labels[:, None], 1.0)

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        machine = torch.from_numpy(flat).view(start.shape).to(features)
        slack = (1 - sign * torch.addmm(machine[-1], features, machine[:-1])).clamp_min_(0)
        value = machine.square().sum() / 2 + c * slack.square().sum()
        pull = slack.mul_(sign)
        gradient = machine.clone()
        gradient[:-1].addmm_(features.mT, pull, alpha=-2 * c)
        gradient[-1].sub_(pull.sum(dim=0), alpha=2 * c)
        return value.item(), gradient.double().cpu().numpy().ravel()

    _, untrained = objective(np.zeros(start.numel()))
    options = {
        "maxiter": max_iter,
        "maxfun": 10 * max_iter,
        "maxcor": _HISTORY,
        "gtol": _TOLERANCE * np.abs(untrained).max(),
        "ftol": 0.0,
    }
    first = start.double().cpu().numpy().ravel()
    found = minimize(objective, first, jac=True, method="L-BFGS-B", options=options)
    return torch.from_numpy(found.x).view(start.shape).to(features), bool(found.success)


def _standardised(features: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    return features.to(wide(features.device), copy=True).sub_(mean).div_(scale)


def _top1(machine: Tensor, classes: Tensor, part: Labelled, mean: Tensor, scale: Tensor) -> float:
    blocks = part.features.split(_ROWS)
    scores = [_standardised(x, mean, scale) @ machine[:-1] + machine[-1] for x in blocks]
    return accuracy(classes[torch.cat(scores).argmax(dim=1)], part.labels)
