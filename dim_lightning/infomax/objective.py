"""Critics, estimator and prior, joined to the named terms of the Deep InfoMax objective."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dim_lightning.encoders import Features
from dim_lightning.errors import InputError
from dim_lightning.infomax.critics import Critic
from dim_lightning.infomax.negatives import derangement
from dim_lightning.infomax.scores import Scores


class Objective(nn.Module):
    """loss = -alpha I_global(x, z) - beta mean_ij I_local(C_ij, z) + gamma prior(z).

    A term of weight zero has no critic and is not computed.

    Source: Su Jianlin, 2018; Hjelm et al., 2019, equation 8.

    Args:
        global_critic: T_global; None for a weight of zero.
        local_critic: T_local; None for a weight of zero.
        estimator: the bound on the information, in nats, from a critic's scores.
        prior: the distance of the codes to their prior, in nats a dimension.
        global_weight: alpha.
        local_weight: beta.
        prior_weight: gamma.

    Raises:
        InputError: for a negative weight, or when neither information term is left.
    """

    def __init__(
        self,
        global_critic: Critic | None,
        local_critic: Critic | None,
        estimator: Callable[[Scores], Tensor],
        prior: Callable[[Features], Tensor],
        global_weight: float,
        local_weight: float,
        prior_weight: float,
    ):
        super().__init__()
        weights = {"global": global_weight, "local": local_weight, "prior": prior_weight}
        for name, weight in weights.items():
            if not 0 <= weight < float("inf"):
                raise InputError(
                    f"model.{name}_weight is {weight}; expected a finite number of at least 0"
                )
        if global_weight == local_weight == 0:
            raise InputError(
                "model.global_weight and model.local_weight are both 0: nothing would be learned; "
                "set at least one of them above 0"
            )
        self.global_critic = global_critic
        self.local_critic = local_critic
        self.estimator = estimator
        self.prior = prior
        self.weights = weights

    def forward(
        self,
        images: Float[Tensor, "n 3 height width"],
        features: Features,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """The terms, and their weighted sum `loss`, which is minimised."""
        code = features.sample(generator)
        negatives = derangement(len(images), generator, images.device)
        terms: dict[str, Tensor] = {}
        for name, critic in (("global", self.global_critic), ("local", self.local_critic)):
            if critic is not None:
                scores = critic(images, features.feature_map, code, negatives)
                terms[name] = self.estimator(scores)
        if self.weights["prior"] > 0:
            terms["prior"] = self.prior(features)
        signs = {"global": -1, "local": -1, "prior": 1}
        parts = [signs[name] * self.weights[name] * term for name, term in terms.items()]
        return {"loss": torch.stack(parts).sum(), **terms}
