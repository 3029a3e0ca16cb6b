"""What a method and the parts that it is given have to be: errors in a sentence, and in time."""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from dim_lightning.errors import InputError, cut
from dim_lightning.hyperparameters import part_text
from dim_lightning.processor import (
    APPLE_GPU_ADVICE,
    PRECISIONS,
    apple_gpu_error,
    is_trained_in,
)

_LONGEST = 80  # of what was given, in an error
# others' layers, by the setting that says how much they drop; to import them takes its time
_DROPPING = {"StochasticDepth": "p", "DropPath": "drop_prob"}  # torchvision's, timm's


def check_makers(**makers: Any) -> None:
    """Refuses parts that are already made, and names: they are made here, with sizes known here.

    Args:
        makers: the parameter's name -> what is to make the part.

    Raises:
        InputError: one of them is a part, or cannot be called.
    """
    for name, make in makers.items():
        is_part = isinstance(make, nn.Module | Optimizer | LRScheduler)
        if is_part or not callable(make):
            kind = make if isinstance(make, str) else type(make).__name__ if is_part else "Class"
            found = f"an object of class {kind}" if is_part else cut(part_text(make), _LONGEST)
            raise InputError(
                f"{name} is {found}; expected what makes one: the class or function itself, or "
                f"functools.partial({kind}, setting=value)"
            )


def check_functions(**functions: Any) -> None:
    """Refuses what cannot be called as it is: names, and classes, which would make an object.

    Args:
        functions: the parameter's name -> what is to be called.

    Raises:
        InputError: one of them is such.
    """
    for name, function in functions.items():
        if isinstance(function, type):
            raise InputError(
                f"{name} is the class {part_text(function)}; expected a function, or an object "
                f"that can be called as one, such as {function.__name__}()"
            )
        if not callable(function):
            raise InputError(
                f"{name} is {cut(part_text(function), _LONGEST)}; expected the function itself, or "
                "an object that can be called as one"
            )


def check_scheduler(scheduler: LRScheduler) -> None:
    """Refuses a schedule that nobody would give what it goes by.

    Raises:
        InputError: it goes by a figure, such as a loss.
    """
    if isinstance(scheduler, ReduceLROnPlateau):
        raise InputError(
            "model.lr_scheduler is ReduceLROnPlateau, a schedule that needs a figure, which cannot "
            "be used here; expected one of steps or epochs alone; set model.lr_scheduler to "
            "WarmupCosine, or another of torch's, e.g. CosineAnnealingLR"
        )


def has_dropout(part: nn.Module) -> bool:
    """Whether layers of a part draw from PyTorch's global generators, which no checkpoint keeps.

    Those of `nn` are known, and stochastic depth. Functions that a part calls itself, such as
    `torch.nn.functional.dropout`, cannot be seen.
    """
    return any(map(_draws, part.modules()))


def _draws(layer: nn.Module) -> bool:
    if isinstance(layer, _DropoutNd):
        return layer.p > 0
    if isinstance(layer, nn.MultiheadAttention):
        return layer.dropout > 0
    if isinstance(layer, nn.RNNBase):  # LSTM and its like drop between layers
        return layer.dropout > 0 and layer.num_layers > 1
    if isinstance(layer, nn.RReLU):
        return layer.lower < layer.upper
    if isinstance(layer, nn.FractionalMaxPool2d | nn.FractionalMaxPool3d):
        return layer._random_samples is None  # else where it pools was given
    return bool(getattr(layer, _DROPPING.get(type(layer).__name__, ""), None))


def check_gradients(device: torch.device) -> None:
    """Refuses to train where PyTorch is known to compute wrong gradients.

    Args:
        device: of the parameters.

    Raises:
        InputError: so it is.
    """
    error = apple_gpu_error() if device.type == "mps" else None
    if error is not None:
        raise InputError(f"the Trainer computes on Apple's GPU, but {error}; {APPLE_GPU_ADVICE}")


def check_precision(precision: str | int | None) -> None:
    """Refuses to train in a precision in which nothing here does.

    Args:
        precision: as the Trainer is given it.

    Raises:
        InputError: it is such.
    """
    if not is_trained_in(precision):
        raise InputError(
            f"trainer.precision is {precision}, but images are float32; expected "
            f"{', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}"
        )


def warn_of_dropout(part: nn.Module) -> None:
    """Warns of a part of a method that has some; a critic that has is refused.

    To be called by what the method's own constructor calls, for the warning's place.
    """
    if has_dropout(part):
        warnings.warn(
            f"{type(part).__name__} has dropout or other layers that draw from PyTorch's global "
            "generators: a run that goes on after a stop draws otherwise, and several processes "
            "draw the same",
            stacklevel=4,
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
