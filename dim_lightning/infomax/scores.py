"""What critics say and estimators read."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from dim_lightning.errors import InputError
from dim_lightning.infomax.precision import widened
from dim_lightning.processes import joint_size, of_each

Over = Literal["all", "code", "location"]
Pointwise = Callable[[Tensor], Tensor]


def identity(t: Tensor) -> Tensor:
    """The scores as they are."""
    return t


class ScoreSet(ABC):
    """Scores of real pairs, and reductions over those of the other pairs.

    Real pairs follow the joint distribution J, the others the product of marginals M. Reductions
    are over the pairs of all processes; a mean comes as a share, such that the mean of the shares
    is the mean of all, as it is with gradients in data-parallel training. Values are at least
    float32, whatever the critic computed in.

    Attributes:
        joint: T of code i with location l of its own image, [n, m], as the critic computed it.
    """

    joint: Float[Tensor, "n m"]

    @property
    @abstractmethod
    def num_negatives(self) -> int:
        """k, the other images that each code is contrasted with."""

    @abstractmethod
    def marginal_mean(self, function: Pointwise) -> Float[Tensor, ""]:
        """E_M[function(T)], this process's share; a function without parameters of its own."""

    @abstractmethod
    def marginal_logsumexp(
        self, over: Over, function: Pointwise = identity
    ) -> Float[Tensor, "..."]:
        """Log of the sum of exp(function(T)) over the other pairs.

        Args:
            over: 'all' pairs of all processes, a scalar; all pairs of a 'code', [n]; pairs of a
                code with one 'location' of other images, [n, m].
            function: applied to T first, without parameters of its own.
        """

    def marginal_log_mean_exp(self, function: Pointwise = identity) -> Float[Tensor, ""]:
        """The logarithm of E_M[exp(function(T))], over all processes."""
        n, m = self.joint.shape
        count = joint_size(n) * self.num_negatives * m
        return self.marginal_logsumexp("all", function) - math.log(count)

    def joint_mean(self, function: Pointwise) -> Float[Tensor, ""]:
        """E_J[function(T)], this process's share."""
        return function(widened(self.joint)).mean()


@dataclass(frozen=True)
class Scores(ScoreSet):
    """A critic's values T for n codes, at m locations, all of them in memory.

    Attributes:
        joint: T of code i with location l of its own image, [n, m].
        marginal: T of code i with location l of k other images, [n, k, m].

    Raises:
        InputError: their shapes are others, of which an estimator would still be a number.
    """

    joint: Float[Tensor, "n m"]
    marginal: Float[Tensor, "n k m"]

    def __post_init__(self) -> None:
        joint, marginal = self.joint.shape, self.marginal.shape
        if len(marginal) != 3 or joint != marginal[::2]:
            raise InputError(
                f"joint scores are {list(joint)} and marginal ones {list(marginal)}; expected "
                "[n, m] and [n, k, m], of n codes at m locations, each with k other images; a "
                "global critic has m = 1"
            )

    @property
    def num_negatives(self) -> int:
        """k, the other images that each code is contrasted with."""
        return self.marginal.shape[1]

    def marginal_mean(self, function: Pointwise) -> Float[Tensor, ""]:
        """E_M[function(T)], this process's share."""
        return function(widened(self.marginal)).mean()

    def marginal_logsumexp(
        self, over: Over, function: Pointwise = identity
    ) -> Float[Tensor, "..."]:
        """Log of the sum of exp(function(T)), see `ScoreSet`."""
        scores = function(widened(self.marginal))
        if over == "location":
            return scores.logsumexp(dim=1)
        per_code = scores.flatten(1).logsumexp(dim=1)
        return per_code if over == "code" else of_each(per_code.logsumexp(dim=0)).logsumexp(dim=0)
