"""Each layer of an encoder and its floors, measured after `test`."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import lightning as L
from torch import Tensor

from dim_lightning.callbacks.code_measures import NAMES
from dim_lightning.callbacks.observation import data_of
from dim_lightning.callbacks.offline_table import figure_name
from dim_lightning.callbacks.so_far import SoFar
from dim_lightning.errors import InputError
from dim_lightning.evaluation import Accuracies, Extracted, Labelled, accuracy, extract, pixels
from dim_lightning.evaluation.offline import Splits, layer_figures
from dim_lightning.evaluation.untrained import untrained
from dim_lightning.run.accuracies import PIXELS, RANDOM, row_name

# the settings on which the figures of a layer depend
LAYER_SETTINGS = (
    *("mlp_epochs", "mlp_protocol", "repeats", "few_labels", "seed"),
    *("linear_dim", "svm"),
)
_STATISTICS_IMAGES = 2500


class MeasuredLayers(NamedTuple):
    """What was found.

    Attributes:
        figures: row -> protocol -> its accuracies, in [0, 1].
        facts: what else there is to know, for result.json.
    """

    figures: dict[str, dict[str, Accuracies]]
    facts: dict[str, Any]


def measured_layers(
    trainer: L.Trainer,
    pl_module: L.LightningModule,
    taken: Sequence[Extracted],
    so_far: SoFar,
    floors: bool,
    settings: Mapping[str, Any],
) -> MeasuredLayers:
    """Measures layer after layer, on the pictures of the Trainer's data.

    Args:
        trainer: after a test, with data that has labels.
        pl_module: whose encoder is looked at; it prints.
        taken: features of the splits of `Splits`, in their order; let go layer by layer.
        so_far: what is not measured again.
        floors: whether to measure the untrained encoder and raw pixels, too.
        settings: those of LAYER_SETTINGS, by name.
    """
    rows = {}
    num_classes = data_of(trainer).num_classes
    assert num_classes is not None
    kinds = _kinds(trainer, pl_module, taken, floors, settings["seed"])
    facts: dict[str, Any] = {"dim": {}, "l2": {}, "svm_c": {}, "not_converged": []}
    for row, splits in kinds:
        dim = splits.train.features.shape[1]
        layer = f"layers/{row}"
        known = ", measured before" if so_far.knows(layer, settings) else ""
        pl_module.print(f"offline evaluation: {row_name(row)} ({dim:,} features{known})")
        measure = partial(_layer, splits, num_classes, **settings)
        found = so_far.once(layer, settings, measure)
        rows[row] = found["figures"]
        facts["dim"][row] = dim
        for fact in ("l2", "svm_c"):
            if found[fact] is not None:
                facts[fact][row] = found[fact]
        facts["not_converged"] += [figure_name(row, each) for each in found["not_converged"]]
        facts |= {f"num_{n}": len(s.labels) for n, s in zip(NAMES, splits, strict=True)}
        facts["chance"] = _of_largest_class(splits.train.labels, splits.test.labels)
        del splits, measure  # before the next one is made
    return MeasuredLayers(rows, facts)


def _kinds(
    trainer: L.Trainer,
    pl_module: L.LightningModule,
    taken: Sequence[Extracted],
    floors: bool,
    seed: int,
) -> Iterator[tuple[str, Splits]]:
    """Layers in the encoder's order, then the floors; each let go before the next is made."""
    device = pl_module.device
    names = list(taken[0].layers)
    for name in names:
        yield name, _splits([part.layers.pop(name) for part in taken], taken, device)
    if not floors:
        return
    loaders = [data_of(trainer).clean_dataloader(each, labelled=True) for each in NAMES]
    try:
        statistics = data_of(trainer).clean_dataloader("train", limit=_STATISTICS_IMAGES)
        encoder = untrained(pl_module.encoder, statistics, device, seed=seed)  # type: ignore
    except InputError as error:
        pl_module.print(f"offline evaluation: no floor of an untrained encoder: {error}")
    else:
        with trainer.precision_plugin.forward_context():
            fresh = [extract(encoder, each, device=device, layers=names) for each in loaders]
        for name in names:
            features = [part.layers.pop(name) for part in fresh]
            yield RANDOM + name, _splits(features, taken, device)
    floor = [pixels(loader) for loader in loaders]
    yield PIXELS, _splits(floor, taken, device)


def _layer(splits: Splits, num_classes: int, **settings: Any) -> dict[str, Any]:
    """What there is to keep of a layer, in the types of JSON."""
    found = layer_figures(splits, num_classes, **settings)
    return {
        "figures": found.figures,
        "l2": found.linear and found.linear.l2,
        "svm_c": found.svm and found.svm.c,
        "not_converged": found.not_converged,
    }


def _splits(features: Sequence[Tensor], taken: Sequence[Extracted], device: Any) -> Splits:
    """The features of each split's labelled images with their labels, on `device`."""
    pairs = zip(features, taken, strict=True)
    parts = [Labelled(x.to(device), t.labels[t.labels >= 0].to(device)) for x, t in pairs]
    return Splits(*parts)


def _of_largest_class(train: Tensor, test: Tensor) -> float:
    """The share of the test images that are of the largest class of the training images."""
    return accuracy(train.bincount().argmax().expand_as(test), test)
