"""The figures of frozen features, layer by layer."""

from collections.abc import Iterator, Sequence
from statistics import fmean, stdev
from typing import Literal, NamedTuple

from torch import Tensor

from dim_lightning.evaluation.classification import AT_ONCE, Accuracies, accuracies
from dim_lightning.evaluation.knn import METRICS, neighbours_by, votes
from dim_lightning.evaluation.labelled import Labelled, few_labelled
from dim_lightning.evaluation.paper_probe import paper_probe
from dim_lightning.evaluation.probes import LinearResult, linear_probe, mlp_probe
from dim_lightning.evaluation.svm import SVMResult, linear_svm

MLPProtocol = Literal["short", "paper"]

LINEAR, SVM, MLP = "probe/linear", "probe/svm", "probe/mlp200"
PAPER, CHOSEN = "probe/mlp200_paper", "probe/mlp200_paper_chosen"
FEW = "probe/few_labels"  # what begins the names of these protocols, one for each share
FINE_TUNED = "fine_tuned"
# the settings of each measure that a test may leave out, its own switch first -> what begins the
# names of its figures
OPTIONAL = {
    ("mlp_epochs", "mlp_protocol", "repeats"): MLP,
    ("svm",): SVM,
    ("few_labels",): FEW,
    ("decoder_epochs",): "decoder",
    ("mine_epochs",): "mine",
    ("ndm_epochs",): "ndm",
    ("fine_tune_epochs",): FINE_TUNED,
}
KNN_SETTINGS = ((20, 0.07), (200, 0.1))


class Splits(NamedTuple):
    """One kind of features of the three splits: fitted on, choosing penalties, reported."""

    train: Labelled
    val: Labelled
    test: Labelled


class LayerResult(NamedTuple):
    """What `layer_figures` found.

    Attributes:
        figures: protocol -> test accuracies in [0, 1]; where it was repeated, their means, and
            top1_std, the standard deviation of top1 over seeds.
        linear: how the linear probe among them was found; None where it was left out.
        svm: how the SVM among them was found; None where it was left out.
        not_converged: the protocols whose probe, or one of whose probes, was not solved.
    """

    figures: dict[str, Accuracies]
    linear: LinearResult | None
    svm: SVMResult | None
    not_converged: list[str]


def layer_figures(
    splits: Splits,
    num_classes: int,
    *,
    mlp_epochs: int = 30,
    seed: int = 0,
    linear_dim: int | None = None,
    svm: bool = False,
    mlp_protocol: MLPProtocol = "short",
    repeats: int = 1,
    few_labels: Sequence[float] = (),
) -> LayerResult:
    """Every protocol on one kind of features: those of the probes and of `knn_figures`.

    Args:
        splits: the features.
        num_classes: c.
        mlp_epochs: of the short MLP probe; 0 leaves out that of the paper as well.
        seed: of the MLP probe and of few labels; the first of those that repeat them.
        linear_dim: most features to which linear probe and SVM are fitted; any number if None.
        svm: whether to fit it.
        mlp_protocol: short: `MLP`; paper: `PAPER` and `CHOSEN`, see `mlp_figures`.
        repeats: how many seeds these have. The others have no draws.
        few_labels: shares of the images, in (0, 1), to whose labels alone the linear probe is
            fitted as well, see `few_label_probe`.
    """
    narrow = linear_dim is None or splits.train.features.shape[1] <= linear_dim
    linear = linear_probe(*splits, num_classes) if narrow else None
    machine = linear_svm(*splits) if narrow and svm else None
    solved: dict[str, list[LinearResult] | list[SVMResult]] = {
        LINEAR: [linear] if linear else [],
        SVM: [machine] if machine else [],
    }
    figures = {name: one.test for name, probes in solved.items() for one in probes}
    seeds = range(seed, seed + repeats)
    series: dict[str, list[Accuracies]] = {}
    for share in few_labels if narrow else ():
        name = f"{FEW}/{share:g}"
        solved[name] = [few_label_probe(splits, num_classes, share, each) for each in seeds]
        series[name] = [one.test for one in solved[name]]
    if mlp_epochs > 0:
        found = [mlp_figures(splits, num_classes, mlp_protocol, mlp_epochs, s) for s in seeds]
        series |= {name: [one[name] for one in found] for name in found[0]}
    figures |= {name: _over_seeds(found) for name, found in series.items()}
    figures |= knn_figures(splits, num_classes)
    unsolved = [name for name, probes in solved.items() if not all(p.converged for p in probes)]
    return LayerResult(figures, linear, machine, unsolved)


def _over_seeds(found: Sequence[Accuracies]) -> Accuracies:
    figures = {name: fmean(one[name] for one in found) for name in found[0]}
    if len(found) > 1:
        figures["top1_std"] = stdev(one["top1"] for one in found)
    return figures


def few_label_probe(splits: Splits, num_classes: int, share: float, seed: int) -> LinearResult:
    """The linear probe where only a share of the images that it is fitted to has labels.

    As the penalty is chosen on the same share of the validation images, no other label is used.

    Args:
        splits: the features.
        num_classes: c.
        share: of the training and the validation images of each class, see `few_labelled`.
        seed: of the draw.
    """
    train, val = (few_labelled(part, share, seed) for part in (splits.train, splits.val))
    return linear_probe(train, val, splits.test, num_classes)


def mlp_figures(
    splits: Splits, num_classes: int, protocol: MLPProtocol, epochs: int, seed: int
) -> dict[str, Accuracies]:
    """Protocol -> test accuracies in [0, 1] of the network with 200 units.

    Args:
        splits: the features.
        num_classes: c.
        protocol: short: `mlp_probe`, named `MLP`; paper: `paper_probe`, its mean of the last 100
            epochs named `PAPER`, its epoch chosen on the validation split `CHOSEN`.
        epochs: of the short one.
        seed: of all draws.
    """
    if protocol == "short":
        train, _, test = splits
        return {MLP: mlp_probe(train, test, num_classes, epochs=epochs, seed=seed)}
    found = paper_probe(*splits, num_classes, seed=seed)
    return {PAPER: found.averaged, CHOSEN: found.chosen}


def knn_figures(splits: Splits, num_classes: int) -> dict[str, Accuracies]:
    """Protocol -> test accuracies in [0, 1] of the vote of the nearest training images.

    Both metrics and each of `KNN_SETTINGS` that the training split is large enough for. The names
    say k, and the temperature where it plays a part: in Euclidean votes all neighbours are equal.
    """
    figures: dict[str, Accuracies] = {}
    train, test = splits.train, splits.test
    possible = [(k, t) for k, t in KNN_SETTINGS if k <= len(train.labels)]
    if not possible:
        return figures
    largest = max(k for k, _ in possible)
    found_by = neighbours_by(METRICS, test.features, train.features, largest)
    for metric, (value, index) in found_by.items():
        for k, t in possible:
            weighted = metric == "cosine"
            found = train.labels[index[:, :k]]
            blocks = _votes(value[:, :k], found, num_classes, t if weighted else None)
            name = f"knn/{metric}/k{k}" + (f"_t{t}" if weighted else "")
            figures[name] = accuracies(blocks, test.labels)
    return figures


def _votes(
    similarity: Tensor, labels: Tensor, num_classes: int, temperature: float | None
) -> Iterator[Tensor]:
    """Those of some queries after the other."""
    pairs = zip(similarity.split(AT_ONCE), labels.split(AT_ONCE), strict=True)
    return (votes(some, theirs, num_classes, temperature) for some, theirs in pairs)
