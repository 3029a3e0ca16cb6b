"""What a method and the parts that it is given have to be: errors in a sentence, and in time."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from dim_lightning.errors import InputError


def check_makers(**makers: Any) -> None:
    """Refuses parts that are already made: they are made here, with sizes known only here.

    Args:
        makers: the parameter's name -> what is to make the part.

    Raises:
        InputError: one of them is a part.
    """
    for name, make in makers.items():
        if isinstance(make, nn.Module | Optimizer | LRScheduler):
            kind = type(make).__name__
            raise InputError(
                f"{name} is an object of class {kind}; expected what makes one: the class itself, "
                f"or functools.partial({kind}, setting=value)"
            )


def check_terms(method: str, given: Any, shape: tuple[int, int]) -> None:
    """Looks at the shapes of what a method gives, which asks nothing back from the device.

    Raises:
        InputError: they are not what `code_and_terms` is to give.
    """
    where = f"{method}.code_and_terms gives"
    if not (isinstance(given, tuple) and len(given) == 2):
        raise InputError(f"{where} {type(given).__name__}; expected a pair, codes and terms")
    code, terms = given
    if not (isinstance(code, Tensor) and code.shape == shape):
        raise InputError(
            f"{where} as codes {_kind(code)}; expected those of the images, {list(shape)}"
        )
    if not isinstance(terms, Mapping) or (terms and "loss" not in terms):
        found = list(terms) if isinstance(terms, Mapping) else type(terms).__name__
        raise InputError(f"{where} as terms {found}; expected a dict with 'loss' in it, or {{}}")
    for name, term in terms.items():
        check_scalar(f"{where} the term {name!r} as", term)
    if terms and torch.is_grad_enabled() and not terms["loss"].requires_grad:
        raise InputError(
            f"{where} a 'loss' without gradient; expected one that depends on parameters, not "
            "detached and not computed under no_grad"
        )


def check_scalar(where: str, value: object) -> None:
    """Refuses a value of which a mean would be taken in silence, or none can be.

    Args:
        where: whose value it is, as the message begins.
        value: to be a scalar tensor.

    Raises:
        InputError: it is something else.
    """
    if not (isinstance(value, Tensor) and value.ndim == 0):
        raise InputError(f"{where} {_kind(value)}; expected a scalar tensor, such as a mean()")


def _kind(value: object) -> str:
    """The shape of a tensor, the class of anything else."""
    return str(list(value.shape)) if isinstance(value, Tensor) else type(value).__name__
