import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from small_features import blobs, narrow
from torch import Tensor
from torch.overrides import TorchFunctionMode

from dim_lightning.errors import InputError
from dim_lightning.evaluation import Labelled, conditioning, svm
from dim_lightning.evaluation.svm import C_GRID, _Machines, linear_svm


def reference(train, c):
    """The machines of all classes against the others, by a general minimiser, in float64.

    Their scores, and the sum of their objectives.
    """
    x = train.features.double().numpy()
    mean, scale = x.mean(0), x.std(0)
    scale[scale < 1e-9] = 1
    z = np.c_[(x - mean) / scale, np.ones(len(x))]

    def machine(sign):
        def objective(w):
            slack = np.maximum(0, 1 - sign * (z @ w))
            value = 0.5 * w @ w + c * (slack**2).sum()
            return value, w - 2 * c * z.T @ (sign * slack)

        return minimize(objective, np.zeros(z.shape[1]), jac=True, tol=1e-12)

    labels = train.labels.numpy()
    found = [machine(np.where(labels == k, 1.0, -1.0)) for k in range(3)]
    weights = np.stack([each.x for each in found])

    def scores(part):
        z = np.c_[(part.features.numpy() - mean) / scale, np.ones(len(part.labels))]
        return z @ weights.T

    return scores, sum(each.fun for each in found)


def top1(scores, part):
    return (scores(part).argmax(1) == part.labels.numpy()).mean()


@pytest.mark.parametrize("c", [1e-3, 1e-1])
def test_it_is_the_machine_of_the_formula(c):
    train, val, test = blobs(150, 0), blobs(200, 1), blobs(400, 2)
    result = linear_svm(train, val, test, grid=(c,))
    scores, _ = reference(train, c)
    assert result.converged
    assert result.c == c
    assert result.top1 == pytest.approx(top1(scores, test), abs=0.003)
    assert result.val_top1 == pytest.approx(top1(scores, val), abs=0.006)
    assert result.top1 > 0.5  # of three classes


@pytest.mark.parametrize("count", [40, 300])
@pytest.mark.parametrize("c", [1e-3, 1.0])
def test_its_objective_is_the_smallest_with_fewer_images_than_features_too(count, c):
    train = blobs(count, 0, d=100, spread=4.0)
    machines = _Machines(train.features, train.labels, 3)
    found, converged = machines.solved(c, machines.start, 1000)
    smallest = reference(train, c)[1]
    assert converged
    assert smallest * (1 - 1e-9) <= machines._objective(found, c)[0] <= smallest * (1 + 1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_no_numbers_are_refused(value):
    train, other = blobs(60, 0), blobs(60, 1)
    train.features[3, 2] = value
    with pytest.raises(InputError, match="features are NaN or infinite"):
        linear_svm(train, other, other)


def test_very_many_features_need_no_second_moment(monkeypatch):
    parts = [blobs(150, 0), blobs(200, 1), blobs(400, 2)]
    usual = linear_svm(*parts)
    monkeypatch.setattr("dim_lightning.evaluation.svm.LARGEST_CURVATURE", 2)
    other = linear_svm(*parts)
    assert other.c == usual.c
    assert other.converged
    assert other.top1 == pytest.approx(usual.top1, abs=0.003)


def test_a_class_that_training_lacks_is_never_said():
    """A machine for it would say -1 of every image, which may be the largest score."""
    parts = [blobs(n, s, d=40, spread=6.0) for n, s in ((60, 0), (400, 1), (400, 2))]
    wider = [part._replace(labels=part.labels * 2) for part in parts]  # of 0 to 4, three
    assert linear_svm(*wider, grid=(1.0,)) == linear_svm(*parts, grid=(1.0,))


def test_validation_chooses_c_and_the_test_split_does_not():
    train, val, test = (blobs(n, s, d=40, spread=6.0) for n, s in ((60, 0), (400, 1), (400, 2)))
    result = linear_svm(train, val, test)
    alone = {c: linear_svm(train, val, test, grid=(c,)) for c in C_GRID}
    assert result.c == max(alone, key=lambda c: (alone[c].val_top1, -c))
    assert result.top1 == alone[result.c].top1
    other = linear_svm(train, val, test._replace(labels=test.labels.roll(1)))
    assert (other.c, other.val_top1) == (result.c, result.val_top1)
    assert other.top1 != result.top1


@pytest.mark.parametrize(
    ("tops", "chosen", "tried"),
    [
        ([0.6, 0.6, 0.6, 0.8], 1.0, 4),  # of few images many are equally good
        ([0.6, 0.5, 0.6, 0.4, 0.9], 1e-3, 4),
        ([0.5, 0.6, 0.5, 0.7, 0.6, 0.6, 0.9], 1.0, 6),
    ],
)
def test_the_search_ends_after_two_that_are_worse(monkeypatch, tops, chosen, tried):
    left = [*tops]
    monkeypatch.setattr(_Machines, "accuracies", lambda *_: {"top1": left.pop(0)})
    monkeypatch.setattr(svm, "FEW_VALUES", 0)
    grid = [10.0 ** (place - 3) for place in range(len(tops))]
    parts = [blobs(20, seed) for seed in range(3)]
    left.append(0.0)  # that of the test images
    found = linear_svm(*parts, grid=grid)
    assert found.c == pytest.approx(chosen)
    assert len(left) == len(tops) - tried


@pytest.mark.parametrize(("most", "chosen"), [(None, 10.0), (0, 1e-3)])
def test_of_few_values_all_penalties_are_tried(monkeypatch, most, chosen):
    tops = [0.6, 0.5, 0.5, 0.5, 0.9]
    left = [*tops, 0.0]
    monkeypatch.setattr(_Machines, "accuracies", lambda *_: {"top1": left.pop(0)})
    if most is not None:
        monkeypatch.setattr(svm, "FEW_VALUES", most)
    grid = [10.0 ** (place - 3) for place in range(len(tops))]
    assert linear_svm(*(blobs(20, seed) for seed in range(3)), grid=grid).c == pytest.approx(chosen)


@pytest.mark.parametrize(("images", "c"), [(200, 100.0), (1000, 1.0)])
def test_the_grid_goes_on_to_weak_penalties(images, c):
    """One direction tells, in which little varies."""
    parts = [narrow(n, seed) for seed, n in enumerate((images, 2000, 2000))]
    found = linear_svm(*parts)
    assert found.c >= c
    assert found.top1 > 0.98


def test_it_leaves_features_and_global_generators_alone():
    train, val, test = blobs(60, 0), blobs(30, 1), blobs(30, 2)
    before, state, drawn = train.features.clone(), torch.get_rng_state(), np.random.get_state()[1]
    linear_svm(train, val, test, grid=(0.1,))
    assert torch.equal(train.features, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == drawn).all()


def test_it_says_when_it_did_not_converge():
    parts = [blobs(100, s) for s in range(3)]
    assert not linear_svm(*parts, grid=(1.0,), max_iter=1).converged


@pytest.mark.parametrize("grid", [(), (0.0, 1.0), (-1.0,), (float("nan"),)])
def test_weights_that_cannot_be_are_refused(grid):
    parts = [blobs(30, seed) for seed in range(3)]
    with pytest.raises(
        InputError, match=r"grid is .*; expected one or more finite numbers above 0"
    ):
        linear_svm(*parts, grid=grid)


def test_one_class_is_refused():
    part = Labelled(torch.randn(9, 2), torch.zeros(9, dtype=torch.int64))
    with pytest.raises(InputError, match=r"one class.*evaluation\.svm"):
        linear_svm(part, part, part)


class _AppleGPU(TorchFunctionMode):
    """Tensors stand for those of Apple's GPU, which has no float64, until they come to the CPU."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        if func is Tensor.cpu:
            found = found.clone()
            found.is_on_cpu = True
        elif isinstance(found, Tensor) and found.dtype == torch.float64:
            given = args[0]
            is_wide = not isinstance(given, Tensor) or given.dtype == torch.float64
            if not is_wide and not hasattr(given, "is_on_cpu"):
                raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        return found


def test_no_float64_is_made_where_the_device_has_none(monkeypatch):
    train, val, test = blobs(150, 0), blobs(200, 1), blobs(400, 2)
    expected = linear_svm(train, val, test, grid=(1e-2,))
    for module in (conditioning, svm):
        monkeypatch.setattr(module, "wide", lambda _: torch.float32)
    with _AppleGPU():
        found = linear_svm(train, val, test, grid=(1e-2,))
    assert found.top1 == pytest.approx(expected.top1, abs=0.003)
    assert found.converged
