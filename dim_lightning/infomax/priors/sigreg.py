"""SIGReg: every one-dimensional shadow of the codes is tested against N(0, 1)."""

import torch
from jaxtyping import Float
from torch import Tensor

from dim_lightning.encoders import Features
from dim_lightning.errors import InputError
from dim_lightning.infomax.precision import widened
from dim_lightning.infomax.priors.prior import Prior
from dim_lightning.processes import joint_size, total


def epps_pulley(
    samples: Float[Tensor, "n s"], num_knots: int = 17, max_frequency: float = 3.0
) -> Float[Tensor, " s"]:
    """How far each column is from N(0, 1), without unit: about 1 at N(0, 1), whatever n.

    n int_{-F}^{F} |phi_n(t) - exp(-t^2 / 2)|^2 exp(-t^2 / 2) dt, phi_n(t) = mean of exp(i t x) over
    the column, F the largest frequency; by the trapezoidal rule. The integrand is even, so the
    knots lie on [0, F] and count twice. For large F the expectation at N(0, 1) is
    sqrt(2 pi) (1 - 1/sqrt 3) = 1.06, the largest value 3.95 n, and 0.41 n where all samples are 0.
    A shift by 2 pi over the distance of two knots (33.5 by default) goes unseen.

    Source: Epps and Pulley, 1983; Balestriero and LeCun, 2025 (arXiv 2511.08544), algorithm 1, with
    17 knots on [-5, 5]. The defaults here are those of their code, on [0, 3]: knots 0.19 apart
    instead of 0.63, for which codes shifted by 10 look right.
    """
    t = torch.linspace(0, max_frequency, num_knots, dtype=samples.dtype, device=samples.device)
    target = torch.exp(-0.5 * t.square())
    weights = 2 * max_frequency / (num_knots - 1) * target
    weights[0] /= 2  # one by one: a list of places would be copied to the device, and waited for
    weights[-1] /= 2
    angles = samples[:, :, None] * t
    count = joint_size(len(samples))
    cosines, sines = total(torch.stack([angles.cos().sum(0), angles.sin().sum(0)])) / count
    return count * ((cosines - target).square() + sines.square()) @ weights


def sigreg(
    codes: Float[Tensor, "n d"],
    generator: torch.Generator,
    num_slices: int = 256,
    num_knots: int = 17,
    max_frequency: float = 3.0,
) -> Tensor:
    """How far codes are from N(0, I), without unit: about 1 at N(0, I), whatever n and d.

    Mean of `epps_pulley` over projections of the codes on `num_slices` random unit vectors, drawn
    anew at each call. A distribution whose every projection is N(0, 1) is N(0, I), and no other is
    (Cramer and Wold). With several processes it is the statistic of the joint batch, and the
    unit vectors are the same on each, as their generators are.

    Source: Balestriero and LeCun, 2025 (arXiv 2511.08544), algorithm 1.
    """
    with torch.autocast(codes.device.type, enabled=False):  # bfloat16 angles would be noise
        codes = widened(codes)
        directions = codes.new_empty(codes.shape[1], num_slices).normal_(generator=generator)
        directions = directions / directions.norm(dim=0)
        return epps_pulley(codes @ directions, num_knots, max_frequency).mean()


class SIGReg(Prior):
    """Minimises 'prior' = `sigreg` of the codes: they are drawn to N(0, I), without adversary.

    It acts on the distribution of all codes together and leaves p(z|x) alone, so unlike the
    Gaussian KL it takes no information away. Each sample pulls with a bounded force, whatever n,
    and in weights that all share the n pulls add up: while codes are off, value and gradient grow
    with the joint batch, where the other terms are means. A weight that was found with one batch is
    for another to be changed as 1 / n. The force fades for codes far out: shifted by m, as
    m exp(-m^2 / 6). It needs codes of about the right size to begin with, as a batch
    normalisation before the last layer gives; with codes 10 off it does nothing.

    Source: Balestriero and LeCun, 2025 (arXiv 2511.08544); there its weight is 0.01 to 0.1 beside a
    prediction term of 1.

    Args:
        code_dim: d; directions are drawn for whatever code comes.
        num_slices: random directions a step.
        num_knots: frequencies at which characteristic functions are compared.
        max_frequency: the largest of them.

    Raises:
        InputError: for settings with which nothing is tested.
    """

    code_prior = "gaussian"

    def __init__(
        self,
        code_dim: int,
        num_slices: int = 256,
        num_knots: int = 17,
        max_frequency: float = 3.0,
    ):
        super().__init__()
        least = {"num_slices": (num_slices, 1), "num_knots": (num_knots, 2)}
        for name, (value, smallest) in least.items():
            if value < smallest:
                raise InputError(
                    f"SIGReg's {name} is {value}; expected at least {smallest}; "
                    f"set model.prior.init_args.{name} to {smallest} or more"
                )
        if not 0 < max_frequency < float("inf"):
            raise InputError(
                f"SIGReg's max_frequency is {max_frequency}; expected a finite number above 0; "
                "set model.prior.init_args.max_frequency, for example to 3.0"
            )
        self.settings = (num_slices, num_knots, max_frequency)

    def forward(
        self,
        features: Features,
        code: Float[Tensor, "n d"],
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """'prior': the mean Epps-Pulley statistic of the codes' projections, about 1 at N(0, I)."""
        return {"prior": sigreg(code, generator, *self.settings)}
