"""The adversarial prior: the codes are to pass for draws of the prior."""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import softplus

from dim_lightning.encoders import Features
from dim_lightning.errors import InputError
from dim_lightning.infomax.precision import widened
from dim_lightning.infomax.priors.prior import Prior, Target, check_target
from dim_lightning.processes import normal_like, uniform


class AdversarialPrior(Prior):
    """Two players in nats: a discriminator D tells draws v of the prior V from codes y.

    'discriminator' = E_V[softplus(-D(v))] + E_y[softplus(D(y))], minimised by D alone
    'prior' = E_y[softplus(-D(y))], minimised by the encoder alone

    The first is minus the value of the game: 2 log 2 = 1.386 where D is fooled, 0 where it tells
    every code from every draw; at its optimum it is 2 log 2 - 2 JSD(V || y). The second is the
    encoder's non-saturating loss: log 2 = 0.693 where D is fooled, more where the codes are found
    out. Neither is a distance alone: 'prior' is low also where D is bad.

    One optimiser and one backward are enough. The encoder's term calls D with detached weights and
    D's term sees detached codes, so each player's parameters have the gradient of its own term, and
    gamma (`prior_weight`) weights the encoder's alone.

    For 'uniform' V is uniform on [0, 1]^d and D sees the sigmoid of y: the code that critics and
    evaluation see is not squashed, and each of its dimensions follows a logistic distribution where
    D is fooled. Codes far out are in the sigmoid's flat part and come back slowly.

    Source: Hjelm et al., 2019, equation 7 (the game), appendix A (1000-200-1 with ReLU) and their
    code (the sigmoid, and gamma on the encoder's term alone; its D has a gradient penalty as well,
    ours has none); Goodfellow et al., 2014, section 3 (non-saturating). Several processes: each
    plays with its own part of the batch, and the mean of the gradients is that of the joint batch.

    Args:
        code_dim: d.
        target: V, uniform on [0, 1]^d or standard Gaussian.
        widths: units of the discriminator's hidden layers.

    Raises:
        InputError: for an unknown target or an empty layer.
    """

    def __init__(
        self, code_dim: int, target: Target = "uniform", widths: tuple[int, ...] = (1000, 200)
    ):
        super().__init__()
        check_target(target)
        if min(widths, default=1) < 1:
            raise InputError(
                f"the discriminator's widths are {widths}; expected at least 1 unit a layer; "
                "set model.prior.init_args.widths, or of an AdversarialAutoencoder model.widths, "
                "for example to [1000, 200]"
            )
        self.target = self.code_prior = target
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((code_dim, *widths)):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        self.discriminator = nn.Sequential(*layers, nn.Linear((code_dim, *widths)[-1], 1))

    def forward(
        self,
        features: Features,
        code: Float[Tensor, "n d"],
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """'prior', the encoder's loss, and 'discriminator', its opponent's; both in nats."""
        codes = self.seen(code)
        frozen = {name: weight.detach() for name, weight in self.discriminator.named_parameters()}
        for_encoder = widened(functional_call(self.discriminator, frozen, (codes,)))
        of_codes = widened(self.discriminator(codes.detach()))
        of_draws = widened(self.discriminator(self.sample(codes, generator)))
        return {
            "prior": softplus(-for_encoder).mean(),
            "discriminator": softplus(-of_draws).mean() + softplus(of_codes).mean(),
        }

    def seen(self, code: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The codes as the discriminator sees them: sigmoid of y for 'uniform', y otherwise."""
        code = widened(code)
        squashed = code.sigmoid() if self.target == "uniform" else code
        return squashed.to(next(self.discriminator.parameters()).dtype)

    def sample(
        self, like: Float[Tensor, "n d"], generator: torch.Generator
    ) -> Float[Tensor, "n d"]:
        """Draws of the prior V, as many as rows in `like`."""
        if self.target == "gaussian":
            return normal_like(like, generator)
        return uniform(*like.shape, generator=generator).to(like.dtype)
