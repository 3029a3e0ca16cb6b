"""Softmax regression on standardised features, solved by Newton's method.

L-BFGS, which the support vector machine has, took two to three times as long.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from dim_lightning.evaluation.conditioning import (
    LARGEST_CURVATURE,
    cholesky_factor,
    standardisation,
    wide,
)
from dim_lightning.evaluation.labelled import Labelled
from dim_lightning.processor import multiplies_bfloat16

_VALUES_AT_ONCE = 2**22  # of a block of features: 16 MiB, read once for both products
_CLASS_MULTIPLE = 16  # matrix products run up to four times faster than with, say, 10 columns
_MOST_PRODUCTS = 300  # with the Hessian, for one Newton step
_LEFT = 0.01  # of the squared gradient, by one Newton step; less is lost to the curvature's change
_SHORTEST_STEP = 2.0**-10


class SoftmaxRegression(NamedTuple):
    """A linear classifier on features as they come: softmax((x - mean) @ weight + bias).

    Attributes:
        mean: of the features it was fitted on, [d].
        weight: [d, c], divided by the standard deviations of these features.
        bias: [c].
        converged: whether the solver reached its tolerance.
    """

    mean: Float[Tensor, " d"]
    weight: Float[Tensor, "d c"]
    bias: Float[Tensor, " c"]
    converged: bool

    def logits(self, features: Float[Tensor, "n d"]) -> Float[Tensor, "n c"]:
        """Log-probabilities of the classes, up to a constant of each row."""
        rows = max(1, _VALUES_AT_ONCE // features.shape[1])
        blocks = features.float().split(rows)
        return torch.cat([torch.addmm(self.bias, x - self.mean, self.weight) for x in blocks])

    def predict(self, features: Float[Tensor, "n d"]) -> Int64[Tensor, " n"]:
        """The most likely class of each row."""
        return self.logits(features).argmax(dim=1)


class _Point(NamedTuple):
    """A candidate solution [d + 1, columns], its objective in nats, gradient and probabilities."""

    solution: Tensor
    objective: float
    gradient: Tensor
    probability: Tensor


class SoftmaxSolver:
    """Solves min over (W, b) of mean cross-entropy + l2 / 2 |W|^2 by Newton's method.

    The objective is that of scikit-learn's LogisticRegression with C = 1 / (n l2), on standardised
    features; the bias is free. Each Newton step comes from conjugate gradients, which need products
    with the Hessian and nothing else. They see the weights through the Cholesky factor of
    S / c + l2, with S the second moment of the features, which bounds the Hessian in shape
    (Boehning, 1992, "Multinomial logistic regression algorithm").

    Objective and gradient are float32 of the features as they are, so the solution is as well. The
    products with the Hessian only choose the way there: they are done in bfloat16 where the
    processor multiplies it faster, on a rounded copy of the features with 2 bytes each.

    Source: truncated Newton's method, Nocedal and Wright, 2006, "Numerical optimization", 7.1.

    Args:
        train: features and labels; both are only read.
        num_classes: c.
        tolerance: nats above the smallest objective, by the estimate of Newton's method, at which
            the problem counts as solved. At 1e-7 accuracies are those of 1e-9 to about one image
            in ten thousand.
        product_dtype: of the products with the Hessian; by default what suits the processor.
    """

    def __init__(
        self,
        train: Labelled,
        num_classes: int,
        tolerance: float = 1e-7,
        product_dtype: torch.dtype | None = None,
    ):
        self.features, self.labels = train.features.float(), train.labels
        self.num_classes = num_classes
        self.tolerance = tolerance
        self.mean, self.scale = standardisation(self.features)
        dim = self.features.shape[1]
        self.curvature = self._second_moment() if dim <= LARGEST_CURVATURE else None
        self.product_dtype = product_dtype or _product_dtype(self.features)
        self.rounded = self._rounded() if self.product_dtype != torch.float32 else None
        columns = num_classes + -num_classes % _CLASS_MULTIPLE
        # weights of the standardised features, the bias below; columns beyond c stay 0
        self.solution = self.features.new_zeros(dim + 1, columns)

    @torch.no_grad()
    def fit(
        self,
        l2: float,
        max_products: int = 5000,
        tolerance: float | None = None,
        gives_up: Callable[[SoftmaxRegression], bool] = lambda _: False,
    ) -> SoftmaxRegression:
        """The solution for one penalty, sought from `solution`, which it replaces.

        Args:
            l2: the penalty.
            max_products: most products with the Hessian, which take nearly all of the time; with
                fewer than it needs, the regression says that it has not converged.
            tolerance: another one than the solver's.
            gives_up: asked after each step on the way whether the rest can be left.
        """
        tolerance = self.tolerance if tolerance is None else tolerance
        factor = self._factor(l2)
        point = self._evaluate(self.solution, l2)
        converged, left = False, max_products
        while left > 0:
            step, promised, whole, used = self._newton_step(point, l2, factor, left, tolerance)
            left -= used
            # Where the step begins: the curvature there says nothing of that where it ends, which
            # is far smaller where all images come to be classified.
            converged = whole and promised <= tolerance
            before, point = point, self._descend(point, step, promised, l2)
            if converged or point is before or gives_up(self._regression(point, False)):
                break
        self.solution = point.solution
        return self._regression(point, converged)

    def _regression(self, point: _Point, converged: bool) -> SoftmaxRegression:
        scaled = point.solution[:-1, : self.num_classes] / self.scale[:, None]
        bias = point.solution[-1, : self.num_classes]
        return SoftmaxRegression(self.mean, scaled, bias.clone(), converged)

    @property
    def _rows(self) -> int:
        """Of a block of features."""
        return max(1, _VALUES_AT_ONCE // self.features.shape[1])

    def _centred(self) -> Iterator[Tensor]:
        """The features less their mean, block by block."""
        return (block - self.mean for block in self.features.split(self._rows))

    def _rounded(self) -> Tensor:
        """A copy of the centred features in the precision of the products with the Hessian."""
        copy = torch.empty_like(self.features, dtype=self.product_dtype)
        for rounded, centred in zip(copy.split(self._rows), self._centred(), strict=True):
            rounded.copy_(centred)
        return copy

    def _second_moment(self) -> Tensor:
        """Second moment of the standardised features, from enough of the images to be definite."""
        count, dim = self.features.shape
        step = max(1, count // max(2 * dim, 4096))
        sample = self.features[::step] - self.mean
        sample /= self.scale
        return sample.mT @ sample / len(sample)

    def _factor(self, l2: float) -> Tensor:
        """Lower triangular L with L L' = second moment / c + l2, or its diagonal."""
        if self.curvature is None:
            return self.mean.new_tensor(1 / self.num_classes + l2).sqrt()
        return cholesky_factor(self.curvature / self.num_classes, l2 + 1e-6)

    def _preconditioned(self, gradient: Tensor, factor: Tensor) -> Tensor:
        """The inverse of the Hessian's bound times `gradient`: roughly a Newton step backwards."""
        if factor.dim() == 0:
            weight = gradient[:-1] / factor.square()
        else:
            weight = torch.linalg.solve_triangular(factor, gradient[:-1], upper=False)
            weight = torch.linalg.solve_triangular(factor.mT, weight, upper=True)
        return torch.cat([weight, gradient[-1:] * self.num_classes])

    def _newton_step(
        self, point: _Point, l2: float, factor: Tensor, most: int, tolerance: float
    ) -> tuple[Tensor, float, bool, int]:
        """The step, the nats it promises, whether it is a whole one, products used.

        Conjugate gradients go on until they leave a hundredth of the promise, which is what the
        changing curvature leaves as well, or half the tolerance.
        """
        step, residual = torch.zeros_like(point.gradient), -point.gradient
        direction = toward = self._preconditioned(residual, factor)
        start = left = _dot(residual, toward)
        promised, whole = 0.0, False
        used = 0
        while used < min(most, _MOST_PRODUCTS):
            used += 1
            bent = self._hessian_times(direction, point.probability, l2)
            curvature = _dot(direction, bent)
            if curvature <= 0:  # nothing left but rounding
                whole = True
                break
            length = left / curvature
            step.add_(direction, alpha=length)
            residual.sub_(bent, alpha=length)
            promised += length * left / 2
            toward = self._preconditioned(residual, factor)
            before, left = left, _dot(residual, toward)
            if left <= start * max(_LEFT, min(0.25, tolerance / (2 * promised))):
                whole = True
                break
            direction = toward + left / before * direction
        return step, promised, whole, used

    def _descend(self, point: _Point, step: Tensor, promised: float, l2: float) -> _Point:
        """Where the step leads, halved until the objective falls; `point` if it never does."""
        size = 1.0
        rounding = 1e-7 * abs(point.objective)
        while size >= _SHORTEST_STEP:
            reached = self._evaluate(point.solution + size * step, l2)
            if reached.objective <= point.objective - 1e-4 * size * promised + rounding:
                return reached
            size /= 2
        return point

    def _hessian_times(self, direction: Tensor, probability: Tensor, l2: float) -> Tensor:
        """The Hessian of the objective times `direction`."""
        weight = (direction[:-1] / self.scale[:, None]).to(self.product_dtype)
        bias = direction[-1].to(self.product_dtype)
        blocks = self._centred() if self.rounded is None else self.rounded.split(self._rows)
        product = torch.zeros_like(direction)
        for x, p in zip(blocks, probability.split(self._rows), strict=True):
            change = torch.addmm(bias, x, weight).float()  # of the logits
            change = p * (change - (p * change).sum(dim=1, keepdim=True))
            product[:-1] += x.mT @ change.to(self.product_dtype)
            product[-1] += change.sum(dim=0)
        product /= len(self.features)
        product[:-1] /= self.scale[:, None]
        product[:-1].add_(direction[:-1], alpha=l2)
        return self._between_classes(product)

    def _between_classes(self, values: Tensor) -> Tensor:
        """`values` less what all classes share: as it changes no probability, it is rounding."""
        classes = values[:, : self.num_classes]
        classes -= classes.mean(dim=1, keepdim=True)
        return values

    def _evaluate(self, solution: Tensor, l2: float) -> _Point:
        """Objective, gradient and probabilities at `solution`."""
        scaled = solution[:-1] / self.scale[:, None]
        intercept = solution[-1].clone()
        intercept[self.num_classes :] = -1e30  # probability 0
        loss = 0.0  # in double: the line search compares losses that differ by less than 1e-7
        gradient, probabilities = torch.zeros_like(solution), []
        for x, y in zip(self._centred(), self.labels.split(self._rows), strict=True):
            log_prob = torch.addmm(intercept, x, scaled).log_softmax(dim=1)
            loss -= log_prob.gather(1, y[:, None]).sum(dtype=wide(x.device)).item()
            residual = log_prob.exp_()
            probabilities.append(residual.clone())
            residual.scatter_add_(1, y[:, None], -torch.ones_like(residual[:, :1]))
            gradient[:-1].addmm_(x.mT, residual)
            gradient[-1] += residual.sum(dim=0)
        gradient[:-1] /= self.scale[:, None]
        gradient /= len(self.features)
        gradient[:-1] += l2 * solution[:-1]
        objective = loss / len(self.features) + l2 / 2 * _dot(solution[:-1], solution[:-1])
        gradient = self._between_classes(gradient)
        return _Point(solution, objective, gradient, torch.cat(probabilities))


def _dot(one: Tensor, other: Tensor) -> float:
    return (one * other).sum(dtype=wide(one.device)).item()


def _product_dtype(features: Tensor) -> torch.dtype:
    """bfloat16 for many features on a processor that has instructions for it, else float32."""
    large = features.numel() > _VALUES_AT_ONCE
    return torch.bfloat16 if large and multiplies_bfloat16(features.device) else torch.float32
