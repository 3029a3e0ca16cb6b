"""Reductions of the scores of all pairs, tile by tile.

A tile of scores is computed from the two sides of the pairs, reduced to a sum or a logsumexp, and
dropped; backward computes it again. The reductions combine exactly, so tiling changes nothing but
rounding. torch.utils.checkpoint of each tile was exact as well, but its small results lay between
large temporaries, and memory grew with the square of the batch after all.

Source: the online softmax of Milakov and Gimelshein, 2018; recomputation, Chen et al., 2016.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from dim_lightning.infomax.precision import wide_type, widened
from dim_lightning.infomax.scores import Over, Pointwise
from dim_lightning.processes import first_own_row

Pair = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Sum:
    """The sum of function(T) over codes, images and locations; a scalar."""

    function: Pointwise
    masked: ClassVar[float] = 0.0  # what the score of an image with its own code counts

    def of(self, values: Float[Tensor, "a b m"]) -> Float[Tensor, ""]:
        """The reduction of the values of a tile."""
        return values.sum()

    def start(self, codes: Tensor, num_locations: int) -> Tensor:
        """That of no pair at all."""
        return codes.new_zeros((), dtype=wide_type(codes.dtype))

    def add(self, total: Tensor, rows: slice, value: Tensor) -> None:
        """Adds that of a tile, in place, to what the codes in these rows have."""
        total += value

    def gradient(self, values: Tensor, rows: slice, total: Tensor, gradient: Tensor) -> Tensor:
        """That of the values of a tile, from that of the total."""
        return gradient.expand_as(values)


@dataclass(frozen=True)
class LogSumExp:
    """Log of the sum of exp(function(T)) over the images, [a] or [a, m]."""

    over: Over
    function: Pointwise
    masked: ClassVar[float] = -torch.inf

    def of(self, values: Float[Tensor, "a b m"]) -> Tensor:
        """The reduction of the values of a tile."""
        return values.logsumexp(dim=1 if self.over == "location" else (1, 2))

    def start(self, codes: Tensor, num_locations: int) -> Tensor:
        """That of no pair at all."""
        shape = [len(codes), num_locations] if self.over == "location" else [len(codes)]
        return codes.new_full(shape, -torch.inf, dtype=wide_type(codes.dtype))

    def add(self, total: Tensor, rows: slice, value: Tensor) -> None:
        """Adds that of a tile, in place, to what the codes in these rows have."""
        total[rows] = torch.logaddexp(total[rows], value)

    def gradient(self, values: Tensor, rows: slice, total: Tensor, gradient: Tensor) -> Tensor:
        """That of the values of a tile, by their shares of the whole sum."""
        index = (rows, None) if self.over == "location" else (rows, None, None)
        # A total of -inf, where all is masked, has shares of 0, not exp(-inf + inf).
        shares = (values - total.clamp(min=torch.finfo(total.dtype).min)[index]).exp_()
        return shares.mul_(gradient[index])


def values_of(
    reduction: Sum | LogSumExp, scores: Float[Tensor, "a b m"], shift: int
) -> Float[Tensor, "a b m"]:
    """function(T), masked where an image meets its own code: image j has code j + shift."""
    values = reduction.function(scores)
    num_codes, num_images, _ = scores.shape
    if shift >= num_codes or shift + num_images <= 0:  # as in all tiles but those on the diagonal
        return values
    rows = torch.arange(num_codes, device=scores.device)[:, None]
    own = rows == torch.arange(num_images, device=scores.device) + shift
    return values.masked_fill(own[:, :, None], reduction.masked)


def tiled(
    pair: Pair,
    reduction: Sum | LogSumExp,
    sides: tuple[Float[Tensor, "n m w"], Float[Tensor, "N w"]],
    parameters: Sequence[Tensor],
    tile: tuple[int, int],
) -> Tensor:
    """The reduction of the scores of all codes with all images of this process, in tiles.

    Args:
        pair: scores [..., m] of sources [..., m, w] and codes [..., w], which broadcast.
        reduction: a sum or a logsumexp.
        sides: the images' side of the pairs, and that of the codes of all processes.
        parameters: what `pair` is made of, as far as it is trained.
        tile: how many codes and images it has at most.
    """
    return _Tiled.apply(_Tiling(pair, reduction, *tile), *sides, *parameters)


class _Tiling(NamedTuple):
    """How the pairs are cut, and what is done with a tile."""

    pair: Pair
    reduction: Sum | LogSumExp
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
        return values_of(self.reduction, scores, first + images.start - rows.start)


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
