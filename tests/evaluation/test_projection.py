import numpy as np
import pytest
from sklearn.decomposition import PCA

from dim_lightning.evaluation import projection
from dim_lightning.evaluation.projection import principal_projection


@pytest.fixture
def vectors():
    generator = np.random.default_rng(0)
    scale = np.array([3.0, 0.1, 2.0, 0.5, 1.0])
    return (5 + generator.standard_normal((200, 5)) * scale).astype(np.float32)


def test_equal_to_scikit_learns_up_to_the_sign(vectors):
    found = principal_projection(lambda: np.array_split(vectors, 7)).of(vectors)
    expected = PCA(2, svd_solver="full").fit_transform(vectors)
    signs = np.sign((found * expected).sum(axis=0))
    np.testing.assert_allclose(found, expected * signs, atol=1e-4)


def test_wide_vectors_have_the_same_axes_without_a_matrix_of_their_moments(monkeypatch):
    generator = np.random.default_rng(1)
    scale = np.concatenate([[9.0, 6.0], np.linspace(3, 0.1, 398)])
    wide = (100 + generator.standard_normal((150, 400)) * scale).astype(np.float32)
    expected = principal_projection(lambda: [wide])
    monkeypatch.setattr(projection, "_LARGEST_MOMENT", 399)
    found = principal_projection(lambda: np.array_split(wide, 4))
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-6)
    np.testing.assert_allclose(found.axes, expected.axes, atol=1e-3)
    np.testing.assert_allclose(found.of(wide), expected.of(wide), atol=1e-2)


@pytest.mark.parametrize("value", [0.0, 0.1])
def test_wide_vectors_that_are_all_alike_have_coordinates_of_zero(monkeypatch, value):
    monkeypatch.setattr(projection, "_LARGEST_MOMENT", 3)
    alike = np.full((6, 50), value, np.float32)
    found = principal_projection(lambda: [alike]).of(alike)
    np.testing.assert_allclose(found, np.zeros((6, 2)), atol=1e-5)


def test_the_sign_depends_on_nothing_but_the_axis(vectors):
    straight = principal_projection(lambda: [vectors])
    turned = principal_projection(lambda: [-vectors])
    np.testing.assert_allclose(straight.axes, turned.axes, atol=1e-9)
    assert (straight.axes.max(axis=0) >= -straight.axes.min(axis=0)).all()


def test_codes_of_one_number_have_a_second_coordinate_of_zero(vectors):
    found = principal_projection(lambda: [vectors[:, :1]]).of(vectors[:, :1])
    np.testing.assert_allclose(found[:, 0], vectors[:, 0] - vectors[:, 0].mean(), atol=1e-5)
    assert (found[:, 1] == 0).all()
