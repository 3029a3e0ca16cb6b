"""The figures to publish: what can be read off the frozen features of the test images."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from dim_lightning.callbacks.observation import data_of, epochs_trained, features_of
from dim_lightning.encoders import Encoder
from dim_lightning.errors import InputError
from dim_lightning.evaluation import Extracted, Labelled, extract
from dim_lightning.evaluation.offline import (
    LINEAR,
    MLP,
    Splits,
    knn_figures,
    linear_figure,
    mlp_figure,
    raw_pixels,
    untrained,
)
from dim_lightning.run.result import update_result

PROTOCOL = (
    "Frozen features of clean images in eval mode. Fitted on the training split, penalty of the "
    "linear probe chosen on the validation split, accuracy (micro average) on the test split. "
    "Linear: softmax regression on standardised features, L-BFGS to convergence. MLP-200: Linear "
    "200, dropout 0.1, batch norm, ReLU, Linear; Adam 1e-3, {epochs} epochs, on standardised "
    "features. kNN: cosine votes are weighted by exp(s / T), Euclidean votes are equal. Floors: "
    "the same encoder with random weights, and pixels (at most 32 x 32)."
)
_NAMES = ("train", "val", "test")
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
    """

    def __init__(self, mlp_epochs: int = 30, floors: bool = True, seed: int = 0):
        self.mlp_epochs = mlp_epochs
        self.floors = floors
        self.seed = seed
        self._stored_epoch: int | None = None

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Remembers which epoch the weights are of."""
        self._stored_epoch = checkpoint["epoch"]

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Measures, on the first process."""
        if not trainer.is_global_zero:
            return
        if not data_of(trainer).labelled:
            pl_module.print("offline evaluation: off, since the pictures have no labels")
            return
        start = time.monotonic()
        with torch.inference_mode(False), torch.no_grad():  # probes need tensors that can learn
            record = self._measure(trainer, pl_module)
        record |= {
            "epochs_trained": epochs_trained(trainer, self._stored_epoch),
            "seconds": round(time.monotonic() - start, 1),
            "protocol": PROTOCOL.format(epochs=self.mlp_epochs),
        }
        update_result(Path(trainer.default_root_dir), "test", record)
        pl_module.print(table(record))

    def _measure(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        data = data_of(trainer)
        loaders = {name: data.clean_dataloader(name) for name in _NAMES}
        pl_module.print("offline evaluation: taking the features of all images")
        taken = {n: features_of(trainer, pl_module, loaders[n]) for n in _NAMES}
        record: dict[str, Any] = {f"num_{n}": int((taken[n].labels >= 0).sum()) for n in _NAMES}
        record |= {"l2": {}, "dim": {}}
        measured: dict[str, dict[str, float]] = {}
        for layer in list(taken["train"].layers):
            splits = _splits([taken[n].layers.pop(layer) for n in _NAMES], taken, pl_module.device)
            measured[layer] = self._layer(pl_module, splits, layer, record, with_mlp=True)
        if self.floors:
            rows = [raw_pixels(loaders[n]) for n in _NAMES]
            splits = _splits(rows, taken, pl_module.device)
            measured["pixels"] = self._layer(pl_module, splits, "pixels", record)
            measured |= self._untrained(trainer, pl_module, record)
        return _by_protocol(measured) | record

    def _layer(
        self,
        pl_module: L.LightningModule,
        splits: Splits,
        layer: str,
        record: dict[str, Any],
        with_mlp: bool = False,
    ) -> dict[str, float]:
        num_classes, dim = record["num_classes"], splits.train.features.shape[1]
        pl_module.print(f"offline evaluation: {layer} ({dim:,} features)")
        figures, result = linear_figure(splits, num_classes)
        record["dim"][layer], record["l2"][layer] = dim, result.l2
        if not result.converged:
            pl_module.print(f"the linear probe on {layer} stopped before it had converged")
        if with_mlp and self.mlp_epochs > 0:
            figures |= mlp_figure(splits, num_classes, self.mlp_epochs, self.seed)
        return figures | knn_figures(splits, num_classes)
