"""Every method, small, on images of 8x8."""

from functools import partial

import lightning as L
import quiet
import torch

from dim_lightning.baselines import (
    NAT,
    VAE,
    AdversarialAutoencoder,
    Autoencoder,
    BiGAN,
    Decoder,
    Supervised,
)
from dim_lightning.baselines.bigan import JointDiscriminator
from dim_lightning.data import Batch, Digits, ImageDataModule
from dim_lightning.encoders import PaperEncoder
from dim_lightning.infomax.deep_infomax import DeepInfoMax

SIZE, DIM = 8, 6
encoder = partial(PaperEncoder, widths=(4, 6, 8), hidden_dim=16, embedding_dim=DIM)
gaussian = partial(encoder, gaussian=True)
decoder = partial(Decoder, widths=(8, 6, 4))
discriminator = partial(JointDiscriminator, widths=(4, 6), hidden_dim=8)

SETTINGS = {
    Autoencoder: {"encoder": encoder, "decoder": decoder},
    VAE: {"encoder": gaussian, "decoder": decoder},
    AdversarialAutoencoder: {"encoder": encoder, "decoder": decoder, "widths": (8,)},
    BiGAN: {"encoder": encoder, "decoder": decoder, "discriminator": discriminator},
    NAT: {"encoder": encoder, "every_n_epochs": 2},
    Supervised: {"encoder": encoder},
    DeepInfoMax: {"encoder": gaussian},
}
BASELINES = [method for method in SETTINGS if method is not DeepInfoMax]


def build(method, seed=0, **settings):
    """The method with the same weights each time, ready for a step on `batch()`."""
    L.seed_everything(0, verbose=False)
    module = method(**(SETTINGS[method] | settings), image_size=SIZE, seed=seed)
    if method is NAT:
        module.draw_targets(64)
    return module


def batch(num_images=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(num_images, 3, SIZE, SIZE, generator=generator)
    return Batch(images, torch.arange(num_images) % 3, torch.arange(num_images) * 3)


def digits(root, **settings):
    return ImageDataModule(
        Digits(), root=str(root), **{"image_size": SIZE, "batch_size": 512, **settings}
    )


def trainer(folder, **settings):
    return quiet.trainer(folder, limit_val_batches=1, **settings)
