"""Bounds and divergences between real pairs and other pairs, from a critic's scores.

An estimator is a pure function of a `ScoreSet`: larger is better. What it returns is a variational
lower bound of a divergence between J, the joint distribution of image and code, and M, the product
of their marginals; the best critic alone reaches it: never 'the mutual information' itself. The
unit is the nat, except where the docstring says that there is none.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from dim_lightning.errors import InputError
from dim_lightning.infomax.precision import widened
from dim_lightning.infomax.scores import Pointwise, ScoreSet, identity

Estimator = Callable[[ScoreSet], Tensor]

# Optimisers and clipping square gradients: (e^25)^2, of all pairs and parameters, is far from
# float32's largest number.
_LINEAR_BEYOND = 25.0


def jensen_shannon(scores: ScoreSet) -> Tensor:
    """Lower bound, in nats, of 2 JSD - 2 log 2, JSD the Jensen-Shannon divergence of J and M.

    E_J[-softplus(-T)] - E_M[softplus(T)]; this is E_J[log sigmoid(T)] + E_M[log(1 - sigmoid(T))]:
    minus the cross-entropy of telling real pairs from others. At most 0; -2 log 2 = -1.386 where
    nothing was learned. The f-GAN's form adds the constant 2 log 2.

    Source: Hjelm et al., 2019, equation 4; Nowozin et al., 2016, table 2.
    """
    return _fenchel(scores, lambda t: -softplus(-t), softplus)


def donsker_varadhan(scores: ScoreSet) -> Tensor:
    """Lower bound of the mutual information KL(J || M), in nats.

    E_J[T] - log E_M[exp T]. The logarithm of a batch's mean is biased, upwards in value, so with
    few negatives it can exceed the information; at most max T of the joint pairs - max T of the
    others + log(number of other pairs).

    Source: Donsker and Varadhan, 1983; Belghazi et al., 2018, equation 10 (MINE); Hjelm et al.,
    2019, equation 2. The authors' script of January 2019 (rdevon/DIM) lacks a constant, the log of
    the number of locations; in their code of April 2019 the mask of the real pairs is broadcast
    against the mean over locations, so that all pairs count as real.
    """
    return scores.joint_mean(identity) - scores.marginal_log_mean_exp()


def nwj(scores: ScoreSet) -> Tensor:
    """Lower bound of the mutual information KL(J || M), in nats; never above Donsker-Varadhan.

    E_J[T] - E_M[exp(T - 1)]: the f-divergence family's member for KL. Unbiased, and of a variance
    that grows with exp of the information. Scores beyond 25 are where exp is continued by its
    tangent, to stay finite: there it bounds nothing, but keeps pushing scores down.

    Source: Nguyen, Wainwright and Jordan, 2010; Nowozin et al., 2016, table 2 (KL); Poole et al.,
    2019, equation 7.
    """
    return _fenchel(scores, identity, lambda t: _exp(t - 1))


def log_ratio_nwj(scores: ScoreSet) -> Tensor:
    """The NWJ bound of critics whose best is the log density ratio, in nats; for reporting.

    E_J[T] + 1 - E_M[exp T], which is `nwj` of T + 1. The best critic of `jensen_shannon` is
    log J / M, that of `nwj` lies 1 above: without the shift what such a critic knows is reported
    1/e nats too low. Critics of the infoNCE forms are none of these: their best is the log ratio
    plus any function of the code, which these forms do not see and this one does.

    Source: Poole et al., 2019, section 2.6.
    """
    return 1 + scores.joint_mean(identity) - scores.marginal_mean(_exp)


def reverse_kl(scores: ScoreSet) -> Tensor:
    """Lower bound of KL(M || J), in nats.

    E_J[-exp(-T)] - E_M[T - 1]. See `nwj` for scores below -25.

    Source: Nowozin et al., 2016, table 2 (reverse KL).
    """
    return _fenchel(scores, lambda t: -_exp(-t), lambda t: t - 1)


def pearson_chi2(scores: ScoreSet) -> Tensor:
    """Lower bound of chi^2(J || M) = E_M[(J / M - 1)^2], a number without unit.

    E_J[T] - E_M[T^2 / 4 + T]. The parabola bounds it from above for every critic; the authors' DIM
    code has a form that is unbounded.

    Source: Nowozin et al., 2016, table 2 (Pearson chi^2).
    """
    return _fenchel(scores, identity, lambda t: t.square() / 4 + t)


def squared_hellinger(scores: ScoreSet) -> Tensor:
    """Lower bound of the integral of (sqrt J - sqrt M)^2, a number without unit from 0 to 2.

    E_J[1 - exp(-T)] - E_M[exp(T) - 1]. See `nwj` for scores beyond +-25.

    Source: Nowozin et al., 2016, table 2 (squared Hellinger).
    """
    return _fenchel(scores, lambda t: 1 - _exp(-t), lambda t: _exp(t) - 1)


def info_nce(scores: ScoreSet) -> Tensor:
    """The paper's infoNCE over locations, in nats, at most log(1 + k m).

    E_J[T - log((exp T + sum over others of exp T') / set size)]: each code, at each location of
    its own image, is to find that location among all m locations of its k other images. Other
    locations of the same image are left out, as they are no negatives. The set has 1 + k m members.

    A lower bound of the mutual information if m = 1. The locations of an image depend on one
    another, so with more it may exceed the information, by up to log((1 + k m) / (1 + k)) (by
    Jensen's inequality, drawing a location of each negative image). `n_way_nce` is always a bound.

    Added to all scores of a code, any number leaves both forms what they are, so that critics they
    train may be off the log density ratio by a function of the code. What `donsker_varadhan` and
    the f-divergences' estimators report of such a critic may be far too low, and `smile` far off.

    Source: van den Oord et al., 2018, equation 4; the set of Hjelm et al., 2019, equation 5. The
    authors' code leaves out an image's own locations by a score of -10 rather than minus infinity.
    """
    joint = widened(scores.joint)
    others = scores.marginal_logsumexp("code")[:, None]
    set_size = 1 + scores.num_negatives * joint.shape[1]
    return (joint - torch.logaddexp(joint, others)).mean() + math.log(set_size)


def n_way_nce(scores: ScoreSet) -> Tensor:
    """Lower bound of the mutual information, in nats, at most log(1 + k).

    E_J[T - log((exp T + sum over k images of exp T') / (1 + k))]: at each location by itself, each
    code is to find its own image among 1 + k. The usual form between two views of an image; where
    m = 1 it is `info_nce`. Where only some locations are drawn (`model.num_locations`), those of
    another image are other places: a bound still, but where features do not show their place, of
    the information of code and feature at an unknown place, which may be less than the mean over
    places. It is not SimCLR's NT-Xent, which of n images in two views contrasts a code with 2n - 2
    others: there are n - 1 negatives here at most, none of them codes of the same view.

    Source: van den Oord et al., 2018, equation 4; between views Tian et al., 2019.
    """
    joint = widened(scores.joint)
    others = scores.marginal_logsumexp("location")
    return (joint - torch.logaddexp(joint, others)).mean() + math.log(1 + scores.num_negatives)


def smile(scores: ScoreSet, clip: float = 5.0) -> Tensor:
    """Donsker-Varadhan with scores clamped to +-clip in the second term, in nats; for reporting.

    E_J[T] - log E_M[exp(clamp(T))]. Of lower variance than Donsker-Varadhan, and of a bias that
    makes it no bound: beyond the clamp a score raises the first term and nothing else, so to train
    with it would drive scores to infinity.

    Source: Song and Ermon, 2020, equation 12.
    """
    return scores.joint_mean(identity) - scores.marginal_log_mean_exp(
        lambda t: t.clamp(-clip, clip)
    )


def check_trains(estimator: Estimator) -> None:
    """Refuses an estimator whose maximum says nothing.

    Raises:
        InputError: it is `smile`.
    """
    if getattr(estimator, "func", estimator) is smile:
        raise InputError(
            "model.estimator is smile, which scores raise without end: it only reports; train with "
            "jensen_shannon or another estimator and add smile to model.report"
        )


def _fenchel(scores: ScoreSet, activation: Pointwise, conjugate: Pointwise) -> Float[Tensor, ""]:
    """E_J[g(T)] - E_M[f*(g(T))], at most the f-divergence of J and M.

    Args:
        scores: T.
        activation: g, which brings T into the domain of the Fenchel conjugate f*.
        conjugate: the composition of f* and g.
    """
    return scores.joint_mean(activation) - scores.marginal_mean(conjugate)


def _exp(t: Tensor) -> Tensor:
    """exp(t), continued by its tangent where float32 would overflow."""
    below = t.clamp(max=_LINEAR_BEYOND)
    return below.exp() * (1 + (t - below))


def name_of(estimator: Estimator) -> str:
    """What the values of an estimator are logged as."""
    function = getattr(estimator, "func", estimator)
    return getattr(function, "__name__", type(function).__name__)
