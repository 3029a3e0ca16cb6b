"""Priors: how codes are drawn, and how far they are from the distribution they should follow."""

from dim_lightning.infomax.priors.adversarial import AdversarialPrior
from dim_lightning.infomax.priors.gaussian_kl import GaussianKL, gaussian_kl
from dim_lightning.infomax.priors.noise_injection import NoiseInjection
from dim_lightning.infomax.priors.prior import Prior
from dim_lightning.infomax.priors.sigreg import SIGReg, epps_pulley, sigreg

__all__ = [
    "AdversarialPrior",
    "GaussianKL",
    "NoiseInjection",
    "Prior",
    "SIGReg",
    "epps_pulley",
    "gaussian_kl",
    "sigreg",
]
