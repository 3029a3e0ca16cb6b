"""Every code with every image, reduced tile by tile: memory grows with the batch, not its square.

The scores of all pairs, [N, N, m], are never whole in memory, forward nor backward. A tile of them
is computed from the two sides of the pairs, reduced to a sum or a logsumexp, and dropped; backward
computes it again. The reductions combine exactly, so tiling changes nothing but rounding.

Source: the online softmax of Milakov and Gimelshein, 2018; recomputation, Chen et al., 2016.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from dim_lightning.errors import InputError
from dim_lightning.infomax.negatives import check_num_images
from dim_lightning.infomax.precision import wide_type, widened
from dim_lightning.infomax.scores import Over, Pointwise, ScoreSet, identity
from dim_lightning.processes import first_own_row, gather, of_each, to_owners

_PIECE_SOURCES = 2**14  # sources whose activations are in memory at once

Pair = Callable[[Tensor, Tensor], Tensor]


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

    Attributes:
        tile_scores: most numbers of a tile, its scores or what the layers before them hold, but
            for a single code and image.
        tile_codes: most codes of a tile.
        whole_scores: most of these numbers that are not cut into tiles; their scores are computed
            once for all reductions, those of tiles anew for each.

    On a CPU tiles stay in its cache. A GPU takes larger ones, as each costs tens of kernels however
    small it is; how large is best there was not measured.

    Raises:
        InputError: the processes have a single image together.
    """

    tile_scores = 2**20  # 4 MiB in float32
    tile_codes = 1024
    whole_scores = 2**24  # so few are quicker all at once

    def __init__(
        self,
        pair: Pair,
        source: Float[Tensor, "n m w"],
        code: Float[Tensor, "n w"],
        parameters: Sequence[Tensor] = (),
        is_product: bool = False,
    ):
        self.pair = pair
        self.joint = pair(source, code)
        self.source = source
        self.parameters = tuple(parameters)
        self.held = 1 if is_product else source.shape[-1]  # numbers in memory for a score
        if source.device.type != "cpu":
            self.tile_scores, self.tile_codes, self.whole_scores = 2**25, 2**15, 2**26
        self.all_codes = gather(code)
        check_num_images(len(self.all_codes))
        self._scores: Tensor | None = None

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
        total = self._reduced(_Sum(function))
        return total / (self.num_negatives * self.joint.numel())

    def marginal_logsumexp(
        self, over: Over, function: Pointwise = identity
    ) -> Float[Tensor, "..."]:
        """Log of the sum of exp(function(T)), see `ScoreSet`."""
        per_code = self._reduced(_LogSumExp(over, function))
        if over == "all":
            return of_each(per_code.logsumexp(dim=0)).logsumexp(dim=0)
        return to_owners(per_code).logsumexp(dim=0)  # over the images of each process

    def _reduced(self, reduction: "_Sum | _LogSumExp") -> Tensor:
        """The reduction of the scores of all pairs of a code and an image of this process."""
        _check_fixed(reduction.function, self.joint)
        num_images, m, _ = self.source.shape
        all_images, held = len(self.all_codes), self.held
        if all_images * num_images * m * held <= self.whole_scores:
            return reduction.of(_values(reduction, self._whole(), first_own_row(num_images)))
        num_codes = min(all_images, self.tile_codes, max(1, self.tile_scores // (m * held)))
        images_a_tile = max(1, self.tile_scores // (num_codes * m * held))
        tiling = _Tiling(self.pair, reduction, num_codes, images_a_tile)
        return _Tiled.apply(tiling, self.source, self.all_codes, *self.parameters)

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


@dataclass(frozen=True)
class _Sum:
    """The sum of function(T); a scalar."""

    function: Pointwise
    masked: ClassVar[float] = 0.0  # what the score of an image with its own code counts

    def of(self, values: Float[Tensor, "a b m"]) -> Float[Tensor, ""]:
        return values.sum()

    def start(self, codes: Tensor, num_locations: int) -> Tensor:
        return codes.new_zeros((), dtype=wide_type(codes.dtype))

    def add(self, total: Tensor, rows: slice, value: Tensor) -> None:
        total += value

    def gradient(self, values: Tensor, rows: slice, total: Tensor, gradient: Tensor) -> Tensor:
        """That of the values of a tile, from that of the total."""
        return gradient.expand_as(values)


@dataclass(frozen=True)
class _LogSumExp:
    """Log of the sum of exp(function(T)) over the images, [a] or [a, m]."""

    over: Over
    function: Pointwise
    masked: ClassVar[float] = -torch.inf

    def of(self, values: Float[Tensor, "a b m"]) -> Tensor:
        return values.logsumexp(dim=1 if self.over == "location" else (1, 2))

    def start(self, codes: Tensor, num_locations: int) -> Tensor:
        shape = [len(codes), num_locations] if self.over == "location" else [len(codes)]
        return codes.new_full(shape, -torch.inf, dtype=wide_type(codes.dtype))

    def add(self, total: Tensor, rows: slice, value: Tensor) -> None:
        total[rows] = torch.logaddexp(total[rows], value)

    def gradient(self, values: Tensor, rows: slice, total: Tensor, gradient: Tensor) -> Tensor:
        """That of the values of a tile, by their shares of the whole sum."""
        index = (rows, None) if self.over == "location" else (rows, None, None)
        # A total of -inf, where all is masked, has shares of 0, not exp(-inf + inf).
        shares = (values - total.clamp(min=torch.finfo(total.dtype).min)[index]).exp_()
        return shares.mul_(gradient[index])


def _values(
    reduction: _Sum | _LogSumExp, scores: Float[Tensor, "a b m"], shift: int
) -> Float[Tensor, "a b m"]:
    """function(T), masked where an image meets its own code: image j has code j + shift."""
    values = reduction.function(scores)
    num_codes, num_images, _ = scores.shape
    if shift >= num_codes or shift + num_images <= 0:  # as in all tiles but those on the diagonal
        return values
    rows = torch.arange(num_codes, device=scores.device)[:, None]
    own = rows == torch.arange(num_images, device=scores.device) + shift
    return values.masked_fill(own[:, :, None], reduction.masked)


class _Tiling(NamedTuple):
    """How the pairs are cut, and what is done with a tile."""

    pair: Pair
    reduction: _Sum | _LogSumExp
    num_codes: int
    num_images: int

    def slices(self, source: Tensor, codes: Tensor) -> Iterator[tuple[slice, Iterator[slice]]]:
        """Images of this process, and for each such slice the slices of all codes."""
        for j in range(0, len(source), self.num_images):
            rows = range(0, len(codes), self.num_codes)
            yield (
                slice(j, min(j + self.num_images, len(source))),
                (slice(i, min(i + self.num_codes, len(codes))) for i in rows),
            )

    def values(
        self, source: Tensor, codes: Tensor, images: slice, rows: slice, first: int
    ) -> Float[Tensor, "a b m"]:
        """function(T) of one tile, masked where an image meets its own code."""
        scores = widened(self.pair(source[None], codes[:, None]))
        return _values(self.reduction, scores, first + images.start - rows.start)


class _Tiled(torch.autograd.Function):
    """The reduction over all tiles. Nothing of a tile is kept but its part of the total."""

    @staticmethod
    def forward(
        ctx: Any, tiling: _Tiling, source: Tensor, codes: Tensor, *parameters: Tensor
    ) -> Tensor:
        first = first_own_row(len(source))
        total = tiling.reduction.start(codes, source.shape[1])
        for images, all_rows in tiling.slices(source, codes):
            for rows in all_rows:
                values = tiling.values(source[images], codes[rows], images, rows, first)
                tiling.reduction.add(total, rows, tiling.reduction.of(values))
        ctx.save_for_backward(source, codes, total, *parameters)
        ctx.tiling = tiling
        kind = source.device.type
        ctx.autocast = (kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind))
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable  # a second derivative would lack the tiles' part
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        source, codes, total, *parameters = ctx.saved_tensors
        tiling, first = ctx.tiling, first_own_row(len(source))
        of_source = torch.empty_like(source)
        of_codes = torch.zeros_like(codes, dtype=wide_type(codes.dtype))
        of_parameters = [torch.zeros_like(p) for p in parameters]
        kind, dtype, enabled = ctx.autocast
        with torch.enable_grad(), torch.autocast(kind, dtype, enabled, cache_enabled=False):
            for images, all_rows in tiling.slices(source, codes):
                image = source[images].detach().requires_grad_()
                of_image = torch.zeros_like(image, dtype=wide_type(source.dtype))
                for rows in all_rows:
                    code = codes[rows].detach().requires_grad_()
                    values = tiling.values(image, code, images, rows, first)
                    share = tiling.reduction.gradient(values.detach(), rows, total, gradient)
                    found = torch.autograd.grad(values, [image, code, *parameters], share)
                    targets = [of_image, of_codes[rows], *of_parameters]
                    for target, part in zip(targets, found, strict=True):
                        target += part
                of_source[images] = of_image
        return None, of_source, of_codes.to(codes.dtype), *of_parameters


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
