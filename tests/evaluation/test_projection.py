import numpy as np
import pytest
from sklearn.decomposition import PCA

from dim_lightning.evaluation.projection import principal_projection


@pytest.fixture
def vectors():
    generator = np.random.default_rng(0)
    scale = np.array([3.0, 0.1, 2.0, 0.5, 1.0])
    return (5 + generator.standard_normal((200, 5)) * scale).astype(np.float32)


def test_equal_to_scikit_learns_up_to_the_sign(vectors):
    found = principal_projection(np.array_split(vectors, 7)).of(vectors)
    expected = PCA(2, svd_solver="full").fit_transform(vectors)
    signs = np.sign((found * expected).sum(axis=0))
    np.testing.assert_allclose(found, expected * signs, atol=1e-4)


def test_the_sign_depends_on_nothing_but_the_axis(vectors):
    projection = principal_projection([vectors])
    turned = principal_projection([-vectors])
    np.testing.assert_allclose(projection.axes, turned.axes, atol=1e-9)
    assert (projection.axes.max(axis=0) >= -projection.axes.min(axis=0)).all()


def test_codes_of_one_number_have_a_second_coordinate_of_zero(vectors):
    found = principal_projection([vectors[:, :1]]).of(vectors[:, :1])
    np.testing.assert_allclose(found[:, 0], vectors[:, 0] - vectors[:, 0].mean(), atol=1e-5)
    assert (found[:, 1] == 0).all()
