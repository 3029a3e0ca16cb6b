"""The parser: short errors instead of pages of usage."""

from collections.abc import Iterator
from typing import Any, NoReturn

import yaml
from jsonargparse import set_parsing_settings
from lightning.pytorch.cli import LightningArgumentParser

from dim_lightning.cli.messages import parse_error
from dim_lightning.cli.words import config_files
from dim_lightning.errors import InputError
from dim_lightning.run.settings import yaml_problem

MODE = {"parser_mode": "omegaconf+", "allow_abbrev": False}


class Parser(LightningArgumentParser):
    """Lightning's parser, whose errors are an `InputError` that names the nearest valid key."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # references are written from the top of a file, which lies below the command; for all
        # parsers of the process, as jsonargparse has it
        set_parsing_settings(omegaconf_absolute_to_relative_paths=True)
        super().__init__(*args, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Ends parsing.

        Raises:
            InputError: what was found, what was expected, what to do.
        """
        if not self.exit_on_error:  # a trial parse of jsonargparse, which expects its own error
            super().error(message, ex)
        raise InputError(parse_error(message, self._keys())) from ex

    def _keys(self) -> list[str]:
        """Every key of this parser and of its subcommands, with dots."""
        parsers: list[Any] = [self]
        if self._subcommands_action is not None:
            parsers += self._subcommands_action.choices.values()
        return sorted({a.dest for p in parsers for a in p._actions if _is_key(a.dest)})


def _is_key(name: str) -> bool:
    return not name.startswith("_") and name.rpartition(".")[2] != "help"


def check_files(words: list[str], groups: tuple[str, ...]) -> None:
    """Looks at the shape of the --config files, which jsonargparse lets pass in two cases.

    Args:
        words: the command line.
        groups: keys that hold further keys; a plain value there would be dropped in silence.

    Raises:
        InputError: a file is no YAML, or has a plain value for a group.
    """
    for path in config_files(words).values():
        try:
            text = path.read_text("utf-8")
            content = yaml.safe_load(text)
            contains_itself = _contains_itself(content)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise InputError(f"{path} is not YAML: {yaml_problem(error)}") from error
        if not isinstance(content, dict):
            raise InputError(f"{path} holds no settings; expected lines such as `model:`")
        if contains_itself:
            raise InputError(f"{path} contains itself by an alias (*name); write it out instead")
        for number, key in _repeated_keys(yaml.compose(text, yaml.SafeLoader)):
            raise InputError(f"{path}, line {number}: {key} stands there for the second time")
        for place, key in _strange_keys(content):
            raise InputError(
                f"{path}: {place or 'at the top'} has the key {key!r}; expected a name"
            )
        for name in groups:
            if name in content and not isinstance(content[name], dict):
                found = "null" if content[name] is None else repr(content[name])
                raise InputError(
                    f"{path}: {name} is {found}; expected settings below it, such as "
                    f"{name}: {{...}}"
                )


def _contains_itself(value: Any, above: tuple[int, ...] = ()) -> bool:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    inside = (*above, id(value))
    return id(value) in above or any(_contains_itself(item, inside) for item in items)


def _repeated_keys(node: yaml.Node | None) -> Iterator[tuple[int, str]]:
    """Keys that a mapping has twice, of which YAML drops the first, and their lines."""
    if isinstance(node, yaml.MappingNode):
        names = [key.value for key, _ in node.value]
        for number, (key, value) in enumerate(node.value):
            if key.value in names[:number]:
                yield key.start_mark.line + 1, str(key.value)
            yield from _repeated_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated_keys(item)


def _strange_keys(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Keys that are no name, such as 3, null or nothing, and where they stand."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str) or not key:
                yield place, key
            yield from _strange_keys(item, f"{place}.{key}".lstrip("."))
    elif isinstance(value, list):
        for item in value:
            yield from _strange_keys(item, place)
