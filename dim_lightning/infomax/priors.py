"""Priors: how far are the codes from the distribution they should follow?"""

from torch import Tensor

from dim_lightning.encoders import Features
from dim_lightning.errors import InputError


def gaussian_kl(features: Features) -> Tensor:
    """KL(p(z|x) || N(0, I)) for p(z|x) = N(mu, sigma^2), in nats a dimension, batch mean.

    -1/2 (1 + log sigma^2 - mu^2 - sigma^2), averaged over batch and dimensions: times d it is the
    usual sum over dimensions. At least 0; 0 exactly where p(z|x) is the prior.

    Source: Kingma and Welling, 2014, appendix B; averaged as in the blog's script.

    Raises:
        InputError: for an encoder without a variance.
    """
    if features.log_variance is None:
        raise InputError(
            "the Gaussian KL prior needs an encoder with a variance, this one is deterministic; "
            "set model.prior_weight to 0 or choose a Gaussian encoder"
        )
    mean, log_variance = features.mean.float(), features.log_variance.float()
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).mean()
