"""A run small enough for a test: a real data module, a small encoder, a loss without labels."""

from functools import partial

import numpy as np
import quiet
import torch
from PIL import Image
from torch import nn

from dim_lightning.data import Digits, ImageDataModule, PictureFolder
from dim_lightning.encoder_module import EncoderModule
from dim_lightning.encoders import BlogEncoder


class TinyModule(EncoderModule):
    """Draws the codes to the images' colours; its dropout draws from the global generator."""

    code_prior = "gaussian"

    def __init__(self, image_size=16):
        encoder = partial(BlogEncoder, widths=(4, 8), embedding_dim=6)
        super().__init__(encoder, partial(torch.optim.Adam, lr=1e-2), None, image_size, 0)
        self.dropout = nn.Dropout(0.2)

    def code_and_terms(self, batch, generator):
        features = self.encoder(batch.images)
        colours = batch.images.mean(dim=(2, 3)).repeat(1, 2)
        loss = (self.dropout(features.mean) - colours).square().mean()
        loss = loss + 0.01 * features.log_variance.square().mean()
        return features.mean, {"loss": loss}


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
    settings = {"devices": 1, "num_sanity_val_steps": 2, **options}
    return quiet.trainer(folder, max_epochs=epochs, callbacks=list(callbacks), **settings)
