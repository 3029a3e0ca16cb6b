"""Parse errors in one short sentence, with the nearest valid name."""

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from dim_lightning.cli.candidates import ESTIMATORS, candidates, kinds_of, takes_estimator
from dim_lightning.cli.overview import OWN_COMMANDS
from dim_lightning.errors import closest, cut, nearest

_UNRECOGNIZED = re.compile(r"[Uu]nrecognized arguments:(?P<words>.*)")
_UNKNOWN_KEY = re.compile(r"does not accept option '(?P<key>[\w.]+)'$")
_OPTION = re.compile(r"Option '(?P<key>[\w.]+)' is not accepted")
_CLASS_PATH = re.compile(r"class_path[='\": ]+(?P<path>[\w.]+)'")
_ATTRIBUTE = re.compile(r"module '(?P<module>[\w.]+)' has no attribute '(?P<name>\w+)'")
_MODULE = re.compile(r"No module named '(?P<name>[\w.]+)'")
_COMMAND = re.compile(r"invalid choice: '?(?P<found>[^'\s]+)'? \(choose from (?P<known>[^)]+)\)")
_NO_COMMAND = re.compile(r'expected "subcommand" to be one of \{(?P<known>[^}]+)\}')
_PARSER_KEY = re.compile(r'Parser key "(?P<key>[\w.]+)"')
_EXPECTED = re.compile(r"Expected an? (?P<type>.+?)(?:\. Got value|$)", re.MULTILINE)
_GOT = re.compile(r"(?:Got value|Given value): (?P<value>.+?)(?:\. Got value|$)", re.MULTILINE)
_SHORT_NAME = re.compile(r"Expected a dot import path string: (?P<name>\w*)")
_OTHER_CLASS = (
    re.compile(r"Expected '(?P<found>[\w.]+)' to be a .*? <class '(?P<kind>\w+)'>"),
    re.compile(r"Errors:\s*- Import path (?P<found>\S+) does not .* subclass of (?P<kind>\w+)"),
)
_REQUIRED = re.compile(r"class_path '(?P<path>[\w.]+)':\s*.* are required: (?P<names>\w+(, \w+)*)")
_PLAIN = {
    "NoneType": "null",
    "float": "a number",
    "int": "a whole number",
    "str": "text",
    "bool": "true or false",
    "Sequence": "a list",
    "Iterable": "a list",
    "import path or a subclass spec": "a class, by its name or class_path",
}
MODULE_PLACE = (
    "for a module of your own, run `python -m dim_lightning` in the folder of its file, or add "
    "that folder to PYTHONPATH"
)
_LONGEST, _LONGEST_VALUE = 300, 80


class Known(NamedTuple):
    """What a parser takes.

    Attributes:
        keys: the valid keys, and the type of each; None where it has none.
        method: whose settings lie below `model`; None where the parser has no such.
    """

    keys: Mapping[str, Any]
    method: str | None = None

    def nearest(self, name: str) -> str:
        """The key that could have been meant, or where they are listed."""
        of_model = self.method is not None and name.startswith("model.")
        if not of_model or closest(name, self.keys) is not None:
            return nearest(name, self.keys)
        return (
            f"it is no setting of {self.method}; to write a config for that method, see "
            f"`fit --method {self.method} --help`"
        )


def parse_error(message: str, known: Known) -> str:
    """What was found, what was expected and what to do, from jsonargparse's `message`.

    Args:
        message: the error in jsonargparse's words, often of many lines.
        known: what would have been taken.
    """
    for explain in _EXPLANATIONS:
        text = explain(message, known)
        if text:
            return text
    return shortened(message)


def _command(message: str, _: Known) -> str | None:
    match = _COMMAND.search(message)
    if match:
        known = [*re.findall(r"\w+", match["known"]), *OWN_COMMANDS]
        return f"{match['found']} is no command; {nearest(match['found'], known)}"
    match = _NO_COMMAND.search(message)
    if match:
        known = [*match["known"].split(","), *OWN_COMMANDS]
        return f"no command given; expected one of {', '.join(known)}; or --help"
    return None


def _unknown_key(message: str, known: Known) -> str | None:
    match = _UNRECOGNIZED.search(message)
    if match:
        word = (match["words"].split() or ["''"])[0]  # '' where the word is empty
        name = word.lstrip("-").split("=")[0]
        if not word.startswith("-"):
            return f"{word} was not expected there; options are given as --key value"
        return f"unknown option --{name}; {known.nearest(name)}"
    match = _UNKNOWN_KEY.search(message.strip())
    if match and match["key"] in ("model.class_path", "model.init_args"):
        return f"unknown key {match['key']}; name the class by method, its settings below model"
    return match and f"unknown key {match['key']}; {known.nearest(match['key'])}"


def _unknown_option(message: str, _: Known) -> str | None:
    match = _OPTION.search(message)
    if not match:
        return None
    path = _CLASS_PATH.search(message)
    known = _parameters(path["path"]) if path else []
    of = f" of {path['path']}" if path else ""
    return (
        f"{_where(message)}: unknown parameter {match['key']}{of}; {nearest(match['key'], known)}"
    )


def _unknown_class(message: str, taken: Known) -> str | None:
    match, where = _ATTRIBUTE.search(message), _where(message)
    if match:
        known = [n for n in dir(importlib.import_module(match["module"])) if n[0] != "_"]
        elsewhere = list(candidates(taken.keys.get(where)).values())
        if closest(match["name"], known) is None and closest(match["name"], elsewhere) is not None:
            known = elsewhere
        advice = nearest(match["name"], known)
        return f"{where}: there is no {match['name']} in {match['module']}; {advice}"
    match = _MODULE.search(message)
    return match and (
        f"{where}: there is no module {match['name']}; expected an import path; {MODULE_PLACE}"
    )


def _short_name(message: str, taken: Known) -> str | None:
    """A part named without its module that is not one of those known."""
    match = _SHORT_NAME.search(message)
    if not match or (set(_types(message)) - {"null"} and "'class_path'" not in message):
        return None
    name, where = match["name"], _where(message)
    hint = taken.keys.get(where)
    known = candidates(hint)
    if takes_estimator(hint):
        kind, own, meant = "estimator", "my_function", closest(name, known.values())
        listed = f"expected {ESTIMATORS}.NAME, NAME one of {', '.join(known)}"
        advice = f"did you mean {meant}?" if meant else f"nothing comes close; {listed}"
    else:
        kind, own = " or ".join(each.__name__ for each in kinds_of(hint)) or "class", "MyClass"
        meant, advice = closest(name, known), nearest(name, known)
    if meant is None:
        advice += f"; one of your own goes by its import path, my_module.{own}"
    return f"{where} is {name!r}, which is no known {kind}; {advice}"


def _other_class(message: str, _: Known) -> str | None:
    match = next(filter(None, (pattern.search(message) for pattern in _OTHER_CLASS)), None)
    return match and (
        f"{_where(message)} is {match['found']}; expected a subclass of {match['kind']}, or what "
        "returns one"
        + ("" if _is_class(match["found"]) else f", with that as its type: -> {match['kind']}")
    )


def _required(message: str, _: Known) -> str | None:
    match = _REQUIRED.search(message)
    if not match:
        return None
    place, name = f"{_where(message)}.init_args", match["path"].rpartition(".")[2]
    return f"{_where(message)}: {name} needs {match['names']}; set it below {place}"


def _type(message: str, _: Known) -> str | None:
    match, types = _GOT.search(_innermost(message)), _types(message)
    if not (match and types):
        return None
    value = shortened(match["value"], _LONGEST_VALUE)
    return f"{_where(message)} is {value!r}; expected {' or '.join(types)}"


def _where(message: str) -> str:
    """The key, through the parameters of the classes on the way."""
    return ".".join(match["key"] for match in _PARSER_KEY.finditer(message))


def _innermost(message: str) -> str:
    """What is said of the last key named; up to its value if that stands on the same line."""
    last = [match.end() for match in _PARSER_KEY.finditer(message)][-1:]
    text = message[last[0] :] if last else message
    line = re.search(r"Expected .*Got value: .*", text)
    return line[0] if line and len(_PARSER_KEY.findall(message)) > 1 else text


def _types(message: str) -> list[str]:
    """The types that would do, in plain words."""
    found = [_type_name(match["type"]) for match in _EXPECTED.finditer(_innermost(message))]
    return list(dict.fromkeys(name for name in found if not name.startswith(("path", "dot"))))


def _type_name(text: str) -> str:
    text = re.sub(r"<class '(?:[\w.]*\.)?(\w+)'>", r"\1", text).strip()
    text = text.partition(", but got ")[0]
    text = re.sub(r"typing\.Literal\[(.*)\]", r"\1", text)
    return _PLAIN.get(text, text)


def _is_class(path: str) -> bool:
    module, _, name = path.rpartition(".")
    return inspect.isclass(getattr(sys.modules.get(module), name, None))


def _parameters(path: str) -> list[str]:
    """Names of the parameters of what lies at an import path."""
    module, _, name = path.rpartition(".")
    try:
        return list(inspect.signature(getattr(importlib.import_module(module), name)).parameters)
    except (ImportError, AttributeError, ValueError, TypeError):
        return []


def shortened(message: str, longest: int = _LONGEST) -> str:
    """One line of at most `longest` characters."""
    return cut(" ".join(message.split()), longest)


def _sentence(pattern: str, text: str) -> Callable[[str, Known], str | None]:
    """Explains by `text`, filled with the groups of `pattern` and `where`, the key at fault.

    The group `value`, what was given, may be long and is cut.
    """
    compiled = re.compile(pattern, re.MULTILINE)

    def explain(message: str, _: Known) -> str | None:
        match = compiled.search(message)
        if match is None:
            return None
        groups = match.groupdict()
        if "value" in groups:
            groups["value"] = shortened(groups["value"], _LONGEST_VALUE)
        return text.format(**groups, where=_where(message))

    return explain


_EXPLANATIONS = (
    _command,
    _sentence(
        r"(?:File does not exist|Path is not a file): '?(?P<path>[^'\n]+)'?",
        "there is no file {path}; expected a YAML configuration",
    ),
    _sentence(
        r"Unexpected config: ?(?P<value>.*)",
        "--config gives {value!r}, which holds no settings; expected a YAML configuration",
    ),
    _unknown_key,
    _unknown_option,
    _unknown_class,
    _sentence(
        r'Linked "(?P<key>[\w.]+)" must be given via "(?P<source>[\w.]+)"',
        "{key} follows {source}; set {source} instead",
    ),
    _short_name,
    _sentence(
        r"argument of type 'NoneType' is not",
        "{where}.class_path is null; expected a class, by its name or import path",
    ),
    _sentence(
        r"Not a valid subclass of (?P<kind>\w+)\. Got value: None",
        "{where} has null in its list; expected a subclass of {kind}, by its name or class_path",
    ),
    _sentence(
        r'Parser key "(?P<key>\w+)":\s*Unable to load config .(?P<value>.*?).$',
        "{key} is {value!r}; expected settings below it, such as --{key}.KEY VALUE",
    ),
    _sentence(
        r"NestedArg\(key='(?P<key>[\w.]+)'",
        "{where}.{key} is given, but no class; set {where} to one before it; a function takes no "
        "settings",
    ),
    _required,
    _sentence(
        r"has no attribute 'keys'\. Got value: .*init_args=(?P<value>'[^']*'|\[.*\]|\w+)",
        "{where}.init_args is {value}; expected settings below it, such as name: value",
    ),
    _sentence(
        r"expects a function or a callable class: (?:Unexpected import object|.*has no attribute "
        r"'__name__').*?Got value: (?P<path>[\w.]+)",
        "{where} is {path}, an object or a module; expected the import path of a class, or of a "
        "function that returns an object of it",
    ),
    _other_class,
    _type,
)
