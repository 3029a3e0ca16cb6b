"""Bounds and divergences between real pairs and shuffled ones, from a critic's scores.

An estimator is a pure function of `Scores`: larger is better, the unit is nats. What it returns is
a variational lower bound of a divergence, reached by the best critic only: never 'the mutual
information' itself.
"""

from torch import Tensor
from torch.nn.functional import softplus

from dim_lightning.infomax.scores import Scores


def jensen_shannon(scores: Scores) -> Tensor:
    """Lower bound, in nats, of 2 JSD - 2 log 2, JSD the Jensen-Shannon divergence of J and M.

    E_J[-softplus(-T)] - E_M[softplus(T)], J the joint distribution, M the product of marginals.
    This is E_J[log sigmoid(T)] + E_M[log(1 - sigmoid(T))]: minus the cross-entropy of telling
    real pairs from shuffled ones. At most 0; -2 log 2 = -1.386 where nothing was learned.

    Source: Hjelm et al., 2019, equation 4; Nowozin et al., 2016, table 2.
    """
    joint, marginal = scores.joint.float(), scores.marginal.float()
    return -softplus(-joint).mean() - softplus(marginal).mean()
