"""The Gaussian KL prior: p(z|x) of every single image is drawn to N(0, I)."""

import torch
from jaxtyping import Float
from torch import Tensor

from dim_lightning.encoders import Features
from dim_lightning.errors import InputError
from dim_lightning.infomax.precision import widened
from dim_lightning.infomax.priors.prior import Prior


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
            "set model.prior_weight to 0, choose a Gaussian encoder, or another model.prior"
        )
    mean, log_variance = map(widened, (features.mean, features.log_variance))
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).mean()


class GaussianKL(Prior):
    """Minimises 'prior' = KL(p(z|x) || N(0, I)), in nats a dimension.

    The prior of a variational autoencoder: closed form, no network. Times d it is I(x; z) +
    KL(p(z) || N(0, I)): it draws the codes of all images together to N(0, I) and takes information
    away at the same time. At 0 the code says nothing of its image.

    Source: Su Jianlin, 2018, who adds it to the information terms with gamma = 0.01.

    Args:
        code_dim: d; the formula is the same for each.
    """

    code_prior = "gaussian"

    def __init__(self, code_dim: int):
        super().__init__()

    def forward(
        self,
        features: Features,
        code: Float[Tensor, "n d"],
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """'prior': KL(p(z|x) || N(0, I)), nats a dimension."""
        return {"prior": gaussian_kl(features)}
