import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from dim_lightning.errors import InputError
from dim_lightning.evaluation import (
    Labelled,
    accuracy,
    knn_accuracy,
    knn_predict,
    linear_probe,
    mlp_probe,
    neighbours,
    vote,
)
from dim_lightning.evaluation.knn import METRICS, neighbours_by
from dim_lightning.evaluation.paper_probe import paper_probe
from dim_lightning.evaluation.svm import linear_svm


def vectors(n, d, seed):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def naive_order(queries, bank, metric):
    """Values in float64, one pair at a time, and the order of the bank."""
    q, b = queries.double().numpy(), bank.double().numpy()
    values = np.empty((len(q), len(b)))
    for i in range(len(q)):
        for j in range(len(b)):
            if metric == "cosine":
                values[i, j] = q[i] @ b[j] / (np.linalg.norm(q[i]) * np.linalg.norm(b[j]))
            else:
                values[i, j] = np.linalg.norm(q[i] - b[j])
    order = np.argsort(-values if metric == "cosine" else values, axis=1)
    return values, order


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("chunk", [None, 1, 4])
def test_neighbours_are_those_of_the_naive_search(metric, chunk):
    queries, bank = vectors(9, 5, 0), vectors(40, 5, 1) + 3  # off centre, as codes may be
    values, order = naive_order(queries, bank, metric)
    found, index = neighbours(queries, bank, 7, metric, chunk=chunk)
    np.testing.assert_array_equal(index, order[:, :7])
    expected = np.take_along_axis(values, order[:, :7], axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("narrowed", [False, True])
def test_both_metrics_at_once(narrowed, monkeypatch):
    monkeypatch.setattr("dim_lightning.evaluation.search._pays", lambda *_: narrowed)
    queries, bank = vectors(9, 5, 0), vectors(400, 5, 1) + 3
    for metric, (found, index) in neighbours_by(METRICS, queries, bank, 7).items():
        values, order = naive_order(queries, bank, metric)
        np.testing.assert_array_equal(index, order[:, :7])
        expected = np.take_along_axis(values, order[:, :7], axis=1)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_euclidean_distances_survive_a_far_away_cloud():
    cloud = vectors(50, 3, 0)
    near = neighbours(cloud[:5], cloud, 3, "euclidean")
    far = neighbours(cloud[:5] + 1000, cloud + 1000, 3, "euclidean")
    assert torch.equal(near[1], far[1])
    torch.testing.assert_close(near[0], far[0], atol=2e-2, rtol=0)


def test_a_query_in_the_bank_finds_itself():
    bank = vectors(30, 4, 0)
    for metric in ("cosine", "euclidean"):
        assert torch.equal(neighbours(bank, bank, 1, metric)[1][:, 0], torch.arange(30))


def test_near_distances_are_as_exact_as_far_ones():
    bank = torch.tensor([[0.0, 0.0], [0.1, 0.0], [3.0, 4.0]])
    distances, _ = neighbours(bank[:1], bank, 3, "euclidean")
    torch.testing.assert_close(distances, torch.tensor([[0.0, 0.1, 5.0]]), rtol=1e-5, atol=2e-3)


def test_a_code_of_zeros_is_like_nothing():
    similarity, _ = neighbours(torch.zeros(1, 4), vectors(5, 4, 0), 5)
    assert torch.equal(similarity, torch.zeros(1, 5))


@given(scale=st.floats(1e-3, 1e3))
def test_the_cosine_search_sees_directions_only(scale):
    queries, bank = vectors(4, 6, 0), vectors(20, 6, 1)
    similarity, index = neighbours(queries, bank, 3)
    found = neighbours(scale * queries, bank / scale, 3)
    assert torch.equal(found[1], index)
    torch.testing.assert_close(found[0], similarity)


def test_rounding_leaves_similarities_within_one():
    bank = vectors(500, 7, 0)
    assert neighbours(bank, bank, 1)[0].max() <= 1
    assert neighbours(-bank, bank, 500)[0].min() >= -1


@pytest.mark.parametrize("metric", METRICS)
def test_codes_of_half_precision_are_searched_in_float32(metric):
    queries, bank = vectors(9, 5, 0).bfloat16(), vectors(40, 5, 1).bfloat16()
    values, index = neighbours(queries, bank, 7, metric)
    expected = neighbours(queries.float(), bank.float(), 7, metric)
    torch.testing.assert_close((values, index), expected)


@pytest.mark.parametrize("k", [0, 6])
def test_more_neighbours_than_images_are_refused(k):
    with pytest.raises(InputError, match="bank of 5 images"):
        neighbours(vectors(2, 3, 0), vectors(5, 3, 1), k)


@pytest.mark.usefixtures("as_in_a_script")
def test_an_unknown_metric_is_refused():
    with pytest.raises(InputError, match="metric is 'l2'; expected one of cosine, euclidean"):
        neighbours(vectors(2, 3, 0), vectors(5, 3, 1), 2, metric="l2")


@pytest.mark.parametrize("temperature", [0.0, -0.07, float("nan")])
def test_a_temperature_that_cannot_be_is_refused(temperature):
    with pytest.raises(
        InputError, match=f"temperature is {temperature}; expected None or a number above 0"
    ):
        knn_predict(
            vectors(2, 3, 0), vectors(5, 3, 1), torch.arange(5), 5, k=2, temperature=temperature
        )


@pytest.mark.parametrize("metric", METRICS)
def test_vectors_may_carry_a_graph(metric):
    queries, bank = vectors(9, 5, 0), vectors(40, 5, 1)
    learned = [each.clone().requires_grad_() * 1 for each in (queries, bank)]
    torch.testing.assert_close(
        neighbours(*learned, 7, metric), neighbours(queries, bank, 7, metric)
    )


def test_no_queries_find_nothing():
    values, index = neighbours(torch.empty(0, 3), vectors(5, 3, 1), 2)
    assert values.shape == index.shape == (0, 2)


def test_the_weighted_vote_is_that_of_scikit_learn():
    queries, bank = vectors(60, 5, 0), vectors(200, 5, 1)
    labels = torch.randint(0, 4, (200,), generator=torch.Generator().manual_seed(2))
    reference = KNeighborsClassifier(
        20, metric="cosine", algorithm="brute", weights=lambda d: np.exp((1 - d) / 0.07)
    ).fit(bank.double().numpy(), labels)
    expected = reference.predict(queries.double().numpy())
    np.testing.assert_array_equal(knn_predict(queries, bank, labels, 4), expected)


def test_the_euclidean_vote_is_that_of_scikit_learn():
    queries, bank = vectors(60, 5, 0), vectors(200, 5, 1)
    labels = torch.randint(0, 4, (200,), generator=torch.Generator().manual_seed(2))
    reference = KNeighborsClassifier(20, algorithm="brute").fit(bank.numpy(), labels)
    predicted = knn_predict(queries, bank, labels, 4, metric="euclidean")
    np.testing.assert_array_equal(predicted, reference.predict(queries.numpy()))


def test_near_neighbours_outvote_many_far_ones():
    similarity = torch.tensor([[0.9, 0.1, 0.1, 0.1]])
    labels = torch.tensor([[1, 0, 0, 0]])
    assert vote(similarity, labels, 2, temperature=0.07).tolist() == [1]
    assert vote(similarity, labels, 2, temperature=None).tolist() == [0]


def test_votes_of_a_tiny_temperature_stay_finite():
    similarity = torch.tensor([[1.0, 0.999]])
    assert vote(similarity, torch.tensor([[2, 0]]), 3, temperature=1e-4).tolist() == [2]
    apart = torch.tensor([[1.0, 0.9, -1.0]])
    assert vote(apart, torch.tensor([[2, 0, 1]]), 3, temperature=1e-4).tolist() == [2]


def test_accuracy_counts_images_and_not_classes():
    bank = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    queries = torch.tensor([[1.0, 0.1], [1.0, 0.2], [1.0, 0.3], [0.9, 1.0]])
    labels = torch.tensor([0, 0, 0, 0])  # the last one is nearer to class 1
    accuracy = knn_accuracy(queries, labels, bank, torch.tensor([0, 1]), 2, k=1)
    assert accuracy == 0.75


@pytest.mark.parametrize(
    "measure",
    [
        lambda whole, part: accuracy(whole.labels, part.labels),
        lambda whole, part: knn_predict(whole.features, *part, 2),
        lambda whole, part: knn_accuracy(*part, *whole, 2),
        lambda whole, part: linear_probe(whole, part, whole, 2),
        lambda whole, part: mlp_probe(part, whole, 2),
        lambda whole, part: linear_svm(whole, whole, part),
        lambda whole, part: paper_probe(whole, part, whole, 2),
    ],
)
def test_unlabelled_images_are_refused_and_no_errors(measure):
    features, labels = torch.rand(40, 3), torch.arange(40) % 2
    part = Labelled(features, labels.where(torch.arange(40) % 4 > 0, -1))
    with pytest.raises(InputError, match="10 of 40 images are unlabelled"):
        measure(Labelled(features, labels), part)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    "measure",
    [
        lambda whole, part: knn_predict(whole.features, *part, 2),
        lambda whole, part: knn_accuracy(*part, *whole, 2, metric="euclidean"),
        lambda whole, part: linear_probe(whole, whole, part, 2),
        lambda whole, part: mlp_probe(whole, part, 2),
        lambda whole, part: linear_svm(whole, part, whole),
        lambda whole, part: paper_probe(whole, part, whole, 2),
    ],
)
def test_features_that_are_no_numbers_have_no_accuracy(measure, value):
    features, labels = torch.rand(40, 3), torch.arange(40) % 2
    spoilt = features.clone()
    spoilt[7, 1] = value
    with pytest.raises(InputError, match="features are NaN or infinite; expected finite numbers"):
        measure(Labelled(features, labels), Labelled(spoilt, labels))
