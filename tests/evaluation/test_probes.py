import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from dim_lightning.evaluation import Labelled, linear_probe, mlp_probe
from dim_lightning.evaluation.softmax_regression import SoftmaxSolver, standardisation


def blobs(n, seed, d=6, classes=3, spread=1.5):
    """Overlapping classes, correlated features of very different scales, one of them constant."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (n,), generator=generator)
    centres = torch.randn(classes, d, generator=torch.Generator().manual_seed(99))
    features = centres[labels] + spread * torch.randn(n, d, generator=generator)
    features[:, 1] += features[:, 0]
    features *= torch.logspace(-2, 2, d)
    features[:, -1] = 7.0
    return Labelled(features + 3, labels)


def reference(train, l2):
    scaler = StandardScaler().fit(train.features.double().numpy())
    model = LogisticRegression(C=1 / (len(train.labels) * l2), tol=1e-10, max_iter=10_000)
    return model.fit(scaler.transform(train.features.double().numpy()), train.labels), scaler


@pytest.mark.parametrize("l2", [1.0, 1e-2, 1e-4])
def test_the_solution_is_that_of_scikit_learn(l2):
    train, other = blobs(300, 0), blobs(100, 1)
    expected, scaler = reference(train, l2)
    found = SoftmaxSolver(train, 3).fit(l2)
    assert found.converged
    logits = found.logits(other.features)
    wanted = expected.predict_log_proba(scaler.transform(other.features.double().numpy()))
    np.testing.assert_allclose(logits.log_softmax(dim=1), wanted, atol=5e-4, rtol=5e-4)
    agree = found.predict(other.features).numpy() == expected.predict(
        scaler.transform(other.features.double().numpy())
    )
    assert agree.mean() >= 0.99


def test_two_classes_and_more_than_one_block_of_columns():
    for classes in (2, 17):
        train = blobs(400, 0, classes=classes)
        expected, scaler = reference(train, 1e-2)
        found = SoftmaxSolver(train, classes).fit(1e-2)
        wanted = expected.predict(scaler.transform(train.features.double().numpy()))
        assert (found.predict(train.features).numpy() == wanted).mean() >= 0.99


def test_a_warm_start_ends_where_a_cold_one_does():
    train = blobs(300, 0)
    solver = SoftmaxSolver(train, 3)
    for l2 in (1.0, 0.1):
        solver.fit(l2)
    warm, cold = solver.fit(1e-2), SoftmaxSolver(train, 3).fit(1e-2)
    torch.testing.assert_close(warm.weight, cold.weight, atol=2e-3, rtol=2e-3)


def test_features_too_many_for_the_curvature_are_solved_all_the_same(monkeypatch):
    train = blobs(300, 0)
    full = SoftmaxSolver(train, 3).fit(1e-2)
    monkeypatch.setattr("dim_lightning.evaluation.softmax_regression._LARGEST_CURVATURE", 2)
    plain = SoftmaxSolver(train, 3).fit(1e-2)
    torch.testing.assert_close(plain.weight, full.weight, atol=2e-3, rtol=2e-3)


def test_more_features_than_images():
    train = blobs(30, 0, d=80)
    found = SoftmaxSolver(train, 3).fit(1e-2)
    assert found.converged
    assert (found.predict(train.features) == train.labels).all()


def test_a_solver_cut_short_says_so():
    assert not SoftmaxSolver(blobs(300, 0), 3).fit(1e-6, max_iterations=1).converged


def test_validation_chooses_the_penalty_and_the_test_split_does_not():
    # 40 useless features: a weak penalty fits noise
    train, val, test = (blobs(n, s, d=40, spread=4.0) for n, s in ((60, 0), (400, 1), (400, 2)))
    grid = (1.0, 1e-1, 1e-3, 1e-6)
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


def test_standardisation_keeps_constant_features_finite():
    features = blobs(100, 0).features
    mean, scale = standardisation(features)
    assert scale[-1] == 1
    standard = (features - mean) / scale
    torch.testing.assert_close(standard.mean(dim=0), torch.zeros(6), atol=1e-4, rtol=0)
    expected = torch.tensor([1.0, 1, 1, 1, 1, 0])
    torch.testing.assert_close(standard.std(dim=0, correction=0), expected, atol=1e-4, rtol=0)
