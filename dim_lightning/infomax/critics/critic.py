"""The interface of critics.

A critic takes both sides of a pair through networks of their own, once for every code and once for
every source, and only then scores pairs of the results. So the cost of a pair is that of `pair`
alone, whatever the negatives are. Row i of the scores belongs to code i, and no score mixes images.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dim_lightning.errors import InputError
from dim_lightning.infomax.all_pairs import AllPairs, encoded_in_pieces, in_autocast_type
from dim_lightning.infomax.scores import Scores, ScoreSet
from dim_lightning.parts import has_dropout
from dim_lightning.processes import first_own_row, gather

PICKED = 32  # images of a joint batch for each negative, up to which all pairs are scored


class Critic(nn.Module, ABC):
    """The interface of all critics: made with the sizes of a source and of a code.

    A method tries it with zeros (`check_critic`). In a step it is called once for each ordered pair
    of views, so that no call may move what a critic keeps between steps, such as a queue.

    Attributes:
        is_product: whether `pair` is one matrix product, so that a score holds a single number; if
            not, it is counted as `w` numbers, those of the layers before it.
    """

    is_product: bool = False

    @abstractmethod
    def encode_source(self, source: Float[Tensor, "n m s"]) -> Float[Tensor, "n m w"]:
        """The side of the image: each of m sources by itself."""

    @abstractmethod
    def encode_code(self, code: Float[Tensor, "n d"]) -> Float[Tensor, "n w"]:
        """The side of the code."""

    @abstractmethod
    def pair(
        self, source: Float[Tensor, "*#b m w"], code: Float[Tensor, "*#b w"]
    ) -> Float[Tensor, "*b m"]:
        """Scores of the sources with the codes; leading axes broadcast."""

    def pair_parameters(self) -> list[nn.Parameter]:
        """The parameters that `pair` uses; none unless a critic says so.

        A parameter left out has no gradient where a large batch's pairs are cut into tiles.
        """
        return []

    def forward(
        self,
        source: Float[Tensor, "n m s"],
        code: Float[Tensor, "n d"],
        negatives: Int64[Tensor, "n k"] | None,
    ) -> ScoreSet:
        """Scores of each code with its own image and with others.

        Args:
            source: of the images of this process.
            code: of the same images.
            negatives: the other images of each code, by their positions in the joint batch of all
                processes; all of them if None.
        """
        code = in_autocast_type(self.encode_code(code))
        if negatives is None:
            source = encoded_in_pieces(self.encode_source, source)
            trained = [p for p in self.pair_parameters() if p.requires_grad]
            return AllPairs(self.pair, source, code, trained, self.is_product)
        source = in_autocast_type(self.encode_source(source))
        sources = gather(source)
        count = negatives.shape[1]
        if self.is_product and count > 1 and len(sources) <= PICKED * count:
            # the product of all pairs takes less time than copies of the sources of some
            whole = self.pair(sources[None], code[:, None])
            own = torch.arange(len(code), device=code.device)
            joint = whole[own, first_own_row(len(code)) + own]
            return Scores(joint, whole[own[:, None], negatives])
        others = sources[negatives]  # [n, k, m, w]
        scores = self.pair(torch.cat([source[:, None], others], dim=1), code[:, None])
        return Scores(scores[:, 0], scores[:, 1:])


def made_critic(make: Callable[[int, int], Critic], source_dim: int, code_dim: int) -> Critic:
    """The critic for these sizes, after a look at whether its scores have the right shapes.

    Raises:
        InputError: see `check_critic`.
    """
    critic = make(source_dim, code_dim)
    check_critic(critic, source_dim, code_dim)
    return critic


def check_critic(critic: Critic, source_dim: int, code_dim: int) -> None:
    """Looks at whether a critic scores each source once, with every code it meets.

    Scores of another shape would broadcast, and something else be trained in silence.

    Args:
        critic: keeps its mode.
        source_dim: s, the size of a source.
        code_dim: d, the size of a code.

    Raises:
        InputError: scores of another shape, `pair` has other parameters than it tells of, or there
            is batch norm, or dropout or another layer that draws.
    """
    name, is_training = type(critic).__name__, critic.training
    if has_dropout(critic):
        raise InputError(
            f"{name} has dropout or other layers that draw, and the draws differ where activations "
            "are computed again for the gradient, so that it would be of another network; leave "
            "them out"
        )
    if any(isinstance(layer, _BatchNorm) for layer in critic.modules()):
        raise InputError(
            f"{name} has batch norm, by which a score would depend on the other images of the "
            "batch; use layer norm in its place, or none"
        )
    critic.eval()
    with torch.no_grad():
        source = critic.encode_source(torch.zeros(2, 3, source_dim))
        code = critic.encode_code(torch.zeros(2, code_dim))
    scores, joint = critic.pair(source, code[:, None]), critic.pair(source, code)
    critic.train(is_training)
    if scores.shape != (2, 2, 3) or joint.shape != (2, 3):
        raise InputError(
            f"{name}.pair gives scores {list(joint.shape)} and {list(scores.shape)} for sources "
            f"{list(source.shape)} with codes {list(code.shape)} and {list(code[:, None].shape)}; "
            "expected [2, 3] and [2, 2, 3]: a score for each source, leading axes broadcast"
        )
    if torch.is_grad_enabled():  # else nothing tells what pair uses
        _check_pair_parameters(critic, joint)


def _check_pair_parameters(critic: Critic, joint: Tensor) -> None:
    """Looks at whether the trained parameters of `pair` are those that it tells of.

    Args:
        critic: any.
        joint: scores whose graph begins at `pair`.

    Raises:
        InputError: it tells of fewer, or of more.
    """
    trained = {name: p for name, p in critic.named_parameters() if p.requires_grad}
    found: Sequence[Tensor | None] = [None] * len(trained)
    if joint.requires_grad and trained:
        found = torch.autograd.grad(joint.sum(), list(trained.values()), allow_unused=True)
    used = {name for name, part in zip(trained, found, strict=True) if part is not None}
    told = {name for name, p in trained.items() if any(p is t for t in critic.pair_parameters())}
    wrong = min(used ^ told, default=None)
    if wrong is not None:
        kind = type(critic).__name__
        uses, gives = ("uses", "does not give") if wrong in used else ("does not use", "gives")
        raise InputError(
            f"{kind}.pair {uses} {wrong}, and {kind}.pair_parameters {gives} it; expected a list "
            "of the parameters of pair, as pairs in tiles have gradients for these alone"
        )


def check_widths(name: str, widths: Sequence[int]) -> None:
    """Refuses layers that cannot be.

    Raises:
        InputError: no layer, or one without units.
    """
    if not widths or min(widths) < 1:
        raise InputError(
            f"a critic's {name} are {list(widths)}; expected at least one, each at least 1; set "
            f"init_args.{name} of the critic"
        )
