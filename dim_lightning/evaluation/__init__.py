"""Frozen features to numbers: plain functions on tensors.

Those that draw seed the generators of the whole process meanwhile, and so are for one thread at a
time.

features.py   an encoder and batches of images -> features, layer by layer, and pixels
labelled.py   features with a class of each, and what is looked at before they are used
classification.py   scores of classes -> top-1 and top-5 accuracy, and the mean over classes
search.py     the rows of a bank that come first for a query
knn.py        nearest neighbours and their vote
conditioning.py   features standardised, and what makes their linear classifiers easy to find
softmax_regression.py   the convex problem of the linear probe, solved to convergence
probes.py     the linear probe with its penalty chosen, and the paper's MLP with 200 units
paper_probe.py   that network trained and reported as in the paper
svm.py        a linear support vector machine, its penalty chosen
offline.py    the figures of the test images, layer by layer
reconstruction.py   MS-SSIM of what a decoder makes of the codes
untrained.py   an encoder with fresh weights, the floor of the others
dependency.py   nats between image and code (MINE), and among a code's dimensions (NDM)
fine_tuning.py   the whole encoder trained on with labels
fitting.py    what all networks fitted here share: draws and epochs
geometry.py   effective rank, alignment, uniformity and the moments of the codes
code_prior.py   what codes that follow their prior look like
projection.py   two coordinates of a code, to be looked at
"""

from dim_lightning.evaluation.classification import Accuracies, accuracies, accuracy
from dim_lightning.evaluation.dependency import (
    Estimate,
    Paired,
    mutual_information,
    total_correlation,
)
from dim_lightning.evaluation.features import Extracted, extract, observing, pixels
from dim_lightning.evaluation.fine_tuning import LabelledImages, fine_tuned
from dim_lightning.evaluation.geometry import (
    CodeStatistics,
    alignment,
    effective_rank,
    geometry_of,
    uniformity,
)
from dim_lightning.evaluation.knn import knn_accuracy, knn_predict, neighbours, vote
from dim_lightning.evaluation.labelled import Labelled, few_labelled
from dim_lightning.evaluation.paper_probe import PaperResult, paper_probe
from dim_lightning.evaluation.probes import LinearResult, linear_probe, mlp_probe
from dim_lightning.evaluation.reconstruction import Coded, Decoded, ms_ssim, reconstruction
from dim_lightning.evaluation.svm import SVMResult, linear_svm
from dim_lightning.evaluation.untrained import untrained

__all__ = [
    "Accuracies",
    "CodeStatistics",
    "Coded",
    "Decoded",
    "Estimate",
    "Extracted",
    "Labelled",
    "LabelledImages",
    "LinearResult",
    "Paired",
    "PaperResult",
    "SVMResult",
    "accuracies",
    "accuracy",
    "alignment",
    "effective_rank",
    "extract",
    "few_labelled",
    "fine_tuned",
    "geometry_of",
    "knn_accuracy",
    "knn_predict",
    "linear_probe",
    "linear_svm",
    "mlp_probe",
    "ms_ssim",
    "mutual_information",
    "neighbours",
    "observing",
    "paper_probe",
    "pixels",
    "reconstruction",
    "total_correlation",
    "uniformity",
    "untrained",
    "vote",
]
