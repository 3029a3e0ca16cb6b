"""What a decoder makes of codes while training: pictures of validation images and of draws."""

from pathlib import Path
from typing import Any

import lightning as L
import torch
from jaxtyping import UInt8
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from dim_lightning.callbacks.neighbours import chosen_queries
from dim_lightning.callbacks.observation import (
    INTERVAL,
    after_epochs,
    code_prior_of,
    data_of,
    features_of,
    is_due,
    picture_path,
    send_pictures,
)
from dim_lightning.callbacks.pictures import Block, write_grid
from dim_lightning.data import Batch
from dim_lightning.errors import check_least
from dim_lightning.evaluation.code_prior import CodePrior
from dim_lightning.evaluation.features import observing
from dim_lightning.seeding import check_seed, generator_for

_PAIRS, _COLUMNS = 5, 12


class Reconstructions(Callback):
    """Draws what the model's decoder makes of codes; nothing for a method without a decoder.

    In `pictures/`, every few epochs and on the last, of the same images and draws each time:
    `reconstructions.png`: validation images beside what is decoded from their codes, and
    `samples.png`: what is decoded from draws of the prior, where the method draws codes to one.

    Args:
        every_n_epochs: how often; also in the last epoch, unless training stops early.
        num_rows: rows of the pictures.
        seed: of the choice of images and of the draws.
    """

    def __init__(self, *, every_n_epochs: int = 5, num_rows: int = 6, seed: int = 0):
        check_least("reconstructions.every_n_epochs", every_n_epochs, 1, INTERVAL)
        check_least("reconstructions.num_rows", num_rows, 1)
        check_seed("reconstructions.seed", seed)
        self.every_n_epochs = every_n_epochs
        self.num_rows = num_rows
        self.seed = seed

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Decodes and draws, on the first process."""
        if not is_due(trainer, self.every_n_epochs) or not hasattr(pl_module, "decoder"):
            return
        if not trainer.is_global_zero:
            return
        paths = [self._draw_reconstructions(trainer, pl_module)]
        if prior := code_prior_of(pl_module):
            paths.append(self._draw_samples(trainer, pl_module, prior))
        send_pictures(trainer, pl_module, paths)

    def _draw_reconstructions(self, trainer: L.Trainer, pl_module: L.LightningModule) -> Path:
        val = data_of(trainer).split("val")
        rows = torch.tensor(chosen_queries(val.labels, self.num_rows * _PAIRS, self.seed))
        images = val.pictures(rows)
        batch = Batch(images, torch.from_numpy(val.labels)[rows], rows)
        codes = features_of(trainer, pl_module, [batch], layers=()).code
        pairs = torch.stack([images, self._decoded(trainer, pl_module, codes)], dim=1)
        per_row = -(-len(pairs) // self.num_rows)  # fewer where there are few images
        whole = pairs[: len(pairs) // per_row * per_row].unflatten(0, (-1, per_row))
        blocks = [Block("image, decoded", whole[:, column]) for column in range(per_row)]
        path = picture_path(trainer, "reconstructions")
        title = f"Reconstructions, {after_epochs(trainer, pl_module)}"
        subtitle = "Validation images, each beside what is decoded from its code."
        write_grid(path, title, subtitle, blocks)
        return path

    def _draw_samples(
        self, trainer: L.Trainer, pl_module: L.LightningModule, prior: CodePrior
    ) -> Path:
        code_dim: Any = pl_module.embedding_dim
        draws = prior.draws(self.num_rows * _COLUMNS, code_dim, generator_for(self.seed, 2))
        images = self._decoded(trainer, pl_module, draws).unflatten(0, (self.num_rows, _COLUMNS))
        path = picture_path(trainer, "samples")
        title = f"Samples, {after_epochs(trainer, pl_module)}"
        subtitle = f"Images decoded from codes drawn from the prior ({prior.name})."
        write_grid(path, title, subtitle, [Block("decoded", images)])
        return path

    def _decoded(
        self, trainer: L.Trainer, pl_module: L.LightningModule, codes: Tensor
    ) -> UInt8[Tensor, "n 3 h w"]:
        """The images, as bytes on the CPU."""
        decoder: Any = pl_module.decoder
        with observing(decoder), trainer.precision_plugin.forward_context():
            images = decoder(codes.to(pl_module.device))
        return (255 * images.float().clamp(0, 1)).round().to(torch.uint8).cpu()
