"""Every code with every image, reduced tile by tile: memory grows with the batch, not its square.

The scores of all pairs, [N, N, m], are never whole in memory, forward nor backward, unless they are
few; `tiles` has how.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from dim_lightning.errors import InputError
from dim_lightning.infomax.negatives import check_num_images
from dim_lightning.infomax.precision import widened
from dim_lightning.infomax.scores import Over, Pointwise, ScoreSet, identity
from dim_lightning.infomax.tiles import LogSumExp, Pair, Sum, tiled, values_of
from dim_lightning.processes import first_own_row, gather, of_each, to_owners

_PIECE_SOURCES = 2**14  # sources whose activations are in memory at once


class AllPairs(ScoreSet):
    """Scores of every code of all processes with every image but its own.

    A process pairs the codes of all processes with its own images, so that only codes travel,
    [n, w], and the logarithm of each code's sum, [N] or, of each location, [N, m]: no feature maps.

    Args:
        pair: scores [..., m] of sources [..., m, w] and codes [..., w], which broadcast.
        source: the critic's side of the images of this process, [n, m, w].
        code: the critic's side of their codes, [n, w].
        parameters: what `pair` is made of, as far as it is trained.
        is_product: whether `pair` is a matrix product, see `Critic`.
        whole_scores: most numbers of a tile that are not cut into tiles; their scores are computed
            once for all reductions, those of tiles anew for each. What suits the device if None.

    Attributes:
        tile_scores: most numbers of a tile, its scores or what the layers before them hold, but
            for a single code and image.
        tile_codes: most codes of a tile.

    On a CPU tiles stay in its cache. A GPU takes larger ones, as each costs tens of kernels however
    small it is; how large is best there was not measured.

    Raises:
        InputError: the processes have a single image together.
    """

    tile_scores = 2**20  # 4 MiB in float32
    tile_codes = 1024

    def __init__(
        self,
        pair: Pair,
        source: Float[Tensor, "n m w"],
        code: Float[Tensor, "n w"],
        parameters: Sequence[Tensor] = (),
        is_product: bool = False,
        whole_scores: int | None = None,
    ):
        self.pair = pair
        self.source = source
        self.parameters = tuple(parameters)
        self.held = 1 if is_product else source.shape[-1]  # numbers in memory for a score
        most = 2**24  # so few are quicker all at once
        if source.device.type != "cpu":
            self.tile_scores, self.tile_codes, most = 2**25, 2**15, 2**26
        self.all_codes = gather(code)
        check_num_images(len(self.all_codes))
        num_images, m, _ = source.shape
        numbers = len(self.all_codes) * num_images * m * self.held
        self.is_whole = numbers <= (most if whole_scores is None else whole_scores)
        self._scores: Tensor | None = None
        if is_product and self.is_whole:  # real pairs are among all of them, at no price
            own = slice(first := first_own_row(num_images), first + num_images)
            self.joint = self._whole()[own].diagonal().mT
        else:
            self.joint = pair(source, code)

    @property
    def num_negatives(self) -> int:
        """All other images of the joint batch, k = N - 1."""
        return len(self.all_codes) - 1

    @property
    def marginal(self) -> Tensor:
        """Not there: estimators of one's own that read the scores themselves are told so.

        Raises:
            InputError: always.
        """
        raise InputError(
            "the scores of all pairs are never in memory as a whole, so there is no marginal; "
            "expected an estimator that takes marginal_mean or marginal_logsumexp; rewrite it so, "
            "or set model.num_negatives to a number"
        )

    def marginal_mean(self, function: Pointwise) -> Float[Tensor, ""]:
        """E_M[function(T)], this process's share."""
        total = self._reduced(Sum(function))
        return total / (self.num_negatives * self.joint.numel())

    def marginal_logsumexp(
        self, over: Over, function: Pointwise = identity
    ) -> Float[Tensor, "..."]:
        """Log of the sum of exp(function(T)), see `ScoreSet`."""
        per_code = self._reduced(LogSumExp(over, function))
        if over == "all":
            return of_each(per_code.logsumexp(dim=0)).logsumexp(dim=0)
        return to_owners(per_code).logsumexp(dim=0)  # over the images of each process

    def _reduced(self, reduction: Sum | LogSumExp) -> Tensor:
        """The reduction of the scores of all pairs of a code and an image of this process."""
        _check_fixed(reduction.function, self.joint)
        num_images, m, _ = self.source.shape
        if self.is_whole:
            return reduction.of(values_of(reduction, self._whole(), first_own_row(num_images)))
        most, held = min(len(self.all_codes), self.tile_codes), m * self.held
        num_codes = min(most, max(1, self.tile_scores // held))
        images_a_tile = max(1, self.tile_scores // (num_codes * held))
        sides, tile = (self.source, self.all_codes), (num_codes, images_a_tile)
        return tiled(self.pair, reduction, sides, self.parameters, tile)

    def _whole(self) -> Float[Tensor, "N n m"]:
        """The scores of all pairs, computed once, however many reductions are made of them.

        Those that were computed without a graph are computed again where a gradient is wanted.
        """
        # The peak of memory stays where it is: for backward a reduction holds as many numbers, and
        # what `pair` holds beside them, for longer than this object lives.
        if self._scores is None or (torch.is_grad_enabled() and not self._scores.requires_grad):
            self._scores = widened(self.pair(self.source[None], self.all_codes[:, None]))
        return self._scores


def _check_fixed(function: Pointwise, scores: Tensor) -> None:
    """Refuses a function that is trained itself: through tiles it would have no gradient.

    Raises:
        InputError: it is.
    """
    if function(widened(scores.detach()[:1, :1])).requires_grad:
        raise InputError(
            "the estimator applies a function with parameters of its own to the scores of all "
            "pairs; expected a fixed one; let the critic's pair do what is learned, such as "
            "subtract a baseline, or set model.num_negatives to a number"
        )


def encoded_in_pieces(
    encode: Callable[[Tensor], Tensor], source: Float[Tensor, "n m s"]
) -> Float[Tensor, "n m w"]:
    """`encode` of each source, whose inner activations are computed again in backward if large.

    They would take several times the memory of the result. The result comes in the type that
    autocast computes with, in which it is multiplied.
    """
    pieces = source.split(max(1, _PIECE_SOURCES // source.shape[1]))

    def encode_piece(piece: Tensor) -> Tensor:
        return in_autocast_type(encode(piece))

    if len(pieces) == 1:
        return encode_piece(source)
    return torch.cat(
        [
            checkpoint(encode_piece, piece, use_reentrant=False, preserve_rng_state=False)
            for piece in pieces
        ]
    )


def in_autocast_type(values: Tensor) -> Tensor:
    """The values in the type that autocast would multiply them in; as they are without it."""
    kind = values.device.type
    if not torch.is_autocast_enabled(kind) or values.dtype == torch.float64:
        return values
    return values.to(torch.get_autocast_dtype(kind))
