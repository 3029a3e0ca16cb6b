"""The codes of `predict`, in a file that NumPy opens."""

import io
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from dim_lightning.callbacks.observation import data_of
from dim_lightning.run.folder import explained, write_atomically

EMBEDDINGS = "embeddings.npz"


class EmbeddingWriter(Callback):
    """Writes `embeddings.npz` into the run's folder, whole or not at all.

    It holds `embedding` float32 [n, d], `label` int64 [n] (-1 where unlabelled), `index` int64 [n]
    (position in the split, ascending) and `class_names` (empty where unlabelled), and opens
    without pickle. What several processes computed is put together.
    """

    def __init__(self) -> None:
        self._parts: list[dict[str, Tensor]] = []

    def on_predict_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts anew."""
        self._parts = []

    def on_predict_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keeps the codes of this batch."""
        kept = {name: outputs[name].cpu() for name in ("embedding", "labels", "indices")}
        self._parts.append(kept)

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the file, on the first process."""
        parts, self._parts = _of_all_processes(trainer, self._parts), []
        if not trainer.is_global_zero or not parts:
            return
        whole = {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}
        index, first = np.unique(whole["indices"], return_index=True)  # samplers may repeat images
        stream = io.BytesIO()
        np.savez(
            stream,
            embedding=whole["embedding"][first].astype(np.float32),
            label=whole["labels"][first],
            index=index,
            class_names=np.array(data_of(trainer).class_names or [], dtype=np.str_),
        )
        path = Path(trainer.default_root_dir) / EMBEDDINGS
        with explained(path):
            write_atomically(path, stream.getvalue())
        pl_module.print(f"{len(index):,} codes written to {path}")


def _of_all_processes(
    trainer: L.Trainer, parts: list[dict[str, Tensor]]
) -> list[dict[str, Tensor]]:
    if trainer.world_size == 1:
        return parts
    gathered: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(gathered, parts)
    return [part for some in gathered for part in some]
