"""The interface of a prior."""

from abc import ABC, abstractmethod
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dim_lightning.encoders import Features
from dim_lightning.errors import InputError

Target = Literal["gaussian", "uniform"]


class Prior(nn.Module, ABC):
    """How codes are drawn, and how far they are from the distribution they should follow.

    Attributes:
        code_prior: what samples of p(z|x) follow over all images where the prior has its way, and
            for a deterministic encoder the codes of evaluation: 'gaussian' is N(0, I), 'uniform' is
            uniform on [0, 1]^d after a sigmoid; None if it is neither.
    """

    code_prior: Target | None = None

    def draw(self, features: Features, generator: torch.Generator) -> Float[Tensor, "n d"]:
        """One code an image for the information terms: a sample of p(z|x).

        Evaluation never sees it: the code of an image is `features.mean`, whatever the prior.
        """
        return features.sample(generator)

    @abstractmethod
    def forward(
        self,
        features: Features,
        code: Float[Tensor, "n d"],
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """Terms to minimise, each a scalar.

        'prior' is weighted by gamma, and is the only one whose gradient reaches the encoder. Every
        other entry is added with weight 1: it trains what the prior itself is made of. So an entry
        cannot be for the log alone; such a figure is added to its terms by the method. Its name
        must be none of the objective's other terms, such as 'penalty'. Of several processes the
        mean of their terms counts, so what depends on all codes together, such as a covariance, has
        to `gather` them (`dim_lightning.processes`).

        Args:
            features: what the encoder says of n images.
            code: what `draw` gave for them.
            generator: of the draws; on the device of the code, and equal on every process, see
                `normal_like` of `dim_lightning.processes`.
        """


def check_target(target: object) -> None:
    """Refuses what no prior draws codes to.

    Raises:
        InputError: it is no `Target`.
    """
    if target not in get_args(Target):
        raise InputError(
            f"the prior's target is {target!r}; expected 'gaussian' or 'uniform'; "
            "set model.prior.init_args.target to one of them"
        )
