"""What is kept and told of the settings that a method was made with, its parts among them."""

import re
import warnings
from collections.abc import Mapping
from enum import Enum
from functools import partial
from inspect import signature
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import nn

from dim_lightning.errors import InputError
from dim_lightning.version import version

PARTS = "parts"  # in a checkpoint: parameter -> the class or function that was given, as text
FROM_COMMAND_LINE = "_instantiator"  # among the hyperparameters of such a module, by Lightning
_VERSION = "dim_lightning"  # in a checkpoint: which version has written it
_OF_TRAINING = ("optimizer", "lr_scheduler")  # of others it tells where a training goes on
_FREE = (*_OF_TRAINING, "report")  # may be others from here on
_NUMPY = (np.bool_, np.number, np.str_)
_MODULES = re.compile(r"(?<!')\b(?:[A-Za-z_]\w*\.)+(?=[A-Za-z_])")


def keep_hyperparameters(checkpoint: dict[str, Any]) -> None:
    """Of classes given in Python keeps the names: a checkpoint holds plain types only."""
    stored = checkpoint.get("hyper_parameters", {})
    told = {name: shown(value) for name, value in stored.items()}
    checkpoint["hyper_parameters"] = {k: v for k, v in told.items() if is_plain(stored[k])}
    checkpoint[_VERSION] = version()
    parts = {name: text for name, text in told.items() if not is_plain(stored[name])}
    if parts:
        checkpoint[PARTS] = parts


def check_hyperparameters(
    method: str, checkpoint: Mapping[str, Any], given: Mapping[str, Any], goes_on: bool = False
) -> None:
    """Looks at whether a module has the parts that a checkpoint was trained with.

    Warns of settings that it has not, such as those of another version.

    Args:
        method: the class of the module that loads the checkpoint.
        checkpoint: of which `keep_hyperparameters` has kept them.
        given: the module's settings.
        goes_on: whether its training goes on, of whose optimiser and schedule it tells, if they
            are others.

    Raises:
        InputError: the parts are others.
    """
    if FROM_COMMAND_LINE in given:  # which says itself what differs
        return
    _check_parts(method, checkpoint.get(PARTS, {}), given)
    if goes_on:
        _say_others(checkpoint, given)
    of = checkpoint.get(_VERSION, "(version unknown)")
    _warn_of_unknown(method, of, checkpoint.get("hyper_parameters", {}), given)


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


def _check_parts(method: str, stored: Mapping[str, str], given: Mapping[str, Any]) -> None:
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
        free = [name for name in _OF_TRAINING if stored.get(name, "") != part_text(given.get(name))]
        words = ", ".join(f"{n}={text}" for n, text in stored.items() if n in (*changed, *free))
        raise InputError(
            f"the checkpoint was trained with other parts: {listed}; expected the same, which no "
            f"checkpoint can hold: give them, {method}.load_from_checkpoint(path, {words}), or, "
            "for others on purpose, load its state_dict alone"
        )
    for name in others:
        warnings.warn(f"{told[name]}; taken for the same in another place", stacklevel=4)


def _say_others(checkpoint: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Tells of an optimiser or schedule that a training went by so far, and does not any more."""
    texts = {
        name: part_text(value) for name, value in checkpoint.get("hyper_parameters", {}).items()
    }
    stored = {**texts, **checkpoint.get(PARTS, {})}
    for name in _OF_TRAINING:
        now = part_text(given.get(name))
        if stored.get(name, now) != now:
            rank_zero_info(
                f"{name} was {stored[name]}, here it is {now}, by which the training goes on"
            )


def _warn_of_unknown(
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
            stacklevel=4,
        )


def _unplaced(text: str) -> str:
    """The text without the modules in which classes and functions lie."""
    return _MODULES.sub("", text)
