"""A linear support vector machine on frozen features."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from dim_lightning.errors import InputError
from dim_lightning.evaluation.classification import AT_ONCE, Accuracies, accuracies
from dim_lightning.evaluation.conditioning import (
    LARGEST_CURVATURE,
    check_grid,
    cholesky_factor,
    standardisation,
    wide,
)
from dim_lightning.evaluation.labelled import Labelled, checked_parts
from dim_lightning.evaluation.probes import FEW_VALUES

C_GRID = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)

_TOLERANCE = 1e-5  # of the objective: by how much less the smallest one may be, at most
_HISTORY = 20  # steps from which L-BFGS knows the curvature
_PATIENCE = 2  # penalties worse than the best, after which weaker ones are not tried


class SVMResult(NamedTuple):
    """What `linear_svm` found.

    Attributes:
        test: accuracies of the test images, in [0, 1].
        val_top1: share of the validation images classified rightly, at the chosen C.
        c: the chosen weight of the loss against the penalty.
        converged: whether the chosen machine was solved to the tolerance.
    """

    test: Accuracies
    val_top1: float
    c: float
    converged: bool

    @property
    def top1(self) -> float:
        """Share of the test images classified rightly."""
        return self.test["top1"]


def linear_svm(
    train: Labelled,
    val: Labelled,
    test: Labelled,
    *,
    grid: Sequence[float] = C_GRID,
    max_iter: int = 1000,
) -> SVMResult:
    """Accuracy of a linear SVM on features standardised by their training statistics.

    One machine a class against the others: min over (w, b) of 1/2 |(w, b)|^2 + C sum of squared
    hinge losses. The C with the best validation accuracy, the smaller of equal ones, is tested. The
    search goes from small C to large ones, which take longest, each from the machine before, and
    with more than four million values (images x features) ends after two worse than the best. The
    test images choose nothing.

    SciPy's L-BFGS solves all classes at once, in float64 (float32 on Apple's GPUs), without draws,
    so that there is no seed and no spread over seeds. It sees the weights through the Cholesky
    factor of what the Hessian would be if no image had a loss of 0 (of up to 8,192 features), where
    tens of steps are enough instead of hundreds. It goes on until the dual problem, whose objective
    lies half the squared gradient below, shows that less than 1e-5 of the objective is left to
    gain. It needs 8 bytes a feature and training image beside the features, and 24 a pair of (up to
    8,192) features; half of that in float32.

    Source: the objective of LIBLINEAR (Fan et al., 2008) and so of scikit-learn's LinearSVC; the
    linear SVM of Hjelm et al., 2019, table 4, who name neither loss, penalty nor scaling.

    Args:
        train: what is fitted.
        val: what chooses C.
        test: what is reported.
        grid: values of C to try.
        max_iter: steps of L-BFGS for one C.

    Raises:
        InputError: all training images are of one class, or features or labels are not what
            `checked_parts` asks for, or there is no C to try, or one that is not above 0.
    """
    check_grid("grid", grid)
    train, val, test = checked_parts(train, val, test)
    classes, places = train.labels.unique(return_inverse=True)
    if len(classes) < 2:
        raise InputError(
            "the training images are all of one class, which no SVM can be fitted to; expected at "
            "least two classes; set evaluation.svm to false"
        )
    machines = _Machines(train.features, places, len(classes))
    found = machines.start
    best_top1, best_c, best, best_converged, since = -1.0, 0.0, found, False, 0
    for c in sorted(grid):
        found, converged = machines.solved(c, found, max_iter)
        top1 = machines.accuracies(found, classes, val)["top1"]
        since += top1 < best_top1  # of few images many are equally good
        if top1 > best_top1:
            best_top1, best_c, best, best_converged, since = top1, c, found, converged, 0
        if since == _PATIENCE and train.features.numel() > FEW_VALUES:
            break
    of_test = machines.accuracies(best, classes, test)
    return SVMResult(of_test, best_top1, best_c, best_converged)


class _Machines:
    """A machine a class, against the others, on standardised features.

    Attributes:
        start: no machine at all, [k, d + 1]: the weights of each class and its bias.

    Args:
        features: of the training images, [n, d]; only read.
        labels: 0 to k - 1.
        num_classes: k.
    """

    def __init__(
        self, features: Float[Tensor, "n d"], labels: Int64[Tensor, " n"], num_classes: int
    ):
        self.mean, self.scale = standardisation(features)
        self.features = self._standardised(features)
        count, dim = features.shape
        self.sign = self.features.new_full((count, num_classes), -1.0)
        self.sign.scatter_(1, labels[:, None], 1.0)
        self.start = self.features.new_zeros(num_classes, dim + 1)
        self.moment = None
        if dim <= LARGEST_CURVATURE:  # of features and bias, with the features' mean 0
            of_bias = self.features.new_tensor(float(count))
            self.moment = torch.block_diag(self.features.mT @ self.features, of_bias)

    def solved(
        self, c: float, start: Float[Tensor, "k d1"], max_iter: int
    ) -> tuple[Float[Tensor, "k d1"], bool]:
        """The machines, and whether the tolerance was reached.

        Args:
            c: weight of the loss.
            start: where the search begins.
            max_iter: most steps.
        """
        from scipy.optimize import minimize  # takes half a second to import

        factor = None if self.moment is None else cholesky_factor(2 * c * self.moment, 1.0)
        solved = False  # where the objective was last taken, which is where each step ends

        def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
            nonlocal solved
            seen = torch.from_numpy(flat).view(start.shape).to(self.features)
            value, gradient = self._objective(_times_inverse(seen, factor), c)
            solved = gradient.square().sum().item() / 2 <= _TOLERANCE * value
            return value, _flat(_times_inverse(gradient, factor, transposed=True))

        def after_step(_: np.ndarray) -> None:
            if solved:
                raise StopIteration

        options = {
            "maxiter": max_iter,
            "maxfun": 10 * max_iter,
            "maxcor": _HISTORY,
            "gtol": 0.0,
            "ftol": 0.0,
        }
        first = _flat(start if factor is None else start @ factor)
        found = minimize(
            objective, first, jac=True, method="L-BFGS-B", callback=after_step, options=options
        )
        objective(found.x)
        seen = torch.from_numpy(found.x).view(start.shape).to(self.features)
        return _times_inverse(seen, factor), solved

    def accuracies(
        self, machine: Float[Tensor, "k d1"], classes: Int64[Tensor, " k"], part: Labelled
    ) -> Accuracies:
        """Those of the images, in [0, 1]; a class without a machine is not predicted."""
        num_classes = int(max(classes.max(), part.labels.max())) + 1

        def scores(features: Tensor) -> Tensor:
            x = self._standardised(features)
            of_all = x.new_full((len(x), num_classes), -torch.inf)
            of_all[:, classes] = F.linear(x, machine[:, :-1], machine[:, -1])
            return of_all

        return accuracies(map(scores, part.features.split(AT_ONCE)), part.labels)

    def _objective(
        self, machine: Float[Tensor, "k d1"], c: float
    ) -> tuple[float, Float[Tensor, "k d1"]]:
        """Of all classes together, and its gradient."""
        slack = 1 - self.sign * F.linear(self.features, machine[:, :-1], machine[:, -1])
        slack.clamp_min_(0)
        value = machine.square().sum() / 2 + c * slack.square().sum()
        pull = slack.mul_(self.sign).mT
        towards = torch.cat([pull @ self.features, pull.sum(dim=1, keepdim=True)], dim=1)
        return value.item(), machine - 2 * c * towards

    def _standardised(self, features: Tensor) -> Tensor:
        copy = features.to(wide(features.device), copy=True)
        return copy.sub_(self.mean).div_(self.scale)


def _times_inverse(values: Tensor, factor: Tensor | None, transposed: bool = False) -> Tensor:
    """`values` times the inverse of a lower triangular factor, or of its transpose."""
    if factor is None:
        return values
    matrix = factor.mT if transposed else factor
    return torch.linalg.solve_triangular(matrix, values, upper=transposed, left=False)


def _flat(values: Tensor) -> np.ndarray:
    return values.cpu().double().numpy().ravel()
