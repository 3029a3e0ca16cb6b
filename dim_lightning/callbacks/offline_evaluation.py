"""The figures to publish: what can be read off the frozen features of the test images."""

import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from dim_lightning.callbacks.observation import data_of, epochs_in, epochs_trained, features_of
from dim_lightning.data.datamodule import SplitName
from dim_lightning.errors import InputError
from dim_lightning.evaluation import Extracted, Labelled, extract, pixels
from dim_lightning.evaluation.offline import LINEAR, MLP, Splits, layer_figures, untrained
from dim_lightning.run.result import update_result

PROTOCOL = (
    "Frozen features of clean images in eval mode. Fitted on the training split, penalty of the "
    "linear probe chosen on the validation split, accuracy (micro average) on the test split. "
    "Linear: softmax regression on standardised features, solved exactly. MLP-200: Linear "
    "200, dropout 0.1, batch norm, ReLU, Linear; Adam 1e-3, {epochs} epochs, on standardised "
    "features. kNN: cosine votes are weighted by exp(s / T), Euclidean votes are equal. Floors: "
    "the same encoder with random weights, and pixels (at most 32 x 32)."
)
_NAMES: tuple[SplitName, ...] = ("train", "val", "test")
_PIXELS, _RANDOM = "pixels", "random/"
_STATISTICS_IMAGES = 2500


class OfflineEvaluation(Callback):
    """Measures every layer after `test`, prints the table and writes it into result.json.

    Linear probe, the paper's MLP probe with 200 units, and kNN (k = 20, T = 0.07 and k = 200,
    T = 0.1; cosine and Euclidean) on each layer of the encoder; beside them the floors: linear
    probe and kNN on the code of the same encoder with random weights, and on raw pixels. All
    training images are used. The features of all layers are held in memory at once, 4 bytes each.

    Args:
        mlp_epochs: of the MLP probe; 0 leaves it out.
        floors: whether to measure them.
        seed: of the MLP probe and of the random encoder.
        linear_dim: most features of a layer to which the linear probe is fitted; all layers if
            null. With hundreds of classes, thousands of features take tens of minutes.
    """

    def __init__(
        self,
        mlp_epochs: int = 30,
        floors: bool = True,
        seed: int = 0,
        linear_dim: int | None = None,
    ):
        self.mlp_epochs = mlp_epochs
        self.floors = floors
        self.seed = seed
        self.linear_dim = linear_dim
        self._stored_epochs: int | None = None

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Remembers how far the weights are."""
        self._stored_epochs = epochs_in(checkpoint)

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Measures, prints and writes, on the first process."""
        if not trainer.is_global_zero:
            return
        if not data_of(trainer).labelled:
            pl_module.print("offline evaluation: off, since the pictures have no labels")
            return
        start = time.monotonic()
        with torch.inference_mode(False), torch.no_grad():  # probes need tensors that can learn
            rows, facts = self._measure(trainer, pl_module)
        facts |= {
            "epochs_trained": epochs_trained(trainer, self._stored_epochs),
            "seconds": round(time.monotonic() - start, 1),
            "protocol": PROTOCOL.format(epochs=self.mlp_epochs),
        }
        update_result(Path(trainer.default_root_dir), "test", by_protocol(rows) | facts)
        pl_module.print(table(rows, facts))

    def _measure(
        self, trainer: L.Trainer, pl_module: L.LightningModule
    ) -> tuple[dict[str, dict[str, float]], dict[str, Any]]:
        """Row -> protocol -> accuracy, and what else there is to know."""
        num_classes = data_of(trainer).num_classes
        assert num_classes is not None
        rows: dict[str, dict[str, float]] = {}
        facts: dict[str, Any] = {"dim": {}, "l2": {}}
        for row, splits in self._kinds(trainer, pl_module):
            dim = splits.train.features.shape[1]
            pl_module.print(f"offline evaluation: {_label(row)} ({dim:,} features)")
            mlp_epochs = 0 if _is_floor(row) else self.mlp_epochs
            result = layer_figures(splits, num_classes, mlp_epochs, self.seed, self.linear_dim)
            rows[row], facts["dim"][row] = result.figures, dim
            if result.linear is not None:
                facts["l2"][row] = result.linear.l2
                if not result.linear.converged:
                    pl_module.print(f"the linear probe on {_label(row)} ended before it converged")
            facts |= {f"num_{n}": len(s.labels) for n, s in zip(_NAMES, splits, strict=True)}
            facts["chance"] = _largest_class(splits.test.labels)
        return rows, facts

    def _kinds(
        self, trainer: L.Trainer, pl_module: L.LightningModule
    ) -> Iterator[tuple[str, Splits]]:
        """Layers in the encoder's order, then the floors; each let go before the next is made."""
        data, device = data_of(trainer), pl_module.device
        loaders = [data.clean_dataloader(name) for name in _NAMES]
        pl_module.print("offline evaluation: taking the features of all images")
        taken = [features_of(trainer, pl_module, loader) for loader in loaders]
        names = list(taken[0].layers)
        for name in names:
            yield name, _splits([part.layers.pop(name) for part in taken], taken, device)
        if not self.floors:
            return
        try:
            statistics = data.clean_dataloader("train", limit=_STATISTICS_IMAGES)
            encoder = untrained(pl_module.encoder, statistics, device, self.seed)  # type: ignore
        except InputError as error:
            pl_module.print(f"offline evaluation: no floor of an untrained encoder: {error}")
        else:
            with trainer.precision_plugin.forward_context():
                codes = [extract(encoder, loader, device, ()).code for loader in loaders]
            yield _RANDOM + names[-1], _splits(codes, taken, device)
        yield _PIXELS, _splits([pixels(loader) for loader in loaders], taken, device)


def by_protocol(rows: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The accuracies by their full name, such as knn/cosine/k20_t0.07/conv/top1, floors last."""
    protocols = _protocols(rows)
    named = {}
    for protocol in protocols:
        for row, figures in rows.items():
            if protocol in figures:
                prefix = _RANDOM if row.startswith(_RANDOM) else ""
                layer = row.removeprefix(_RANDOM)
                named[f"{prefix}{protocol}/{layer}/top1"] = figures[protocol]
    return dict(sorted(named.items(), key=lambda item: item[0].startswith(_RANDOM)))


def table(rows: Mapping[str, Mapping[str, float]], facts: Mapping[str, Any]) -> str:
    """The accuracies in percent, a row a layer, the floors below, and how they were measured."""
    protocols = _protocols(rows)
    heads = [("", "layer"), ("", "size"), *map(_heading, protocols)]
    cells = [
        [_label(row), f"{facts['dim'][row]:,}"]
        + [f"{100 * figures[p]:.2f}" if p in figures else "" for p in protocols]
        for row, figures in rows.items()
    ]
    columns = list(zip(*zip(*heads, strict=True), *cells, strict=True))
    widths = [max(len(cell) for cell in column) for column in columns]

    def line(texts: Sequence[str]) -> str:
        first, *others = (f"{t:>{w}}" for t, w in zip(texts, widths, strict=True))
        return "  ".join([first.lstrip().ljust(widths[0]), *others]).rstrip()

    rule = "-" * (sum(widths) + 2 * len(widths) - 2)
    upper, lower = zip(*heads, strict=True)
    lines = [_title(facts), "", line(upper), line(lower)]
    floor_before = None
    for row, texts in zip(rows, cells, strict=True):
        if _is_floor(row) != floor_before:
            lines.append(rule)
        floor_before = _is_floor(row)
        lines.append(line(texts))
    return "\n".join(["", *lines, rule, *_notes(facts)])


def _protocols(rows: Mapping[str, Mapping[str, float]]) -> list[str]:
    """All that were measured, the linear probe first even if the first layer went without."""
    found = dict.fromkeys(p for figures in rows.values() for p in figures)
    return sorted(found, key=lambda protocol: protocol != LINEAR)


def _title(facts: Mapping[str, Any]) -> str:
    epochs = facts["epochs_trained"]
    return (
        f"Accuracy in percent on {facts['num_test']:,} test images, fitted on "
        f"{facts['num_train']:,} training images, after {epochs} epoch{'s' * (epochs != 1)}"
    )


def _notes(facts: Mapping[str, Any]) -> list[str]:
    penalties = ", ".join(f"{_label(row)} {l2:g}" for row, l2 in facts["l2"].items()) or "none"
    chosen = f"chosen on {facts['num_val']:,} validation images: {penalties}"
    return [
        f"always the largest class: {100 * facts['chance']:.2f}",
        *textwrap.wrap(f"L2 of the linear probe, {chosen}", 100, subsequent_indent="  "),
        f"measured in {facts['seconds']:,.0f} s",
    ]


def _heading(protocol: str) -> tuple[str, str]:
    """Two lines above a column."""
    if protocol in (LINEAR, MLP):
        return ("linear", "probe") if protocol == LINEAR else ("MLP-200", "probe")
    _, metric, setting = protocol.split("/")
    name = "kNN cos." if metric == "cosine" else "kNN Eucl."
    return name, setting.replace("k", "k=").replace("_t", " T=").replace("=0.", "=.")


def _label(row: str) -> str:
    if row.startswith(_RANDOM):
        return f"random encoder, {row.removeprefix(_RANDOM)}"
    return "raw pixels" if row == _PIXELS else row


def _is_floor(row: str) -> bool:
    return row == _PIXELS or row.startswith(_RANDOM)


def _splits(features: Sequence[Tensor], taken: Sequence[Extracted], device: Any) -> Splits:
    """The labelled rows of each split, on `device`."""
    parts = []
    for rows, part in zip(features, taken, strict=True):
        known = part.labels >= 0
        kept = rows if bool(known.all()) else rows[known]
        parts.append(Labelled(kept.to(device), part.labels[known].to(device)))
    return Splits(*parts)


def _largest_class(labels: Tensor) -> float:
    return labels.bincount().max().item() / len(labels)
