"""Classifiers on frozen features: softmax regression, solved, and the paper's small network."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dim_lightning.evaluation.classification import AT_ONCE, Accuracies, accuracies, accuracy
from dim_lightning.evaluation.conditioning import check_grid, standardisation
from dim_lightning.evaluation.fitting import passes, seeded
from dim_lightning.evaluation.labelled import Labelled, checked_parts
from dim_lightning.evaluation.softmax_regression import SoftmaxRegression, SoftmaxSolver

L2_GRID = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)

_SEARCH_PRODUCTS = 100  # enough for penalties that do not overfit
_SEARCH_TOLERANCE = 1e-4  # nats; accuracies there are known to about one image in a thousand
_TOLERANCE = 1e-5  # nats, of what is reported
FEW_VALUES = 2**22  # images x features; up to these a search for a penalty tries the whole grid
_RISE = 1.02  # of the validation cross-entropy, beyond which a weaker penalty only overfits
_MOST_PRODUCTS = 5000
MLP_BATCH = 256
_LEAST_MLP_BATCH = 16
_STEPS_AN_EPOCH = 64


class LinearResult(NamedTuple):
    """What `linear_probe` found.

    Attributes:
        test: accuracies of the test images, in [0, 1].
        val_top1: share of the validation images classified rightly, at the chosen penalty.
        l2: the chosen penalty.
        converged: whether the chosen regression was solved to the tolerance.
    """

    test: Accuracies
    val_top1: float
    l2: float
    converged: bool

    @property
    def top1(self) -> float:
        """Share of the test images classified rightly."""
        return self.test["top1"]


def linear_probe(
    train: Labelled,
    val: Labelled,
    test: Labelled,
    num_classes: int,
    *,
    l2_grid: Sequence[float] = L2_GRID,
) -> LinearResult:
    """Accuracy of softmax regression on features standardised by their training statistics.

    The penalty whose rough fit on `train` has the best validation accuracy (the stronger of equal
    ones) is fitted to the end and tested. The search for it starts at the second strongest of the
    grid and goes on to weaker ones, each solved from the solution before, and then to stronger
    ones. The test images choose nothing.

    Weak penalties that overfit take longest, so the search solves each only to 1e-4 nats, in 100
    products with the Hessian at most. With more than four million values (images x features) it
    tries fewer: it leaves a penalty as soon as it clearly overfits, and a direction after one that
    is no more accurate on the validation images than the best and has a higher cross-entropy there
    than the one before; stronger ones it tries only if no weaker one was better. Were all solved to
    the end, another one of nearly the same accuracy might be chosen.

    Args:
        train: what is fitted.
        val: what chooses the penalty.
        test: what is reported.
        num_classes: c.
        l2_grid: penalties to try, see `SoftmaxSolver`.

    Raises:
        InputError: features or labels are not what `checked_parts` asks for, or there is no
            penalty to try, or a negative one.
    """
    check_grid("l2_grid", l2_grid, zero=True)
    train, val, test = checked_parts(train, val, test, num_classes=num_classes)
    solver = SoftmaxSolver(train, num_classes, _TOLERANCE)
    tries_all = train.features.numel() <= FEW_VALUES
    seen: list[_Attempt] = []

    def overfits(l2: float, model: SoftmaxRegression) -> bool:
        if tries_all or not seen or l2 > seen[-1].l2:
            return False
        return seen[-1].clearly_better(_attempt(model, l2, val, solver))

    def attempt(l2: float) -> _Attempt:
        model = solver.fit(l2, _SEARCH_PRODUCTS, _SEARCH_TOLERANCE, partial(overfits, l2))
        seen.append(_attempt(model, l2, val, solver))
        return seen[-1]

    grid = sorted(l2_grid, reverse=True)
    start = min(1, len(grid) - 1)
    first = attempt(grid[start])
    best = _walk(first, map(attempt, grid[start + 1 :]), tries_all)
    if best is first or tries_all:
        solver.solution = first.solution
        best = _walk(best, map(attempt, grid[:start]), tries_all)
    solver.solution = best.solution
    model = solver.fit(best.l2, _MOST_PRODUCTS)
    of_test = accuracies(model.logits(test.features).split(AT_ONCE), test.labels)
    val_top1 = accuracy(model.predict(val.features), val.labels)
    return LinearResult(of_test, val_top1, best.l2, model.converged)


class _Attempt(NamedTuple):
    """A penalty's accuracy and cross-entropy on the validation images, and its solution."""

    val_top1: float
    l2: float
    loss: float
    solution: Tensor

    def clearly_better(self, other: "_Attempt") -> bool:
        """Whether `other` is no more accurate and has a cross-entropy that will stay higher."""
        return other.val_top1 <= self.val_top1 and other.loss > _RISE * self.loss


def _attempt(model: SoftmaxRegression, l2: float, val: Labelled, solver: SoftmaxSolver) -> _Attempt:
    logits = model.logits(val.features)
    loss = F.cross_entropy(logits, val.labels).item()
    return _Attempt(accuracy(logits.argmax(dim=1), val.labels), l2, loss, solver.solution)


def _walk(first: _Attempt, others: Iterable[_Attempt], to_the_end: bool = False) -> _Attempt:
    """The best of `first` and of what comes before `others` only get worse, or of all of them."""
    best = last = first
    for new in others:
        if (new.val_top1, new.l2) > (best.val_top1, best.l2):
            best = new
        elif new.loss > last.loss and not to_the_end:
            break
        last = new
    return best


def mlp_batch_size(num_images: int) -> int:
    """Images a step of `mlp_probe`: 256, or so few that 64 steps make an epoch, but at least 16.

    In a few hundred steps the network is not fitted to the end.
    """
    return min(MLP_BATCH, max(_LEAST_MLP_BATCH, num_images // _STEPS_AN_EPOCH))


def mlp_probe(
    train: Labelled,
    test: Labelled,
    num_classes: int,
    *,
    epochs: int = 30,
    batch_size: int | None = None,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> Accuracies:
    """Test accuracies, in [0, 1], of Linear - dropout - batch norm - ReLU - Linear on the features.

    The network is that of Hjelm et al., 2019, appendix A.2 (200 units, dropout 0.1). The training
    is shorter: theirs is Adam at 1e-4, divided by ten at epochs 50 and 100, and reports the mean
    accuracy of its last 100 epochs; here it is Adam at `learning_rate`, divided by ten for the last
    third and again for the last sixth of the epochs, on standardised features, and the accuracies
    after the last epoch.

    Every draw comes from `seed`; the global generator is left alone.

    Args:
        train: what is fitted.
        test: what is reported.
        num_classes: c.
        epochs: how often each training image is met.
        batch_size: images a step; as many as `mlp_batch_size` says if None.
        learning_rate: of Adam, at first.
        seed: of weights, dropout and orders.

    Raises:
        InputError: features or labels are not what `checked_parts` asks for, or there are fewer
            than 2 training images.
    """
    train, test = checked_parts(train, test, num_classes=num_classes)
    device, count = train.features.device, len(train.labels)
    if batch_size is None:
        batch_size = mlp_batch_size(count)
    mean, scale = standardisation(train.features)
    with seeded(seed, device):
        network = small_network(train.features.shape[1], num_classes).to(device)

        def loss_of(rows: Tensor) -> Tensor:
            x = train.features.index_select(0, rows).float().sub_(mean).div_(scale)
            return F.cross_entropy(network(x), train.labels[rows])

        plan = (count, epochs, batch_size, seed, "mlp_epochs")
        for _ in passes(network, learning_rate, loss_of, *plan, device=device):
            pass
    return network_accuracies(network, test, mean, scale)


@torch.no_grad()
def network_accuracies(
    network: nn.Module, part: Labelled, mean: Tensor | float = 0.0, scale: Tensor | float = 1.0
) -> Accuracies:
    """Accuracies, in [0, 1], of a network in eval mode; it trains on afterwards."""
    network.eval()
    blocks = part.features.split(AT_ONCE)
    found = accuracies((network((x.float() - mean) / scale) for x in blocks), part.labels)
    network.train()
    return found


def small_network(dim: int, num_classes: int) -> nn.Sequential:
    """Linear - dropout - batch norm - ReLU - Linear, with 200 units."""
    return nn.Sequential(
        nn.Linear(dim, 200),
        nn.Dropout(0.1),
        nn.BatchNorm1d(200),
        nn.ReLU(),
        nn.Linear(200, num_classes),
    )
