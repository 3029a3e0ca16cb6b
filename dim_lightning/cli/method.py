"""Which method the command line is about: the class whose settings lie below `model`."""

import importlib
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path

from dim_lightning.cli.messages import MODULE_PLACE
from dim_lightning.cli.words import options
from dim_lightning.encoder_module import EncoderModule
from dim_lightning.errors import InputError, nearest
from dim_lightning.run.settings import read_yaml

DEFAULT = "DeepInfoMax"
METHODS: Mapping[str, str] = {  # name -> its module
    DEFAULT: "dim_lightning.infomax.deep_infomax",
    "Autoencoder": "dim_lightning.baselines",
    "VAE": "dim_lightning.baselines",
    "AdversarialAutoencoder": "dim_lightning.baselines",
    "BiGAN": "dim_lightning.baselines",
    "NAT": "dim_lightning.baselines",
    "Supervised": "dim_lightning.baselines",
}
HELP = f"What trains the encoder: {', '.join(METHODS)}, or an import path. Sets what model.* is."


def method_named(words: Sequence[str]) -> str:
    """The last `method` of the command line and of its --config files; `DEFAULT` if none.

    The parser cannot be asked for it: which settings it knows depends on the answer.

    Args:
        words: the command line.
    """
    name = DEFAULT
    for option in options(words):
        if option.name == "--method":
            name = option.value
        elif option.name == "--config":
            name = _method_in(Path(option.value), name)
    return name


def method_class(name: str) -> type[EncoderModule]:
    """The class of a method.

    Args:
        name: one of `METHODS`, or the import path of a subclass of EncoderModule.

    Raises:
        InputError: there is no such class.
    """
    module, _, short = name.rpartition(".")
    module = module or METHODS.get(short, "")
    try:
        found = getattr(importlib.import_module(module), short)
    except (ImportError, AttributeError, ValueError) as error:
        advice = MODULE_PLACE if "." in name else nearest(short, METHODS)
        raise InputError(
            f"method is {name!r}, which is no known class, nor the import path of your own "
            f"({error}); {advice}"
        ) from error
    if not (inspect.isclass(found) and issubclass(found, EncoderModule)):
        raise InputError(f"method is {name!r}; expected a subclass of dim_lightning.EncoderModule")
    _check_constructor(found)
    return found


def _check_constructor(method: type[EncoderModule]) -> None:
    """Refuses a class of which no settings can be made, before the parser does in its words."""
    missing = ", ".join(sorted(method.__abstractmethods__))
    if missing:
        raise InputError(f"method is {method.__name__}, which lacks {missing}; expected it defined")
    parameters = list(inspect.signature(method).parameters.values())
    passed_on = any(each.kind is each.VAR_KEYWORD for each in parameters)
    absent = {"image_size", "seed"} - {each.name for each in parameters}
    if absent and not passed_on:
        raise InputError(
            f"the constructor of {method.__name__} has no {' and no '.join(sorted(absent))}; "
            "expected image_size: int = 32 and seed: int = 0, which data and seed_everything set"
        )
    untyped = [each.name for each in parameters if each.annotation is each.empty]
    untyped = [name for name in untyped if name not in ("args", "kwargs")]
    if untyped:
        raise InputError(
            f"the constructor of {method.__name__} gives {', '.join(untyped)} no type; expected "
            "one each, of which settings are made, such as width: int or encoder: MakeEncoder; see "
            "dim_lightning.EncoderModule"
        )


def _method_in(path: Path, otherwise: str) -> str:
    """What a file says; files that cannot be read are left to the parser to complain about."""
    try:
        return str(read_yaml(path).get("method", otherwise))
    except InputError:
        return otherwise
