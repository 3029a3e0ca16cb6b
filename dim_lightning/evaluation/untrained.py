"""An encoder with fresh weights: the floor that the figures of a trained one stand on."""

import copy
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dim_lightning.data import Batch
from dim_lightning.encoders import Encoder
from dim_lightning.errors import InputError
from dim_lightning.evaluation.features import as_floats
from dim_lightning.evaluation.fitting import seeded
from dim_lightning.seeding import generator_for

_AT_ONCE = 256  # images whose batch-norm statistics are taken together
_OF_ATTENTION = "_reset_parameters"


def untrained(
    encoder: Encoder, batches: Iterable[Batch], device: torch.device | str, *, seed: int = 0
) -> Encoder:
    """A copy of `encoder` with fresh weights: what its architecture alone can do.

    Weights are drawn by each part's `reset_parameters`, those of nn.MultiheadAttention by its
    `_reset_parameters`; batch-norm statistics are those of the images, as without any the features
    of deep layers would hardly vary. Neither `encoder` nor the global generators change.

    Args:
        encoder: whose architecture it is.
        batches: at least two images; how they are ordered and cut into batches is of no account.
        device: where the copy goes.
        seed: of the weights, and of the order in which the statistics are taken.

    Raises:
        InputError: if a part has parameters and no `reset_parameters`, or one that leaves some as
            they are.
    """
    with seeded(seed, torch.device("cpu")), torch.no_grad():
        fresh = copy.deepcopy(encoder)
        fresh.cpu()  # draws on the CPU, so that the floor is the same on every machine
        check_drawable(fresh)
        filled = _filled(fresh)
        _draw_anew(fresh)
        _check_drawn(fresh, filled)
    fresh.to(device)
    _take_statistics(fresh, batches, device, seed)
    return fresh.eval()


def check_drawable(part: nn.Module, name: str = "") -> None:
    """Looks at whether the weights of an encoder can be drawn anew; draws nothing.

    Args:
        part: the encoder, or a part of it.
        name: of the part, for the error.

    Raises:
        InputError: a part has parameters and no `reset_parameters`.
    """
    if _draw_of(part) is not None:  # which sees to all parts within
        return
    if any(True for _ in part.parameters(recurse=False)):
        raise InputError(
            f"the encoder's part {name or type(part).__name__!r} has parameters and no "
            "reset_parameters(), so that it cannot be drawn anew; give it, or a part around it, "
            "that method to have the floor of an untrained encoder"
        )
    for own_name, child in part.named_children():
        check_drawable(child, f"{name}.{own_name}".lstrip("."))


def _draw_anew(part: nn.Module, is_drawn: bool = False) -> None:
    """Draws the parts within and then the part itself, which has the last word.

    Args:
        part: of an encoder.
        is_drawn: whether a part that it lies in sees to it.
    """
    draw = _draw_of(part)
    for child in part.children():
        _draw_anew(child, is_drawn or draw is not None)
    # attention in a part that sees to it would only move the draws of that part
    if draw is not None and not (is_drawn and draw.__name__ == _OF_ATTENTION):
        draw()


def _draw_of(part: nn.Module) -> Callable[[], None] | None:
    """What draws the weights of a part; torch's attention has another name for it."""
    own = getattr(part, _OF_ATTENTION) if isinstance(part, nn.MultiheadAttention) else None
    return getattr(part, "reset_parameters", own)


def _filled(encoder: Encoder) -> dict[str, Tensor]:
    """What stands in place of each trained parameter now, which no layer would draw."""
    generator = torch.Generator().manual_seed(0)
    learned = {name: p for name, p in encoder.named_parameters() if p.requires_grad}
    return {name: p.uniform_(generator=generator).clone() for name, p in learned.items()}


def _check_drawn(encoder: Encoder, filled: Mapping[str, Tensor]) -> None:
    """Looks at whether all was drawn: of a normalised weight a layer draws what it makes of it."""
    now = dict(encoder.named_parameters())
    for name, before in filled.items():
        if before.numel() and before.equal(now[name]):
            raise InputError(
                f"the encoder's parameter {name!r} is not drawn anew by reset_parameters() of its "
                "part; give a part around it that method, which draws it, to have the floor of an "
                "untrained encoder"
            )


def _take_statistics(
    encoder: Encoder, batches: Iterable[Batch], device: torch.device | str, seed: int
) -> None:
    """Gives batch norms the statistics of the images; nothing else is in training mode.

    They are the average over new batches, of about equal size and in a random order: images of one
    class after the other would vary too little.
    """
    norms = [part for part in encoder.modules() if isinstance(part, _BatchNorm)]
    if not norms:
        return
    encoder.eval()
    for norm in norms:
        norm.train()
        norm.momentum = None  # the plain average over all batches
    dtype = next((p.dtype for p in encoder.parameters()), torch.float32)
    images = torch.cat([batch.images for batch in batches])
    order = torch.randperm(len(images), generator=generator_for(seed))
    with torch.no_grad():
        for rows in order.tensor_split(-(-len(images) // _AT_ONCE)):
            encoder(as_floats(images[rows].to(device)).to(dtype))
