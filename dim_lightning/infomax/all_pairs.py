"""Every code with every image, reduced tile by tile: memory grows with the batch, not its square.

The scores of all pairs, [N, N, m], are never whole in memory, forward nor backward. A tile of them
is computed from the two sides of the pairs, reduced to a sum or a logsumexp, and dropped; backward
computes it again. The reductions combine exactly, so tiling changes nothing but rounding.

Source: the online softmax of Milakov and Gimelshein, 2018; recomputation, Chen et al., 2016.
"""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from dim_lightning.infomax.scores import Over, Pointwise, ScoreSet, widened
from dim_lightning.processes import first_own_row, gather, own_rows

TILE_SCORES = 2**22  # of a tile: 16 MiB in float32, of which backward holds a few
TILE_CODES = 1024
_PIECE_SOURCES = 2**14  # sources whose activations are in memory at once

Pair = Callable[[Tensor, Tensor], Tensor]


class AllPairs(ScoreSet):
    """Scores of every code of all processes with every image but its own.

    A process pairs the codes of all processes with its own images, so that only codes travel,
    [n, w], and logarithms of sums, [N]: no feature maps.

    Args:
        pair: scores [..., m] of sources [..., m, w] and codes [..., w], which broadcast.
        source: the critic's side of the images of this process, [n, m, w].
        code: the critic's side of their codes, [n, w].
        tile_scores: most scores in memory at once.
        tile_codes: most codes of a tile.
    """

    def __init__(
        self,
        pair: Pair,
        source: Float[Tensor, "n m w"],
        code: Float[Tensor, "n w"],
        tile_scores: int = TILE_SCORES,
        tile_codes: int = TILE_CODES,
    ):
        self.pair = pair
        self.joint = pair(source, code)
        self.source = source
        self.all_codes = gather(code)
        self.tile_scores = tile_scores
        self.tile_codes = tile_codes

    @property
    def num_negatives(self) -> int:
        """K = N - 1, all other images of the joint batch."""
        return len(self.all_codes) - 1

    def marginal_mean(self, function: Pointwise) -> Float[Tensor, ""]:
        """E_M[function(T)], this process's share."""
        sums = [tile for row in self._tiles(partial(_masked_sum, function)) for tile in row]
        return torch.stack(sums).sum() / (self.num_negatives * self.joint.numel())

    def marginal_logsumexp(
        self, over: Over, function: Pointwise | None = None
    ) -> Float[Tensor, "..."]:
        """Log of the sum of exp(function(T)), see `ScoreSet`."""
        rows = self._tiles(partial(_masked_logsumexp, over, function))
        per_code = torch.cat([torch.stack(row).logsumexp(dim=0) for row in rows])
        shares = gather(per_code[None])  # of the images of each process
        if over == "all":
            return shares.flatten().logsumexp(dim=0)
        return own_rows(shares.logsumexp(dim=0))

    def _tiles(self, reduce: Callable[[Tensor, Tensor], Tensor]) -> list[list[Tensor]]:
        """`reduce` of each tile: a list of tiles of images for each tile of codes."""
        num_locations = self.source.shape[1]
        num_codes = min(len(self.all_codes), self.tile_codes)
        num_images = max(1, self.tile_scores // (num_codes * num_locations))
        sources, codes = self.source.split(num_images), self.all_codes.split(num_codes)
        whole = len(sources) == len(codes) == 1
        first_image = first_own_row(len(self.source))
        rows = []
        for i, code in enumerate(codes):
            row = []
            for j, source in enumerate(sources):
                shift = first_image + j * num_images - i * num_codes
                tile = partial(self._tile, reduce, shift)
                row.append(
                    tile(source, code)
                    if whole
                    else checkpoint(
                        tile, source, code, use_reentrant=False, preserve_rng_state=False
                    )
                )
            rows.append(row)
        return rows

    def _tile(
        self,
        reduce: Callable[[Tensor, Tensor], Tensor],
        shift: int,
        source: Float[Tensor, "b m w"],
        code: Float[Tensor, "a w"],
    ) -> Tensor:
        """`reduce` of the scores of a codes and b images; image j's own code is row j + shift."""
        scores = widened(self.pair(source[None], code[:, None]))  # [a, b, m]
        columns = torch.arange(len(source), device=code.device)
        own = torch.arange(len(code), device=code.device)[:, None] == columns + shift
        return reduce(scores, own[:, :, None])


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


def _masked_sum(function: Pointwise, scores: Tensor, own: Tensor) -> Tensor:
    return function(scores).masked_fill(own, 0.0).sum()


def _masked_logsumexp(
    over: Over, function: Pointwise | None, scores: Tensor, own: Tensor
) -> Tensor:
    if function is not None:
        scores = function(scores)
    others = scores.masked_fill(own, -torch.inf)
    if over == "location":
        return others.logsumexp(dim=1)
    return others.flatten(1).logsumexp(dim=1)
