"""The command of a trial, filled as W&B's agent fills it.

Source: wandb, sdk/launch/sweeps/utils.py, create_sweep_command and create_sweep_command_args.
"""

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dim_lightning.errors import InputError

_ARGUMENTS = (
    "args",
    "args_no_hyphens",
    "args_no_equals",
    "args_no_boolean_flags",
    "args_json",
    "args_json_file",
)
MACROS = ("env", "interpreter", "program", *_ARGUMENTS)
FIT = ("-m", "dim_lightning", "fit")
_EXAMPLE = (
    '["${env}", "${interpreter}", "-m", "${program}", fit, --config, FILE, --config, '
    '"${args_json_file}"]'
)
_MACRO = re.compile(r"\$\{(?P<name>\w+)\}")
_VARIABLE = re.compile(r"\$\{envvar:(?P<name>[A-Z0-9_]*)\}")


def check_command(command: Any) -> list[str]:
    """The words of the section `command`.

    Raises:
        InputError: it is missing or no list, has a macro that is unknown here, or none that hands
            the parameters over.
    """
    if not isinstance(command, list) or not command:
        raise InputError(f"command is {command!r}; expected a list of words, such as {_EXAMPLE}")
    words = [str(word) for word in command]
    macros = [match["name"] for word in words if (match := _MACRO.fullmatch(word))]
    for name in macros:
        if name not in MACROS:
            raise InputError(
                f"command has ${{{name}}}, which is not supported here; expected "
                f"{', '.join(f'${{{macro}}}' for macro in MACROS)}"
            )
    if not set(macros) & set(_ARGUMENTS):
        raise InputError(f"command hands no parameters to the trial; expected {_EXAMPLE}")
    return words


def filled_command(
    command: Sequence[str], program: str, parameters: Mapping[str, Any], json_file: Path
) -> list[str]:
    """The words to start.

    Args:
        command: from `check_command`.
        program: what ${program} stands for.
        parameters: the trial's, by their full names.
        json_file: what ${args_json_file} stands for, a file of the parameters as JSON.
    """
    pairs = [f"{name}={value}" for name, value in parameters.items()]
    flags = {n: v for n, v in parameters.items() if v is not False}
    meanings = {
        "env": ["/usr/bin/env"],
        "interpreter": [sys.executable],  # the agent says python: another one, outside a venv
        "program": [program],
        "args": [f"--{pair}" for pair in pairs],
        "args_no_hyphens": pairs,
        "args_no_equals": [w for n, v in parameters.items() for w in (f"--{n}", str(v))],
        "args_no_boolean_flags": [
            f"--{n}" if v is True else f"--{n}={v}" for n, v in flags.items()
        ],
        "args_json": [json.dumps(parameters)],
        "args_json_file": [str(json_file)],
    }
    words: list[str] = []
    for word in command:
        match = _MACRO.fullmatch(word)
        words += meanings[match["name"]] if match else [_with_variables(word)]
    return words


def place_of_fit(words: Sequence[str]) -> int | None:
    """Where this package's own `fit` begins in a command; None in one of another program."""
    places = range(len(words))
    return next((n for n in places if tuple(words[n : n + len(FIT)]) == FIT), None)


def _with_variables(word: str) -> str:
    """`word` with ${envvar:NAME} replaced; the name itself where there is no such variable."""
    return _VARIABLE.sub(lambda match: os.environ.get(match["name"], match["name"]), word)
