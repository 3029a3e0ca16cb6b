"""Classifiers on frozen features: softmax regression, solved, and the paper's small network."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from dim_lightning.evaluation.knn import accuracy
from dim_lightning.seeding import generator_for

L2_GRID = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)

_VALUES_AT_ONCE = 2**22  # of a block of features: 16 MiB, read once for both products
_LOST = 0.01  # validation accuracy below the best at which the search for a penalty ends
_CLASS_MULTIPLE = 16  # matrix products run up to four times faster than with, say, 10 columns
_LARGEST_CURVATURE = 8192  # features beyond which their d x d second moment costs too much


class Labelled(NamedTuple):
    """Frozen features of the images of a split, and their classes 0 .. num_classes - 1."""

    features: Float[Tensor, "n d"]
    labels: Int64[Tensor, " n"]


class LinearResult(NamedTuple):
    """What `linear_probe` found.

    Attributes:
        top1: share of the test images classified rightly, in [0, 1].
        val_top1: the same of the validation images, at the chosen penalty.
        l2: the chosen penalty.
        converged: whether the chosen regression was solved to the tolerance.
    """

    top1: float
    val_top1: float
    l2: float
    converged: bool


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


def linear_probe(
    train: Labelled,
    val: Labelled,
    test: Labelled,
    num_classes: int,
    l2_grid: Sequence[float] = L2_GRID,
    max_iterations: int = 500,
) -> LinearResult:
    """Accuracy of softmax regression on features standardised by their training statistics.

    Each penalty of the grid is solved from the strongest to the weakest, each from the solution
    before; the one with the best validation accuracy (the stronger of equal ones) is tested, as it
    was fitted on `train`. Penalties weaker than one that loses a point of validation accuracy are
    not tried. The test images choose nothing.

    Args:
        train: what is fitted.
        val: what chooses the penalty.
        test: what is reported.
        num_classes: c.
        l2_grid: penalties to try, see `SoftmaxSolver`.
        max_iterations: of the solver, at each penalty.
    """
    solver = SoftmaxSolver(train, num_classes)
    best: tuple[float, float, SoftmaxRegression] | None = None
    for l2 in sorted(l2_grid, reverse=True):
        model = solver.fit(l2, max_iterations)
        val_top1 = accuracy(model.predict(val.features), val.labels)
        if best is None or val_top1 > best[0]:
            best = val_top1, l2, model
        elif val_top1 < best[0] - _LOST:
            break
    assert best is not None, "the grid of penalties is empty"
    top1 = accuracy(best[2].predict(test.features), test.labels)
    return LinearResult(top1, best[0], best[1], best[2].converged)


class SoftmaxSolver:
    """Solves min over (W, b) of mean cross-entropy + l2 / 2 |W|^2 by full-batch L-BFGS.

    The features are standardised, a block of them at a time, and no copy of them is made. Their
    second moment S serves as the curvature: the solver sees the weights
    through the Cholesky factor of S / c + l2, which bounds the Hessian in shape (Boehning, 1992,
    "Multinomial logistic regression algorithm") and makes the tolerance one in nats: squared, the
    gradient it sees is about twice the distance from the optimum. The objective is that of
    scikit-learn's LogisticRegression with C = 1 / (n l2); the bias is free.

    Args:
        train: features and labels; both are only read.
        num_classes: c.
        tolerance: largest absolute entry of the gradient at which the problem counts as solved.
    """

    def __init__(self, train: Labelled, num_classes: int, tolerance: float = 1e-5):
        self.features, self.labels = train.features.float(), train.labels
        self.num_classes = num_classes
        self.tolerance = tolerance
        self.mean, self.scale = standardisation(self.features)
        dim = self.features.shape[1]
        self.curvature = self._second_moment() if dim <= _LARGEST_CURVATURE else None
        self.weight = self.features.new_zeros(dim, num_classes)  # of the standardised features
        self.bias = self.features.new_zeros(num_classes)

    @torch.inference_mode(False)
    @torch.no_grad()
    def fit(self, l2: float, max_iterations: int = 500) -> SoftmaxRegression:
        """The solution for one penalty, sought from the solution found last."""
        factor = self._factor(l2)
        seen = (factor.mT @ self.weight).contiguous().requires_grad_()
        bias = self.bias.clone().requires_grad_()
        optimizer = torch.optim.LBFGS(
            [seen, bias],
            max_iter=max_iterations,
            max_eval=2 * max_iterations,
            tolerance_grad=self.tolerance,
            tolerance_change=0.0,
            history_size=20,
            line_search_fn="strong_wolfe",
        )

        @torch.no_grad()  # the optimiser switches gradients on; these are worked out by hand
        def closure() -> float:
            weight = torch.linalg.solve_triangular(factor.mT, seen, upper=True)
            loss, weight_gradient, bias.grad = self._loss_and_gradients(weight, bias)
            weight_gradient += l2 * weight
            gradient = torch.linalg.solve_triangular(factor, weight_gradient, upper=False)
            seen.grad = gradient.contiguous()
            return loss + l2 / 2 * weight.square().sum(dtype=torch.float64).item()

        optimizer.step(closure)
        closure()  # the gradient where the search ended
        assert seen.grad is not None
        assert bias.grad is not None
        slope = max(seen.grad.abs().max().item(), bias.grad.abs().max().item())
        self.weight = torch.linalg.solve_triangular(factor.mT, seen.detach(), upper=True)
        self.bias = bias.detach()
        scaled = self.weight / self.scale[:, None]
        return SoftmaxRegression(self.mean, scaled, self.bias, slope <= 10 * self.tolerance)

    def _second_moment(self) -> Tensor:
        """Second moment of the standardised features, from enough of the images to be definite."""
        count, dim = self.features.shape
        step = max(1, count // max(2 * dim, 4096))
        sample = (self.features[::step] - self.mean) / self.scale
        return sample.mT @ sample / len(sample)

    def _factor(self, l2: float) -> Tensor:
        """Lower triangular L with L L' = second moment / c + l2."""
        if self.curvature is None:
            dim = self.features.shape[1]
            return torch.eye(dim, device=self.mean.device) * (1 / self.num_classes + l2) ** 0.5
        damped = self.curvature / self.num_classes
        damped.diagonal().add_(l2 + 1e-6)
        return torch.linalg.cholesky(damped)

    def _loss_and_gradients(self, weight: Tensor, bias: Tensor) -> tuple[float, Tensor, Tensor]:
        """Mean cross-entropy, and its gradients for the weights and the bias."""
        padding = (0, -self.num_classes % _CLASS_MULTIPLE)
        scaled = F.pad(weight / self.scale[:, None], padding)
        intercept = F.pad(bias, padding, value=-1e30)  # probability 0
        rows = max(1, _VALUES_AT_ONCE // self.features.shape[1])
        loss = 0.0  # in double: the line search compares losses that differ by less than 1e-7
        moment, total = torch.zeros_like(scaled), torch.zeros_like(intercept)
        for x, y in zip(self.features.split(rows), self.labels.split(rows), strict=True):
            centred = x - self.mean
            log_prob = torch.addmm(intercept, centred, scaled).log_softmax(dim=1)
            loss -= log_prob.gather(1, y[:, None]).sum(dtype=torch.float64).item()
            residual = log_prob.exp_()
            residual.scatter_add_(1, y[:, None], -torch.ones_like(residual[:, :1]))
            moment.addmm_(centred.mT, residual)
            total += residual.sum(dim=0)
        count = len(self.features)
        gradient = moment[:, : len(bias)] / self.scale[:, None]
        return loss / count, gradient / count, total[: len(bias)] / count


def mlp_probe(
    train: Labelled,
    test: Labelled,
    num_classes: int,
    hidden: int = 200,
    dropout: float = 0.1,
    epochs: int = 30,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> float:
    """Test accuracy, in [0, 1], of Linear - dropout - batch norm - ReLU - Linear on the features.

    The network is that of Hjelm et al., 2019, appendix A.2 (200 units, dropout 0.1). The training
    is shorter: theirs is Adam at 1e-4, divided by ten at epochs 50 and 100, and reports the mean
    accuracy of its last 100 epochs; here it is Adam at `learning_rate`, divided by ten for the last
    third and again for the last sixth of the epochs, on standardised features, and the accuracy
    after the last epoch.

    Every draw comes from `seed`; the global generator is left alone.
    """
    device = train.features.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        _seed_forked(seed, device)
        mean, scale = standardisation(train.features)
        with torch.inference_mode(False), torch.enable_grad():
            network = _mlp(train.features.shape[1], hidden, dropout, num_classes).to(device)
            _train(network, train, (mean, scale), epochs, batch_size, learning_rate, seed)
    network.eval()
    with torch.no_grad():
        blocks = test.features.split(4096)
        predicted = [network((x.float() - mean) / scale).argmax(dim=1) for x in blocks]
    return accuracy(torch.cat(predicted), test.labels)


def standardisation(features: Float[Tensor, "n d"]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each feature, [d] and [d]; 1 for those that do not vary."""
    dim = features.shape[1]
    columns = max(1, _VALUES_AT_ONCE // len(features))
    mean, scale = features.new_empty(dim), features.new_empty(dim)
    for start in range(0, dim, columns):  # float64, a few columns at a time
        block = features[:, start : start + columns].double()
        mean[start : start + columns] = block.mean(dim=0)
        scale[start : start + columns] = block.std(dim=0, correction=0)
    dead = scale <= 1e-6 * (mean.abs() + scale.max())
    return mean, scale.masked_fill(dead, 1.0)


def _seed_forked(seed: int, device: torch.device) -> None:
    """Seeds the global generators that `fork_rng` will put back; those of other devices stay."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def _mlp(dim: int, hidden: int, dropout: float, num_classes: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(dim, hidden),
        nn.Dropout(dropout),
        nn.BatchNorm1d(hidden),
        nn.ReLU(),
        nn.Linear(hidden, num_classes),
    )


def _train(
    network: nn.Sequential,
    train: Labelled,
    moments: tuple[Tensor, Tensor],
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
) -> None:
    mean, scale = moments
    optimizer = torch.optim.Adam(network.parameters(), learning_rate)
    milestones = [epochs - epochs // 3, epochs - epochs // 6]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, gamma=0.1)
    for epoch in range(epochs):
        order = torch.randperm(len(train.labels), generator=generator_for(seed, epoch))
        for rows in order.to(mean.device).split(batch_size):
            if len(rows) < 2:
                continue  # batch norm needs two
            x = (train.features[rows].float() - mean) / scale
            loss = F.cross_entropy(network(x), train.labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
