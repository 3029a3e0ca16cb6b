"""The codes of `predict`, in a file."""

from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback


class EmbeddingWriter(Callback):
    """Writes embeddings.npz into the run folder: embedding, label, index."""

    def __init__(self) -> None:
        self._parts: list[dict[str, Any]] = []

    def on_predict_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Keeps the codes of a batch."""
        self._parts.append({name: value.cpu() for name, value in outputs.items()})

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the file."""
        whole = {k: torch.cat([p[k] for p in self._parts]).numpy() for k in self._parts[0]}
        np.savez(Path(trainer.default_root_dir) / "embeddings.npz", **whole)
