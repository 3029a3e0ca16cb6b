"""What a key may be given, by its type: classes, or estimators."""

import importlib
import inspect
import sys
import typing
from collections.abc import Callable
from typing import Any

ESTIMATORS = "dim_lightning.infomax.estimators"
_SEARCHED = ("dim_lightning.", "torch.optim.", "lightning.pytorch.")
_PLAIN = ("builtins", "torch")  # int, Tensor


def kinds_of(hint: Any) -> tuple[type, ...]:
    """The classes of which a key of this type takes one, or what makes or returns one."""
    inner = typing.get_args(hint)
    if typing.get_origin(hint) is Callable:
        inner = inner[-1:]
    if inner:
        return tuple(dict.fromkeys(kind for each in inner for kind in kinds_of(each)))
    is_kind = inspect.isclass(hint) and hint.__module__ not in _PLAIN
    # of a protocol nobody knows whether a class follows it
    return (hint,) if is_kind and not getattr(hint, "_is_protocol", False) else ()


def takes_estimator(hint: Any) -> bool:
    """Whether a key of this type takes a function of scores."""
    return "ScoreSet" in str(hint)


def candidates(hint: Any) -> dict[str, str]:
    """Name -> import path of what may fit a key of this type: estimators, or classes imported."""
    found = _estimators() if takes_estimator(hint) else _classes(kinds_of(hint))
    return dict(sorted(found.items()))


def _estimators() -> dict[str, str]:
    module = importlib.import_module(ESTIMATORS)
    return {
        name: f"{ESTIMATORS}.{name}"
        for name, value in inspect.getmembers(module, inspect.isfunction)
        if value.__module__ == ESTIMATORS and name[0] != "_"
        if typing.get_type_hints(value)["return"] is module.Tensor
    }


def _classes(kinds: tuple[type, ...]) -> dict[str, str]:
    """All that can be made and are of one of these kinds; of any if there are none."""
    modules = [module for name, module in sys.modules.items() if name.startswith(_SEARCHED)]
    return {
        name: f"{value.__module__}.{name}"
        for module in modules
        for name, value in vars(module).items()
        if inspect.isclass(value) and not inspect.isabstract(value)
        # jsonargparse makes others, with _ in their names, of defaults
        if name[0].isupper() and "_" not in name and issubclass(value, kinds or object)
    }
