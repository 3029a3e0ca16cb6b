"""What a method and the parts that it is given have to be: errors in a sentence, and in time."""

import re
import warnings
from collections.abc import Mapping
from enum import Enum
from functools import partial
from inspect import signature
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from dim_lightning.errors import InputError, cut

_FREE = ("optimizer", "lr_scheduler", "report")  # may be others from here on
_LONGEST = 80  # of what was given, in an error
_NUMPY = (np.bool_, np.number, np.str_)
# others' layers, by the setting that says how much they drop; to import them takes its time
_DROPPING = {"StochasticDepth": "p", "DropPath": "drop_prob"}  # torchvision's, timm's
_MODULES = re.compile(r"(?<!')\b(?:[A-Za-z_]\w*\.)+(?=[A-Za-z_])")


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


def is_plain(value: Any) -> bool:
    """Whether a checkpoint that loads with weights_only may hold the value."""
    if isinstance(value, dict):
        return all(is_plain(each) for each in (*value, *value.values()))
    if isinstance(value, list | tuple):
        return all(is_plain(item) for item in value)
    return value is None or isinstance(value, (bool, int, float, str, *_NUMPY))


def as_plain(value: Any) -> Any:
    """A plain value in Python's own types: NumPy's and enumerations are classes, which no file has.

    A named tuple becomes a tuple.
    """
    if isinstance(value, dict):
        return {as_plain(name): as_plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        items = map(as_plain, value)
        return list(items) if isinstance(value, list) else tuple(items)
    if isinstance(value, _NUMPY):
        return value.item()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)  # of an enumeration, its text
    return int(value) if isinstance(value, int) else float(value)


def shown(value: Any) -> Any:
    """A setting as loggers keep it: plain, or a part's text."""
    return as_plain(value) if is_plain(value) else part_text(value)


def part_text(value: Any) -> str:
    """What was given as a part, as text that is the same in every process.

    Args:
        value: a class or function, a partial of one, a plain value, a member of an enumeration,
            torch's dtype or device, or a list or mapping of these; of any other object the class is
            named, with those of its settings that it keeps and are plain.
    """
    if isinstance(value, partial):
        value = as_written(value)
        words = [part_text(each) for each in (value.func, *value.args)]
        words += [f"{name}={part_text(each)}" for name, each in sorted(value.keywords.items())]
        return f"partial({', '.join(words)})"
    if is_plain(value):
        return repr(as_plain(value))
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(part_text, value))}]"
    if isinstance(value, Mapping):
        pairs = [f"{part_text(name)}: {part_text(each)}" for name, each in value.items()]
        return f"{{{', '.join(sorted(pairs))}}}"
    if isinstance(value, torch.dtype | torch.device):
        return str(value)
    if isinstance(value, Enum):
        return f"{part_text(type(value))}.{value.name}"
    named = value if hasattr(value, "__qualname__") else type(value)
    module = getattr(named, "__module__", None)  # which methods of built-in classes have not
    text = f"{module}.{named.__qualname__}" if module else named.__qualname__
    if named is value or isinstance(value, nn.Module):
        return text
    given = set(signature(type(value).__init__).parameters) & set(getattr(value, "__dict__", {}))
    plain = sorted(name for name in given if is_plain(getattr(value, name)))
    settings = ", ".join(f"{name}={part_text(getattr(value, name))}" for name in plain)
    return f"{text}({settings})" if plain else text


def as_written(make: partial) -> partial:
    """The partial of the class itself: jsonargparse's are of a function of its own, and the class.

    A method that `load_from_checkpoint` makes of the command line's settings has such.
    """
    if make.args and str(getattr(make.func, "__module__", "")).startswith("jsonargparse"):
        return partial(make.args[-1], **make.keywords)
    return make


def check_parts(method: str, stored: Mapping[str, str], given: Mapping[str, Any]) -> None:
    """Refuses parts that compute something else; warns of those that lie in another module now.

    Args:
        method: the class of the module that loads a checkpoint.
        stored: parameter -> `part_text` of what the checkpoint was trained with.
        given: parameter -> what the module has.

    Raises:
        InputError: some differ; names them and says how to give the same.
    """
    now = {name: part_text(given[name]) for name in stored if name in given and name not in _FREE}
    others = [name for name, text in now.items() if stored[name] != text]
    told = {name: f"{name} was {stored[name]}, here it is {now[name]}" for name in others}
    changed = [name for name in others if _unplaced(now[name]) != _unplaced(stored[name])]
    if changed:
        listed = "; ".join(told[name] for name in changed)
        words = ", ".join(f"{name}={stored[name]}" for name in changed)
        raise InputError(
            f"the checkpoint was trained with other parts: {listed}; expected the same, which no "
            f"checkpoint can hold: give them, {method}.load_from_checkpoint(path, {words}), or, "
            "for others on purpose, load its state_dict alone"
        )
    for name in others:
        warnings.warn(f"{told[name]}; taken for the same in another place", stacklevel=3)


def warn_of_unknown(
    method: str, version: str, stored: Mapping[str, Any], given: Mapping[str, Any]
) -> None:
    """Warns of settings in a checkpoint that the class has not: of another version, they are lost.

    Args:
        method: the class of the module that loads a checkpoint.
        version: of dim_lightning that wrote it.
        stored: its settings; those that begin with _ are Lightning's own.
        given: the module's.
    """
    unknown = sorted(name for name in set(stored) - set(given) if not name.startswith("_"))
    if unknown:
        warnings.warn(
            f"the checkpoint, of dim_lightning {version}, has settings that {method} does not "
            f"have: {', '.join(unknown)}; they have no effect",
            stacklevel=3,
        )


def _unplaced(text: str) -> str:
    """The text without the modules in which classes and functions lie."""
    return _MODULES.sub("", text)


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
