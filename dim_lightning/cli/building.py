"""Settings that parse and yet cannot be built: the key, or the class and what it was given."""

import inspect
import traceback
import types
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import lightning as L
from jsonargparse import ArgumentParser, Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException

from dim_lightning.cli.messages import shortened
from dim_lightning.cli.resources import is_out_of_memory
from dim_lightning.errors import InputError, cut

_FITS_NULL = (None, type(None), Any, object, inspect.Parameter.empty)
_LIGHTNING = str(Path(L.__file__).parent)
_LONGEST = 160


def check_nulls(parser: ArgumentParser, config: Namespace) -> None:
    """Refuses null where something is needed; jsonargparse lets it pass everywhere.

    Raises:
        InputError: names the key.
    """
    for action in parser._actions:
        if action.dest not in config:  # --help and its like
            continue
        hint, value = getattr(action, "_typehint", None), config.get(action.dest)
        if value is None and action.default is not None and not _fits_null(hint):
            _refuse(action.dest)
        for key in _nulls(action.dest, value):
            _refuse(key)


@contextmanager
def explained_building() -> Iterator[None]:
    """Turns errors of classes that are built from settings into ones that say which and how.

    Raises:
        InputError: as a class raised it, or what a class that knows none of these raised.
    """
    try:
        yield
    except Exception as error:
        mended = _build_error(error)
        if mended is error:
            raise
        raise mended from error


def _build_error(error: Exception) -> Exception:
    """What to raise for an error in building.

    The `InputError` that a class raised, which jsonargparse hides in an error of its own where the
    parameter allows several types; for any other error of a class, one that says which class and
    what it was given; else `error` itself.
    """
    hidden: BaseException | None = error
    while hidden is not None and not isinstance(hidden, InputError):
        hidden = hidden.__cause__ or hidden.__context__
    if isinstance(hidden, InputError):
        return hidden
    built = [
        frame.f_locals
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_name == "default_class_instantiator"
    ]
    if _is_from_trainer(error):
        return InputError(f"trainer: {shortened(str(error))}")
    if not built or is_out_of_memory(error):
        return error
    return InputError(_cannot_be_built(built[-1], error))


def _is_from_trainer(error: Exception) -> bool:
    """Whether the Trainer or a callback of Lightning refuses its settings, called by no code else.

    A mistake in a model, such as logging what is no number, ends in Lightning as well, and needs
    its traceback.
    """
    paths = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    own = [path.startswith(_LIGHTNING) for path in paths]
    kinds = MisconfigurationException | ValueError | RuntimeError | ImportError
    return isinstance(error, kinds) and any(own) and all(own[own.index(True) :])


def _cannot_be_built(values: Mapping[str, Any], error: Exception) -> str:
    name = getattr(values.get("class_type"), "__name__", "a class")
    given = ", ".join(f"{key}={value!r}" for key, value in values.get("kwargs", {}).items())
    given = cut(given, _LONGEST) or "no settings"
    said = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST]
    place = _place(values.get("class_type"), error)
    return f"{name} cannot be built with {given}: {said} ({place})"


def _place(kind: Any, error: Exception) -> str:
    """File and line: the innermost in the package of the class, where its author looks."""
    frames = list(traceback.walk_tb(error.__traceback__))
    package = str(getattr(kind, "__module__", "")).partition(".")[0]
    own = [f for f in frames if f[0].f_globals.get("__name__", "").partition(".")[0] == package]
    frame, line = (own or frames)[-1]
    return f"{Path(frame.f_code.co_filename).name}:{line}"


def _nulls(key: str, value: Any) -> Iterator[str]:
    """Keys of the parameters of classes below `key` that are null and may not be."""
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from _nulls(f"{key}.{number}", item)
    if not isinstance(value, Namespace | dict) or not isinstance(value.get("class_path"), str):
        return
    settings = value.get("init_args")
    hints = _hints(value["class_path"])
    for name, item in (vars(settings) if isinstance(settings, Namespace) else {}).items():
        if item is None and not _fits_null(hints.get(name)):
            yield f"{key}.init_args.{name}"
        yield from _nulls(f"{key}.init_args.{name}", item)


def _hints(path: str) -> dict[str, Any]:
    """The types of the parameters that have one and whose default is not null."""
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name)
        hints = typing.get_type_hints(found.__init__ if inspect.isclass(found) else found)
        parameters = inspect.signature(found).parameters
    except Exception:  # nothing is known of it then
        return {}
    optional = {name for name, parameter in parameters.items() if parameter.default is None}
    return {name: hint for name, hint in hints.items() if name not in optional}


def _fits_null(hint: Any) -> bool:
    if typing.get_origin(hint) in (typing.Union, types.UnionType, typing.Literal):
        return any(map(_fits_null, typing.get_args(hint)))
    return hint in _FITS_NULL


def _refuse(key: str) -> None:
    raise InputError(f"{key} is null; expected a value; leave {key} out for its default")
