"""A run small enough for a test: a real data module, a small encoder, a loss without labels."""

import lightning as L
import numpy as np
import torch
from PIL import Image
from torch import nn

from dim_lightning.data import Digits, ImageDataModule, PictureFolder
from dim_lightning.encoders import BlogEncoder


class TinyModule(L.LightningModule):
    """Follows the contract of `training_step`; its dropout draws from the global generator."""

    code_prior = "gaussian"

    def __init__(self, image_size=16):
        super().__init__()
        self.encoder = BlogEncoder(image_size, widths=(4, 8), embedding_dim=6)
        self.dropout = nn.Dropout(0.2)

    @property
    def embedding_dim(self):
        return self.encoder.embedding_dim

    def training_step(self, batch, batch_idx):
        features = self.encoder(batch.images)
        colours = batch.images.mean(dim=(2, 3)).repeat(1, 2)
        loss = (self.dropout(features.mean) - colours).square().mean()
        loss = loss + 0.01 * features.log_variance.square().mean()
        embedding = features.mean.detach().float()
        terms = {"loss": loss.detach()}
        return {"loss": loss, "terms": terms, "embedding": embedding, "labels": batch.labels}

    def validation_step(self, batch, batch_idx):
        return self.training_step(batch, batch_idx)

    def test_step(self, batch, batch_idx):
        return self.training_step(batch, batch_idx)

    def predict_step(self, batch, batch_idx):
        embedding = self.encoder(batch.images).mean
        return {"embedding": embedding, "labels": batch.labels, "indices": batch.indices}

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 1e-2)


def tiny_module():
    """The same weights, and the same global generator afterwards, each time."""
    torch.manual_seed(0)
    return TinyModule()


def digits(root, batch_size=128):
    return ImageDataModule(
        Digits(), root=str(root), image_size=16, batch_size=batch_size, validation_fraction=0.2
    )


def unlabelled(root):
    """Forty pictures without classes."""
    folder = root / "flat"
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for i in range(40):
        pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02}.png")
    source = PictureFolder(str(folder))
    return ImageDataModule(source, root=str(root), image_size=16, batch_size=8)


def trainer(folder, callbacks=(), epochs=1, **options):
    return L.Trainer(
        **{
            "accelerator": "cpu",
            "devices": 1,
            "max_epochs": epochs,
            "callbacks": list(callbacks),
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 2,
            "default_root_dir": folder,
            **options,
        }
    )
