import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from small_features import blobs

from dim_lightning.errors import InputError
from dim_lightning.evaluation import Labelled, linear_probe
from dim_lightning.evaluation.conditioning import standardisation
from dim_lightning.evaluation.softmax_regression import SoftmaxSolver


def reference(train, l2):
    scaler = StandardScaler().fit(train.features.double().numpy())
    model = LogisticRegression(C=1 / (len(train.labels) * l2), tol=1e-10, max_iter=10_000)
    return model.fit(scaler.transform(train.features.double().numpy()), train.labels), scaler


@pytest.mark.parametrize("product_dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("l2", [1.0, 1e-2, 1e-4])
def test_the_solution_is_that_of_scikit_learn(l2, product_dtype):
    train, other = blobs(300, 0), blobs(100, 1)
    expected, scaler = reference(train, l2)
    found = SoftmaxSolver(train, 3, tolerance=1e-9, product_dtype=product_dtype).fit(l2)
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
    monkeypatch.setattr("dim_lightning.evaluation.softmax_regression.LARGEST_CURVATURE", 2)
    plain = SoftmaxSolver(train, 3).fit(1e-2)
    torch.testing.assert_close(plain.weight, full.weight, atol=2e-3, rtol=2e-3)


def test_more_features_than_images():
    train = blobs(30, 0, d=80)
    found = SoftmaxSolver(train, 3).fit(1e-2)
    assert found.converged
    assert (found.predict(train.features) == train.labels).all()


@pytest.mark.parametrize("l2", [1e-3, 1e-5])
def test_the_tolerance_holds_where_all_images_come_to_be_classified(l2):
    """The Hessian vanishes on the way: what is left cannot be told from where a step began."""
    generator = torch.Generator().manual_seed(2)
    labels = torch.arange(200) % 10
    centres = 0.1 * torch.randn(10, 400, generator=generator)
    train = Labelled(centres[labels] + torch.randn(200, 400, generator=generator), labels)
    expected, scaler = reference(train, l2)
    standardised = scaler.transform(train.features.double().numpy())
    log_prob = expected.predict_log_proba(standardised)[np.arange(200), labels.numpy()]
    best = -log_prob.mean() + l2 / 2 * np.square(expected.coef_).sum()
    found = SoftmaxSolver(train, 10, tolerance=1e-5).fit(l2)
    assert found.converged
    assert objective(found, train, l2) - best <= 2e-5


def test_a_solver_cut_short_says_so():
    assert not SoftmaxSolver(blobs(300, 0), 3).fit(1e-6, max_products=1).converged


def objective(model, train, l2):
    """Mean cross-entropy + l2 / 2 |W|^2 of the weights of the standardised features."""
    _, scale = standardisation(train.features)
    loss = torch.nn.functional.cross_entropy(model.logits(train.features).double(), train.labels)
    return (loss + l2 / 2 * (model.weight * scale[:, None]).double().square().sum()).item()


@pytest.mark.parametrize("product_dtype", [torch.float32, torch.bfloat16])
def test_the_tolerance_is_one_in_nats(product_dtype):
    train = blobs(2000, 0, d=40, classes=5)
    best = objective(SoftmaxSolver(train, 5, tolerance=1e-10).fit(1e-3), train, 1e-3)
    for tolerance in (1e-4, 1e-6):
        found = SoftmaxSolver(train, 5, tolerance, product_dtype).fit(1e-3)
        assert found.converged
        # what is known of the distance is an estimate
        assert objective(found, train, 1e-3) - best <= 3 * tolerance


def test_an_outlier_does_not_lead_the_solver_astray():
    # far from the others and on the wrong side: Newton's whole step leads upwards
    train = blobs(300, 0)
    train.features[0] += 1e3 * (train.features[1] - train.features[0])
    for product_dtype in (torch.float32, torch.bfloat16):
        found = SoftmaxSolver(train, 3, product_dtype=product_dtype).fit(1e-5)
        assert found.converged
        assert objective(found, train, 1e-5) < math.log(3)


def test_standardisation_keeps_constant_features_finite():
    features = blobs(100, 0).features
    mean, scale = standardisation(features)
    assert scale[-1] == 1
    standard = (features - mean) / scale
    torch.testing.assert_close(standard.mean(dim=0), torch.zeros(6), atol=1e-4, rtol=0)
    expected = torch.tensor([1.0, 1, 1, 1, 1, 0])
    torch.testing.assert_close(standard.std(dim=0, correction=0), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("noise", [0.0, 1e-4])
def test_features_that_are_all_but_one_are_solved(noise):
    """A collapsed encoder's: rounding leaves their second moment indefinite."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 2
    shade = labels + 0.2 * torch.randn(400, generator=generator)
    features = shade[:, None] + noise * torch.randn(400, 1024, generator=generator)
    part = Labelled(features, labels)
    result = linear_probe(part, part, part, 2)
    assert result.converged
    assert result.top1 > 0.98


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_features_that_are_no_numbers_are_refused(value):
    features = torch.rand(40, 3)
    features[7, 1] = value
    with pytest.raises(InputError, match="features are NaN or infinite"):
        SoftmaxSolver(Labelled(features, torch.arange(40) % 2), 2)


@pytest.mark.parametrize("narrow", [torch.bfloat16, torch.float16])
def test_narrow_features_have_no_narrow_statistics(narrow):
    features = (10 + 0.3 * torch.randn(400, 3, generator=torch.Generator().manual_seed(0))).to(
        narrow
    )
    for found, expected in zip(
        standardisation(features), standardisation(features.double()), strict=True
    ):
        torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=0)
