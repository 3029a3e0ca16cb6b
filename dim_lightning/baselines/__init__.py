"""What Deep InfoMax is compared with: the same encoder, data and evaluation, other terms.

A random encoder and the raw pixels are compared with by the command `test`, which trains nothing.
"""

from dim_lightning.baselines.adversarial_autoencoder import AdversarialAutoencoder
from dim_lightning.baselines.autoencoder import Autoencoder
from dim_lightning.baselines.bigan import BiGAN
from dim_lightning.baselines.decoder import Decoder
from dim_lightning.baselines.nat import NAT
from dim_lightning.baselines.supervised import Supervised
from dim_lightning.baselines.vae import VAE

__all__ = [
    "NAT",
    "VAE",
    "AdversarialAutoencoder",
    "Autoencoder",
    "BiGAN",
    "Decoder",
    "Supervised",
]
