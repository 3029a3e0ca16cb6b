"""The parser: short errors instead of pages of usage."""

import re
from enum import Enum
from typing import Any, NoReturn

import yaml
from jsonargparse import set_dumper, set_parsing_settings
from lightning.pytorch.cli import LightningArgumentParser

from dim_lightning.cli.messages import Known, parse_error
from dim_lightning.cli.words import config_files
from dim_lightning.errors import InputError
from dim_lightning.run.settings import read_yaml

MODE = {"parser_mode": "omegaconf+", "allow_abbrev": False}


class _Dumper(yaml.SafeDumper):
    """YAML in which text such as 1e5 stands in quotes: a number to the parser, none to PyYAML."""


_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?\d[\d_]*(\.[\d_]*)?[eE][-+]?\d+$"),
    list("-+0123456789"),
)


_Dumper.add_multi_representer(Enum, lambda dumper, value: dumper.represent_data(value.value))


def _dumped(settings: dict[str, Any]) -> str:
    return yaml.dump(settings, Dumper=_Dumper, allow_unicode=True, sort_keys=False)


class Parser(LightningArgumentParser):
    """Lightning's parser, whose errors are an `InputError` that names the nearest valid key.

    Args:
        args: Lightning's.
        method: whose settings lie below `model`, as errors name it; None if there are no such.
        kwargs: Lightning's.
    """

    def __init__(self, *args: Any, method: str | None = None, **kwargs: Any) -> None:
        # references are written from the top of a file, which lies below the command; for all
        # parsers of the process, as jsonargparse has it
        set_parsing_settings(omegaconf_absolute_to_relative_paths=True)
        set_dumper("yaml", _dumped)
        self._method = method
        super().__init__(*args, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Ends parsing.

        Raises:
            InputError: what was found, what was expected, what to do.
        """
        if not self.exit_on_error:  # a trial parse of jsonargparse, which expects its own error
            super().error(message, ex)
        raise InputError(parse_error(message, Known(self._keys(), self._method))) from ex

    def _keys(self) -> dict[str, Any]:
        """Every key of this parser and of its subcommands, with dots, and its type or None."""
        parsers: list[Any] = [self]
        if self._subcommands_action is not None:
            parsers += self._subcommands_action.choices.values()
        actions = {a.dest: a for p in parsers for a in p._actions if _is_key(a.dest)}
        return {key: getattr(actions[key], "_typehint", None) for key in sorted(actions)}


def _is_key(name: str) -> bool:
    return not name.startswith("_") and name.rpartition(".")[2] != "help"


def check_files(words: list[str], groups: tuple[str, ...]) -> None:
    """Looks at the --config files, in which jsonargparse would drop some of what is wrong.

    Args:
        words: the command line.
        groups: keys that hold further keys; a plain value there would be dropped in silence.

    Raises:
        InputError: `read_yaml` refuses a file, or it has a plain value for a group.
    """
    for path in config_files(words).values():
        content = read_yaml(path)
        for name in groups:
            if name in content and not isinstance(content[name], dict):
                found = "null" if content[name] is None else repr(content[name])
                raise InputError(
                    f"{path}: {name} is {found}; expected settings below it, such as "
                    f"{name}: {{...}}"
                )
