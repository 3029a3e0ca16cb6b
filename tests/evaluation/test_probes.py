import pytest
import torch
import torch.nn.functional as F
from small_features import blobs, narrow
from torch import nn

from dim_lightning.errors import InputError
from dim_lightning.evaluation import Labelled, accuracy, linear_probe, mlp_probe
from dim_lightning.evaluation.paper_probe import paper_probe
from dim_lightning.evaluation.probes import _Attempt, _walk, mlp_batch_size
from dim_lightning.evaluation.softmax_regression import SoftmaxSolver
from dim_lightning.evaluation.svm import linear_svm
from dim_lightning.seeding import generator_for


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
    result = linear_probe(train, val, test, 3, l2_grid=grid)
    tops = {}
    for l2 in grid:
        model = SoftmaxSolver(train, 3).fit(l2)
        tops[l2] = (model.predict(val.features) == val.labels).double().mean().item()
    assert result.l2 == max(grid, key=lambda l2: (round(tops[l2], 9), l2))
    assert result.val_top1 == pytest.approx(tops[result.l2], abs=0.006)
    assert linear_probe(train, val, test, 3, l2_grid=grid[::-1]) == result
    other = linear_probe(train, val, test._replace(labels=test.labels.roll(1)), 3, l2_grid=grid)
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
    found = mlp_probe(train, test, 2, epochs=20, batch_size=64, learning_rate=1e-2)
    assert found["top1"] > 0.9


def test_the_mlp_probe_is_fitted_to_the_end_of_few_images_too():
    """By batches of 256 it has 0.63 here."""
    assert mlp_probe(rings(400, 0), rings(300, 5), 2)["top1"] > 0.85


@pytest.mark.parametrize("grid", [(), (-1.0,), (1e-3, float("nan")), (float("inf"), 1.0)])
def test_penalties_that_cannot_be_are_refused(grid):
    parts = [blobs(30, seed) for seed in range(3)]
    with pytest.raises(InputError, match=r"l2_grid is .*; expected one or more finite numbers"):
        linear_probe(*parts, 3, l2_grid=grid)


def test_probes_leave_the_graph_of_their_features_alone():
    """Of features that an encoder has just given, with gradients."""
    parts = [blobs(60, seed) for seed in range(3)]
    learned = [part._replace(features=part.features.clone().requires_grad_()) for part in parts]
    graphs = [part._replace(features=part.features * 1) for part in learned]
    assert linear_probe(*graphs, 3) == linear_probe(*parts, 3)
    train, _, test = graphs
    assert mlp_probe(train, test, 3, epochs=2) == mlp_probe(parts[0], parts[2], 3, epochs=2)
    found = paper_probe(*graphs, 3, epochs=2)
    assert found == paper_probe(*parts, 3, epochs=2)
    assert linear_svm(*graphs, grid=(0.1,)) == linear_svm(*parts, grid=(0.1,))
    assert all(part.features.grad is None for part in learned)


@pytest.mark.parametrize(
    ("images", "expected"), [(45_000, 256), (16_384, 256), (16_383, 255), (1_294, 20), (90, 16)]
)
def test_the_batch_of_the_mlp_probe(images, expected):
    assert mlp_batch_size(images) == expected


def test_the_mlp_probe_depends_on_its_seed_alone():
    train, test = blobs(200, 0), blobs(200, 1)
    torch.manual_seed(1)
    first = mlp_probe(train, test, 3, epochs=1, seed=0)
    state = torch.get_rng_state()
    torch.manual_seed(2)
    assert mlp_probe(train, test, 3, epochs=1, seed=0) == first
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)  # as if nothing had been drawn


def test_the_mlp_probe_of_one_image_is_refused():
    message = "1 training images, .* too few .* set evaluation.mlp_epochs to 0"
    with pytest.raises(InputError, match=message):
        mlp_probe(blobs(1, 0), blobs(9, 1), num_classes=3, epochs=1)


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
    assert result.val_top1 == accuracy(solved.predict(parts[1].features), parts[1].labels)
    assert result.top1 == accuracy(solved.predict(parts[2].features), parts[2].labels)


def test_of_few_values_all_penalties_are_tried():
    """The best comes after several at chance: one direction tells, in which little varies."""
    result = linear_probe(*(narrow(n, seed) for seed, n in enumerate((200, 2000, 2000))), 2)
    assert result.l2 == 1e-5
    assert result.top1 > 0.95


def tried(*figures):
    """Penalties that were tried, of these accuracies, penalties and cross-entropies."""
    return [_Attempt(*each, solution=torch.empty(0)) for each in figures]


def test_of_equally_accurate_penalties_the_stronger_is_chosen():
    first, weaker, stronger = tried((0.8, 0.1, 1.0), (0.8, 0.01, 0.9), (0.8, 1.0, 1.1))
    assert _walk(first, [weaker]) is first
    assert _walk(first, [stronger]) is stronger


def test_the_search_goes_on_while_the_cross_entropy_falls():
    first, worse, best = tried((0.8, 0.1, 1.0), (0.7, 0.01, 0.9), (0.9, 0.001, 1.1))
    assert _walk(first, [worse, best]) is best


def test_the_search_ends_where_neither_accuracy_nor_cross_entropy_gets_better():
    first, worse, rising, unseen = tried(
        (0.8, 0.1, 1.0), (0.7, 0.01, 0.9), (0.7, 0.001, 0.95), (0.99, 0.0001, 0.1)
    )
    assert _walk(first, [worse, rising, unseen]) is first
    assert _walk(first, [worse, rising, unseen], to_the_end=True) is unseen


def test_a_penalty_overfits_clearly_where_its_cross_entropy_is_a_fiftieth_higher():
    before, about, above, better = tried(
        (0.8, 0.1, 2.0), (0.8, 0.01, 2.039), (0.8, 0.01, 2.041), (0.81, 0.01, 2.041)
    )
    assert [before.clearly_better(other) for other in (about, above, better)] == [0, 1, 0]


def spelt_out(train, test, epochs, seed):
    """The classes of the test images after the last epoch."""
    mean, scale = train.features.mean(0), train.features.std(0, correction=0)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Linear(train.features.shape[1], 200), nn.Dropout(0.1), nn.BatchNorm1d(200)]
        network = nn.Sequential(*layers, nn.ReLU(), nn.Linear(200, 3))
        adam = torch.optim.Adam(network.parameters(), 1e-3)
        for epoch in range(epochs):
            later = (3 * epoch >= 2 * epochs) + (6 * epoch >= 5 * epochs)
            adam.param_groups[0]["lr"] = 1e-3 * 0.1**later
            order = torch.randperm(len(train.labels), generator=generator_for(seed, epoch))
            for rows in order.split(32):
                x = (train.features[rows] - mean) / scale
                loss = F.cross_entropy(network(x), train.labels[rows])
                adam.zero_grad()
                loss.backward()
                adam.step()
    with torch.no_grad():
        return network.eval()((test.features - mean) / scale).argmax(1)


@pytest.mark.parametrize("seed", [0, 3])
def test_the_mlp_probe_trains_as_its_description_says(seed):
    parts = blobs(200, 0, spread=5.0), blobs(2000, 1, spread=5.0)
    train, test = (Labelled(part.features[:, :-1], part.labels) for part in parts)
    found = mlp_probe(train, test, 3, epochs=6, batch_size=32, seed=seed)
    expected = accuracy(spelt_out(train, test, 6, seed), test.labels)
    assert found["top1"] == pytest.approx(expected, abs=0.001)
