"""The largest inner products with a bank: bfloat16 narrows the search, float32 decides it.

A processor that multiplies bfloat16 natively does so four times faster than float32. A product of
rounded vectors says how large the exact one is at most, so that only few rows of the bank need to
be multiplied in float32, and whether these are enough is known afterwards.
"""

import warnings

import torch
from jaxtyping import Float, Int64
from torch import Tensor

_SCORES_AT_ONCE = 2**25  # 128 MiB of float32 scores of a block of queries against the whole bank
_VALUES_AT_ONCE = 2**22  # of a block of vectors
_LEAST_DIM = 512  # below it the products take less time than what bounds them
_LEAST_QUERIES = 512  # fewer do not repay the rounding of the bank
_LEAST_SHARE = 16  # rows of the bank for each candidate: with fewer there is nothing to leave out
_ROUNDING = 2.0**-9  # of one number to bfloat16, at most
_SLACK = 2.0**-20  # of the float32 sums that make a bound


def largest(
    queries: Float[Tensor, "q d"],
    bank: Float[Tensor, "n d"],
    offset: Float[Tensor, " n"],
    k: int,
    chunk: int | None = None,
    narrowed: bool | None = None,
) -> tuple[Float[Tensor, "q k"], Int64[Tensor, "q k"]]:
    """The k largest of q.b + offset for each query, descending, and the rows b of the bank.

    Args:
        queries: one vector a row.
        bank: the same.
        offset: of each row of the bank.
        k: how many.
        chunk: number of queries searched at once; by default what takes 128 MiB.
        narrowed: whether bfloat16 narrows the search; by default where that is faster. The results
            are the same but for the rounding of float32.
    """
    chunk = chunk or max(1, _SCORES_AT_ONCE // len(bank))
    values = queries.new_empty(len(queries), k)
    rows = torch.empty(len(queries), k, dtype=torch.int64, device=queries.device)
    left = torch.arange(len(queries), device=queries.device)
    with torch.autocast(bank.device.type, enabled=False):
        if _pays(len(queries), bank, k) if narrowed is None else narrowed:
            bounds, unsure = _Bounds(bank, offset), []
            for part in left.split(chunk):
                values[part], rows[part], sure = bounds.largest(queries[part], k)
                unsure.append(part[~sure])
            left = torch.cat(unsure) if unsure else left
        scores = queries.new_empty(min(chunk, len(left)), len(bank))  # new pages take long
        for part in left.split(chunk):
            torch.addmm(offset, queries[part], bank.mT, out=scores[: len(part)])
            values[part], rows[part] = scores[: len(part)].topk(k, dim=1)
    return values, rows


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether it is a processor with instructions for products of bfloat16."""
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # as of PyTorch 2.6
    known = [getattr(torch.cpu, name) for name in names if hasattr(torch.cpu, name)]
    return device.type == "cpu" and any(has() for has in known)


class _Bounds:
    """What the products with a bank are at most, from products in bfloat16.

    With m the mean of the bank, q.b = (q - m).(b - m) + b.m + (q - m).m, of which the first
    product alone is rounded: its vectors are short. With r such a vector rounded and e what that
    took from it, it is r_q.r_b + e_q.(b - m) + r_q.e_b, and the last two are at most
    |e_q| |b - m| + |r_q| |e_b|. The product r_q.r_b is summed in float32 over d terms and then
    rounded itself, which moves it by at most (2^-9 + 2 d 2^-24) |r_q| |r_b|.

    Source: Higham, 2002, "Accuracy and stability of numerical algorithms", section 3.1.
    """

    def __init__(self, bank: Tensor, offset: Tensor) -> None:
        self.bank, self.offset = bank, offset
        self.mean = bank.mean(dim=0)
        self.rounded, length, lost = _rounded(bank, self.mean)
        self.sums = bank.shape[1] * 2.0**-23  # what a sum in float32 may be wrong by, at most
        along = bank @ self.mean + self.sums * self.mean.norm() * (length + self.mean.norm())
        slack = 1.01 * _ROUNDING + self.sums + _SLACK
        # for the coefficients 1, |e_q| and |r_q|
        terms = [offset + _SLACK * offset.abs() + along, length, lost + slack * (length + lost)]
        self.terms = torch.stack(terms)
        self.room: tuple[Tensor, Tensor] | None = None  # reused, as new pages take long

    def largest(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
        """The k largest scores, the rows of the bank, and for which queries these are right.

        Candidates are the rows with the largest bounds. They are right if the last bound among
        them, which no other row exceeds, is no larger than the k-th score.
        """
        rounded, length, lost = _rounded(queries, self.mean)
        coefficients = torch.stack([torch.ones_like(lost), lost, length + lost], dim=1)
        upper = self._products(rounded).addmm_(coefficients, self.terms)
        top = upper.topk(min(_candidates(k), len(self.bank)), dim=1)
        found = self._scores(queries, top.indices).topk(k, dim=1)
        along = (queries - self.mean) @ self.mean + self.sums * length * self.mean.norm()
        sure = top.values[:, -1] + along <= found.values[:, -1]
        if top.indices.shape[1] == len(self.bank):
            sure = torch.ones_like(sure)
        return found.values, top.indices.gather(1, found.indices), sure

    def _products(self, rounded: Tensor) -> Tensor:
        """Products of rounded queries with the rounded bank, in float32, valid until the next."""
        count = len(rounded)
        if self.room is None or len(self.room[0]) < count:
            room = rounded.new_empty(count, len(self.bank))
            self.room = room, torch.empty_like(room, dtype=torch.float32)
        products, wide = (part[:count] for part in self.room)
        torch.mm(rounded, self.rounded.mT, out=products)
        return wide.copy_(products)

    def _scores(self, queries: Tensor, rows: Tensor) -> Tensor:
        """The scores of some rows of the bank for each query, in float32."""
        starts = torch.arange(0, rows.numel() + 1, rows.shape[1])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
            places = torch.sparse_csr_tensor(
                starts,
                rows.flatten(),
                queries.new_zeros(rows.numel()),
                (len(queries), len(self.bank)),
                check_invariants=False,  # no order of the columns is needed
            )
            products = torch.sparse.sampled_addmm(places, queries, self.bank.mT, beta=0.0)
        return products.values().view_as(rows) + self.offset[rows]


def _candidates(k: int) -> int:
    """How many rows are looked at for k that are sought; with fewer, too few queries are sure."""
    return k + k // 4 + 32


def _pays(num_queries: int, bank: Tensor, k: int) -> bool:
    large = bank.shape[1] >= _LEAST_DIM and len(bank) >= _LEAST_SHARE * _candidates(k)
    return large and num_queries >= _LEAST_QUERIES and multiplies_bfloat16(bank.device)


def _rounded(vectors: Tensor, mean: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Vectors less a mean in bfloat16, their lengths, and the lengths of what rounding took."""
    rounded = torch.empty_like(vectors, dtype=torch.bfloat16)
    length, lost = vectors.new_empty(len(vectors)), vectors.new_empty(len(vectors))
    count = max(1, _VALUES_AT_ONCE // vectors.shape[1])
    for start in range(0, len(vectors), count):
        part = slice(start, start + count)
        centred = vectors[part] - mean
        rounded[part] = centred
        length[part] = centred.norm(dim=1)
        lost[part] = (centred - rounded[part].float()).norm(dim=1)
    return rounded, length, lost
