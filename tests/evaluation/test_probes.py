import pytest
import torch
from small_features import blobs

from dim_lightning.evaluation import Labelled, linear_probe, mlp_probe
from dim_lightning.evaluation.knn import accuracy
from dim_lightning.evaluation.softmax_regression import SoftmaxSolver


# 40 useless features: with few images or much noise a weak penalty fits the noise
@pytest.mark.parametrize(
    ("images", "spread", "grid"),
    [
        (60, 6.0, (1.0, 1e-1, 1e-3, 1e-6)),  # the second is the best: where the search starts
        (400, 2.0, (1.0, 1e-1, 1e-3, 1e-6)),  # the first
        (400, 4.0, (100.0, 10.0, 1e-1, 1e-6)),  # the third
        (60, 6.0, (0.1,)),
    ],
)
def test_validation_chooses_the_penalty_and_the_test_split_does_not(images, spread, grid):
    sizes = ((images, 0), (400, 1), (400, 2))
    train, val, test = (blobs(n, s, d=40, spread=spread) for n, s in sizes)
    result = linear_probe(train, val, test, 3, grid)
    tops = {}
    for l2 in grid:
        model = SoftmaxSolver(train, 3).fit(l2)
        tops[l2] = (model.predict(val.features) == val.labels).double().mean().item()
    assert result.l2 == max(grid, key=lambda l2: (round(tops[l2], 9), l2))
    assert result.val_top1 == pytest.approx(tops[result.l2], abs=0.006)
    other = linear_probe(train, val, test._replace(labels=test.labels.roll(1)), 3, grid)
    assert (other.l2, other.val_top1) == (result.l2, result.val_top1)
    assert other.top1 != result.top1


def test_the_linear_probe_leaves_the_features_alone():
    train, val, test = blobs(60, 0), blobs(30, 1), blobs(30, 2)
    before = train.features.clone()
    linear_probe(train, val, test, 3)
    assert torch.equal(train.features, before)


def rings(n, seed):
    """Inside against outside: no line tells them apart."""
    points = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))
    return Labelled(5 + points, (points.norm(dim=1) > 1.18).long())


def test_the_mlp_probe_learns_what_a_line_cannot():
    train, val, test = rings(1000, 0), rings(300, 1), rings(300, 2)
    assert linear_probe(train, val, test, 2).top1 < 0.7
    assert mlp_probe(train, test, 2, epochs=20, batch_size=64, learning_rate=1e-2) > 0.9


def test_the_mlp_probe_depends_on_its_seed_alone():
    train, test = blobs(200, 0), blobs(200, 1)
    torch.manual_seed(1)
    first = mlp_probe(train, test, 3, epochs=1, seed=0)
    state = torch.get_rng_state()
    torch.manual_seed(2)
    assert mlp_probe(train, test, 3, epochs=1, seed=0) == first
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)  # as if nothing had been drawn


def test_probes_work_on_features_taken_in_inference_mode():
    train, val, test = blobs(100, 0), blobs(50, 1), blobs(50, 2)
    with torch.inference_mode():
        linear_probe(train, val, test, 3)
        mlp_probe(train, test, 3, epochs=1)


def test_what_a_limited_search_chooses_is_solved_to_the_end(monkeypatch):
    monkeypatch.setattr("dim_lightning.evaluation.probes._SEARCH_PRODUCTS", 1)
    parts = [blobs(400, seed) for seed in range(3)]
    result = linear_probe(*parts, 3, l2_grid=(1e-2,))
    solved = SoftmaxSolver(parts[0], 3).fit(1e-2)
    assert result.converged
    assert result.top1 == accuracy(solved.predict(parts[2].features), parts[2].labels)
