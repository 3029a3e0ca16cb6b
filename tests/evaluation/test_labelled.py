"""What is no class of each row of features, or one of others, is said, and is no accuracy."""

import pytest
import torch

from dim_lightning.errors import InputError
from dim_lightning.evaluation import (
    Labelled,
    accuracies,
    accuracy,
    alignment,
    geometry_of,
    knn_accuracy,
    knn_predict,
    linear_probe,
    mlp_probe,
)
from dim_lightning.evaluation.paper_probe import paper_probe
from dim_lightning.evaluation.svm import linear_svm

pytestmark = pytest.mark.usefixtures("as_in_a_script")
FEATURES, LABELS = torch.rand(40, 3), torch.arange(40) % 2
WHOLE = Labelled(FEATURES, LABELS)

MEASURES = {
    "linear": lambda part: linear_probe(WHOLE, part, WHOLE, 2),
    "mlp": lambda part: mlp_probe(WHOLE, part, 2),
    "paper": lambda part: paper_probe(part, WHOLE, WHOLE, 2),
    "svm": lambda part: linear_svm(WHOLE, WHOLE, part),
    "bank": lambda part: knn_predict(FEATURES, *part, 2),
    "queries": lambda part: knn_accuracy(*part, *WHOLE, 2),
}
WRONG = {
    r"features are \[40, 3\] and labels \[39\]": (FEATURES, LABELS[1:]),
    r"features are \[40\] and labels \[40\]": (FEATURES[:, 0], LABELS),
    r"features are \[40, 3\] and labels \[40, 1\]": (FEATURES, LABELS[:, None]),
    r"features are \[0, 3\] and labels \[0\]; .* at least one": (FEATURES[:0], LABELS[:0]),
    r"labels are float32 \[40\]; expected int64": (FEATURES, LABELS.float()),
    "given as ndarray and Tensor; expected Labelled": (FEATURES.numpy(), LABELS),
}


@pytest.mark.parametrize("said", WRONG)
@pytest.mark.parametrize("measure", MEASURES)
def test_what_is_no_class_of_each_is_said(measure, said):
    with pytest.raises(InputError, match=said):
        MEASURES[measure](Labelled(*WRONG[said]))


@pytest.mark.parametrize("measure", [name for name in MEASURES if name != "svm"])
def test_a_class_beyond_the_last_is_said(measure):
    with pytest.raises(InputError, match=r"images of class 2, and 2 classes; .* to at least 3"):
        MEASURES[measure](Labelled(FEATURES, LABELS + 1))


def test_a_plain_pair_is_said():
    with pytest.raises(InputError, match=r"given as tuple; expected Labelled\(features, labels\)"):
        linear_probe((FEATURES, LABELS), WHOLE, WHOLE, 2)


@pytest.mark.parametrize("labels", [LABELS[:1], LABELS[:, None], LABELS[:39], LABELS[:0]])
def test_labels_are_not_broadcast(labels):
    with pytest.raises(InputError, match=r"shapes are predicted|labels are int64"):
        accuracy(LABELS, labels)


@pytest.mark.parametrize("size", [40, 16])
@pytest.mark.parametrize("number", [39, 41])
def test_there_are_as_many_scores_as_labels(size, number):
    labels = torch.arange(number) % 3
    with pytest.raises(InputError, match=f"scores of 40 images and {number} labels"):
        accuracies(FEATURES.split(size), labels)


def test_scores_have_a_column_of_each_class():
    with pytest.raises(InputError, match="images of class 3, and 3 classes"):
        accuracies(FEATURES, torch.arange(40) % 4)


def test_scores_may_come_in_one_piece():
    assert accuracies(FEATURES, LABELS) == accuracies(FEATURES.split(7), LABELS)


def test_codes_are_not_broadcast():
    with pytest.raises(InputError, match=r"first \[40, 3\] and second \[1, 3\]; expected the same"):
        alignment(FEATURES, FEATURES[:1])
    with pytest.raises(InputError, match=r"mean \[40, 3\] and log_variance \[3\]"):
        geometry_of(FEATURES, torch.zeros(3))
