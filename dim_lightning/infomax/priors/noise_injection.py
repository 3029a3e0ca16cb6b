"""Noise injection: no term of its own, but a noisy channel that codes of the prior use best."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from dim_lightning.encoders import Features
from dim_lightning.errors import InputError
from dim_lightning.infomax.precision import widened
from dim_lightning.infomax.priors.prior import Prior, Target, check_target
from dim_lightning.processes import joint_size, normal_like, total, uniform

_EPSILON = 1e-5  # of the variance, as in batch normalisation


class NoiseInjection(Prior):
    """The information terms see f + noise, f the normalised mean; nothing is added to the loss.

    | target | f | noise, each dimension | capacity, nats a dimension |
    |---|---|---|---|
    | gaussian | (mu - batch mean) / batch std | N(0, s^2) | 1/2 log(1 + 1/s^2) |
    | uniform | sigmoid(mu), in [0, 1] | uniform on [-s, s] | log(1 + 1/(2 s)) |

    s is `noise_scale`. I(x; f + noise) is at most d times the capacity. For 'gaussian' it gets
    there if and only if f follows N(0, I), for any s. For 'uniform' with 1/(2 s) an integer it
    gets there if and only if the dimensions are independent and each uniform on the 1 + 1/(2 s)
    levels 0, 2s, .., 1: the uniform distribution itself is the limit of small s.

    This holds for the mutual information of the whole image and the code, so for `global_weight`
    with a tight lower bound of it (donsker_varadhan, nwj, info_nce with a good critic). It is no
    theorem for jensen_shannon, which rises with the same channel but is another divergence, nor
    for the local term. info_nce cannot show more than log(set size) nats: a channel with d times
    the capacity above that is never full, and nothing draws its codes to the prior; raise s then.

    The pairs of `ImageCode` need two views: within one, both sides have the same noise, and no
    capacity limits what they share. Of two views both sides are noisy, and share less than it.

    What evaluation sees stays `mean`, without normalisation and noise. A log variance is not used,
    so a Gaussian encoder's head for it gets no gradient: better an encoder without.

    Source: Butakov et al., 2025 (arXiv 2410.06993), the Gaussian and the uniform theorem, for f of
    unit variance a dimension and f in [0, 1]^d. How f is brought there is chosen here. The moments
    are those of the batch at hand, of all processes together, with gradient: running averages would
    need a state and serve nobody, as evaluation does not normalise. The sigmoid needs no moments.

    Args:
        code_dim: d; the channel treats each dimension alike.
        target: where f is drawn to, N(0, I) or uniform on [0, 1]^d.
        noise_scale: s, above 0.

    Raises:
        InputError: for an unknown target, or a scale that is not above 0.
    """

    def __init__(self, code_dim: int, target: Target = "gaussian", noise_scale: float = 0.1):
        super().__init__()
        check_target(target)
        if not 0 < noise_scale < math.inf:
            raise InputError(
                f"the noise scale is {noise_scale}; expected a finite number above 0; "
                "set model.prior.init_args.noise_scale, for example to 0.1"
            )
        self.target = target
        # for 'gaussian' that is N(0, I) after normalisation alone, which evaluation does without
        self.code_prior = "uniform" if target == "uniform" else None
        self.noise_scale = noise_scale

    def draw(self, features: Features, generator: torch.Generator) -> Float[Tensor, "n d"]:
        """The normalised mean with noise, one draw an image."""
        normalized = self.normalize(features.mean)
        if self.target == "gaussian":
            noise = self.noise_scale * normal_like(normalized, generator)
        else:
            draws = uniform(*normalized.shape, generator=generator)
            noise = self.noise_scale * (2 * draws - 1)
        return (normalized + noise).to(features.mean.dtype)

    def normalize(self, mean: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """f: mean 0 and variance 1 over the joint batch for 'gaussian', in [0, 1] for 'uniform'."""
        mean = widened(mean)
        if self.target == "uniform":
            return mean.sigmoid()
        count = joint_size(len(mean))
        centered = mean - total(mean.sum(0)) / count
        variance = total(centered.square().sum(0)) / count
        return centered * (variance + _EPSILON).rsqrt()

    def forward(
        self,
        features: Features,
        code: Float[Tensor, "n d"],
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """No term: the noise acts inside the information terms."""
        return {}
