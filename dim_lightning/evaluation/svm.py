"""A linear support vector machine on frozen features."""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from dim_lightning.errors import InputError
from dim_lightning.evaluation.labelled import Labelled, check_labelled
from dim_lightning.evaluation.softmax_regression import standardisation

C_GRID = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)

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
    search goes from small C to large ones, which take longest, and ends after two in a row that are
    no better than the best. The test images choose nothing.

    scikit-learn's LinearSVC solves the primal problem by a trust-region Newton method: without
    draws, so that there is no seed and no spread over seeds. It works on one core, in float64, and
    needs about 24 bytes a feature and image.

    Source: Fan et al., 2008, LIBLINEAR; the linear SVM of Hjelm et al., 2019, table 4, who name
    neither loss, penalty nor scaling.

    Args:
        train: what is fitted.
        val: what chooses C.
        test: what is reported.
        grid: values of C to try.
        max_iter: Newton steps of one class.

    Raises:
        InputError: all training images are of one class, or some images are unlabelled.
    """
    for part in (train, val, test):
        check_labelled(part.labels)
    if len(train.labels.unique()) < 2:
        raise InputError(
            "the training images are all of one class, which no SVM can be fitted to; expected at "
            "least two classes; set evaluation.svm to false"
        )
    assert grid, "the grid of C is empty"
    mean, scale = standardisation(train.features)
    arrays = [_array((part.features - mean) / scale) for part in (train, val, test)]
    truth = [part.labels.cpu().numpy() for part in (train, val, test)]
    best_top1, best_c, best, since = -1.0, 0.0, None, 0
    for c in sorted(grid):
        machine = _fitted(arrays[0], truth[0], c, max_iter)
        top1 = float((machine.predict(arrays[1]) == truth[1]).mean())
        since += 1
        if top1 > best_top1:
            best_top1, best_c, best, since = top1, c, machine, 0
        if since == _PATIENCE:
            break
    assert best is not None
    top1 = float((best.predict(arrays[2]) == truth[2]).mean())
    return SVMResult(top1, best_top1, best_c, bool(np.max(best.n_iter_) < max_iter))


def _fitted(features: np.ndarray, labels: np.ndarray, c: float, max_iter: int) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC  # takes a second to import

    machine = LinearSVC(C=c, dual=False, max_iter=max_iter)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the result says so
        return machine.fit(features, labels)


def _array(features: Tensor) -> np.ndarray:
    return features.cpu().double().numpy()  # Apple's GPUs have no float64
