"""What a critic says and an estimator reads."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class Scores(NamedTuple):
    """A critic's values T for n codes, at m locations.

    Attributes:
        joint: T of code i with location m of its own image, [n, m].
        marginal: T of code i with location m of k other images, [n, k, m].
    """

    joint: Float[Tensor, "n m"]
    marginal: Float[Tensor, "n k m"]
