"""Bounds and divergences between real pairs and shuffled ones, from a critic's scores.

An estimator is a pure function of `Scores`: larger is better, the unit is nats. What it returns is
a variational lower bound of a divergence, reached by the best critic only: never 'the mutual
information' itself.
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus


class Scores(NamedTuple):
    """A critic's values T for n codes, at m locations.

    Attributes:
        joint: T of code i with location m of its own image, [n, m].
        marginal: T of code i with location m of k other images, [n, k, m].
    """

    joint: Float[Tensor, "n m"]
    marginal: Float[Tensor, "n k m"]


def jensen_shannon(scores: Scores) -> Tensor:
    """Bound on a Jensen-Shannon divergence, in nats, between 2 JSD - 2 log 2 and below.

    E_J[-softplus(-T)] - E_M[softplus(T)], J the joint distribution, M the product of marginals.
    This is E_J[log sigmoid(T)] + E_M[log(1 - sigmoid(T))]: minus the cross-entropy of telling
    real pairs from shuffled ones. At most 0; -2 log 2 = -1.386 where nothing was learned.

    Source: Hjelm et al., 2019, equation 4; Nowozin et al., 2016, table 2.
    """
    joint, marginal = scores.joint.float(), scores.marginal.float()
    return -softplus(-joint).mean() - softplus(marginal).mean()
