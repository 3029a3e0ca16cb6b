import warnings

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, top_k_accuracy_score
from sklearn.preprocessing import StandardScaler

from dim_lightning.errors import InputError
from dim_lightning.evaluation import Labelled, accuracies, knn_accuracy, linear_probe, mlp_probe
from dim_lightning.evaluation.classification import places
from dim_lightning.evaluation.knn import neighbours, votes
from dim_lightning.evaluation.offline import Splits, knn_figures
from dim_lightning.evaluation.paper_probe import paper_probe
from dim_lightning.evaluation.svm import linear_svm

CLASSES = 12


def drawn(n, seed=0, classes=CLASSES):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (n,), generator=generator)
    scores = torch.nn.functional.one_hot(labels, classes) + torch.randn(
        n, classes, generator=generator
    )
    return scores, labels


def top5_of_scikit_learn(scores, labels):
    """It takes the highest of classes of equal score first, so the classes are turned round."""
    classes = scores.shape[1]
    turned = scores.flip(1).double().numpy()
    return top_k_accuracy_score(classes - 1 - labels, turned, k=5, labels=np.arange(classes))


def scikit_learns(scores, labels):
    predicted = scores.argmax(1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "y_pred contains classes not in y_true")
        per_class = balanced_accuracy_score(labels, predicted)
    return {
        "top1": pytest.approx(accuracy_score(labels, predicted)),
        "top5": pytest.approx(top5_of_scikit_learn(scores, labels)),
        "mean_per_class": pytest.approx(per_class),
    }


@pytest.mark.parametrize("size", [1, 7, 500])
def test_the_figures_are_those_of_scikit_learn_in_blocks_of_any_size(size):
    scores, labels = drawn(500)
    expected = scikit_learns(scores, labels)
    assert accuracies(scores.split(size), labels) == expected
    assert expected["top1"] != expected["top5"].expected
    assert expected["top1"] != expected["mean_per_class"].expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_of_equal_scores_the_lower_class_comes_first(dtype):
    scores, labels = drawn(500)
    tied = scores.round().to(dtype)
    assert (tied.topk(6).values.diff() == 0).any(1).float().mean() > 0.9
    assert accuracies([tied], labels) == scikit_learns(tied, labels)


def test_scores_that_are_all_equal_are_worth_what_five_classes_are():
    labels = torch.arange(CLASSES).repeat(3)
    same = torch.zeros(len(labels), CLASSES)
    assert accuracies([same], labels) == {"top1": 1 / CLASSES, "top5": 5 / CLASSES}


def test_the_place_counts_the_classes_before():
    scores = torch.tensor([[0.3, 0.9, 0.3, 0.1]]).expand(4, 4)
    assert places(scores, torch.arange(4)).tolist() == [1, 0, 2, 3]


def test_what_is_no_number_never_helps():
    nan, labels = float("nan"), torch.arange(3)
    assert places(torch.full((3, 3), nan), labels).tolist() == [3, 3, 3]
    assert places(torch.tensor([[0.5, nan, 0.2]]).expand(3, 3), labels).tolist() == [1, 3, 2]
    scores = torch.full((CLASSES, CLASSES), nan)
    assert accuracies([scores], torch.arange(CLASSES)) == {"top1": 0, "top5": 0}


def test_a_class_that_is_not_predicted_is_not_among_the_five():
    scores = torch.full((CLASSES, CLASSES), -torch.inf)
    scores[:, 3], scores[:, 7] = 1.0, 2.0
    found = accuracies([scores], torch.arange(CLASSES))
    assert found == {"top1": 1 / CLASSES, "top5": 2 / CLASSES}


@pytest.mark.parametrize(("classes", "given"), [(10, False), (11, True)])
def test_top5_is_of_more_than_ten_classes(classes, given):
    scores, labels = drawn(50, classes=classes)
    assert ("top5" in accuracies([scores], labels)) == given


def test_classes_without_test_images_do_not_count():
    """Also where the classifier predicts them, and they are the last ones."""
    scores, labels = drawn(400)
    kept = (labels != 2) & (labels != CLASSES - 1)
    scores, labels = scores[kept], labels[kept]
    assert {2, CLASSES - 1} <= set(scores.argmax(1).tolist())
    assert accuracies([scores], labels) == scikit_learns(scores, labels)


def test_the_mean_over_classes_is_given_where_they_differ_in_number():
    scores, _ = drawn(24)
    even = torch.arange(CLASSES).repeat(2)
    some = torch.tensor([1, 4]).repeat(12)  # the others have none
    assert "mean_per_class" not in accuracies([scores], even)
    assert "mean_per_class" not in accuracies([scores], some)
    assert "mean_per_class" in accuracies([scores[1:]], even[1:])


def test_unlabelled_images_are_refused():
    scores, labels = drawn(20)
    with pytest.raises(InputError, match="1 of 20 images are unlabelled"):
        accuracies([scores], labels.index_fill(0, torch.tensor([3]), -1))


@pytest.mark.parametrize("temperature", [0.07, None])
def test_classes_that_have_no_vote_are_not_among_the_five(temperature):
    similarity = torch.tensor([[0.9, 0.8, 0.7]])
    found = votes(similarity, torch.tensor([[4, 2, 4]]), CLASSES, temperature)
    assert found.isfinite().nonzero()[:, 1].tolist() == [2, 4]
    right = [places(found, torch.tensor([c])).item() < 5 for c in range(CLASSES)]
    assert [c for c in range(CLASSES) if right[c]] == [2, 4]


def split(n, seed):
    scores, labels = drawn(n, seed)
    return Labelled(scores, labels)


def test_knn_counts_each_class_of_its_five_first():
    """By a plain count of the votes, class by class."""
    train, val, test = split(400, 0), split(50, 1), split(100, 2)
    found = knn_figures(Splits(train, val, test), CLASSES)["knn/euclidean/k20"]
    _, index = neighbours(test.features, train.features, 20, "euclidean")
    hits = 0
    for row, label in zip(train.labels[index].tolist(), test.labels.tolist(), strict=True):
        order = sorted(set(row), key=lambda one, row=row: (-row.count(one), one))
        hits += label in order[:5]
    assert found["top5"] == hits / 100
    top1 = knn_accuracy(test.features, test.labels, *train, CLASSES, metric="euclidean")
    assert found["top1"] == top1 < found["top5"] < 1


def test_the_figures_of_the_linear_probe_are_those_of_scikit_learns():
    train, val, test = split(800, 0), split(200, 1), split(300, 2)
    found = linear_probe(train, val, test, CLASSES)
    scaler = StandardScaler().fit(train.features)
    model = LogisticRegression(C=1 / (len(train.labels) * found.l2), max_iter=1000, tol=1e-8)
    model.fit(scaler.transform(train.features), train.labels)
    logits = torch.from_numpy(model.decision_function(scaler.transform(test.features)))
    expected = scikit_learns(logits, test.labels)
    assert found.test.keys() == expected.keys()
    for name, figure in found.test.items():  # to an image or two
        assert figure == pytest.approx(expected[name].expected, abs=0.007)


@pytest.mark.parametrize(
    "measured",
    [
        lambda train, val, test: mlp_probe(train, test, CLASSES, epochs=5),
        lambda train, val, test: paper_probe(train, val, test, CLASSES, epochs=3).averaged,
        lambda train, val, test: paper_probe(train, val, test, CLASSES, epochs=3).chosen,
        lambda train, val, test: linear_svm(train, val, test, grid=(1e-3,)).test,
    ],
)
def test_every_probe_has_all_three(measured):
    found = measured(split(400, 0), split(100, 1), split(150, 2))
    assert found.keys() == {"top1", "top5", "mean_per_class"}
    assert found["top1"] < found["top5"] < 1


def test_a_class_that_no_machine_knows_is_never_right():
    train, val, test = split(400, 0), split(100, 1), split(200, 2)
    known = train.labels != 5
    some = Labelled(train.features[known], train.labels[known])
    found = linear_svm(some, val, test, grid=(1e-3,)).test
    assert found["top5"] <= (test.labels != 5).double().mean().item()
