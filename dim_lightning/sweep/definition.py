"""A sweep file of W&B, checked before anything starts."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dim_lightning.errors import InputError
from dim_lightning.run.settings import read_yaml
from dim_lightning.sweep.command import check_command
from dim_lightning.sweep.space import Choice, Parameter, parameter
from dim_lightning.sweep.stopping import Hyperband, hyperband

METHODS = ("grid", "random", "bayes")
_EXAMPLE = "the project's experiments/sweeps/digits_grid.yaml"
_IGNORED = ("project", "entity", "description", "controller", "apiVersion", "kind")
_KEYS = (
    "name",
    "program",
    "command",
    "method",
    "metric",
    "parameters",
    "early_terminate",
    "run_cap",
    *_IGNORED,
)


class Definition(NamedTuple):
    """What a sweep file asks for."""

    name: str
    method: str
    metric: str
    maximise: bool
    parameters: dict[str, Parameter]
    program: str
    command: list[str]
    run_cap: int | None
    early_terminate: Hyperband | None
    content: dict[str, Any]


def read_definition(path: Path) -> Definition:
    """What the sweep file at `path` asks for.

    Raises:
        InputError: there is none, it is no YAML, or it asks for what cannot be done here.
    """
    content = read_yaml(path, _EXAMPLE, "method, metric, parameters, command")
    strange = next(_not_json(content), None)
    if strange is not None:
        raise InputError(
            f"{path}: {strange}; expected texts, finite numbers, true, false, null, and lists and "
            "mappings of these; put a date or a word with a special meaning into quotes"
        )
    for key in content:
        if key not in _KEYS:
            raise InputError(f"{path}: {key} is not supported here; expected {', '.join(_KEYS)}")
    method = content.get("method")
    if method not in METHODS:
        raise InputError(f"{path}: method is {method!r}; expected one of {', '.join(METHODS)}")
    metric, maximise = _metric(content.get("metric"))
    early = content.get("early_terminate")
    definition = Definition(
        name=str(content.get("name") or path.stem),
        method=method,
        metric=metric,
        maximise=maximise,
        parameters=_parameters(content.get("parameters")),
        program=str(content.get("program", "dim_lightning")),
        command=check_command(content.get("command")),
        run_cap=_run_cap(content.get("run_cap")),
        early_terminate=hyperband(early) if early is not None else None,
        content=content,
    )
    _check_method(definition)
    return definition


def _not_json(found: Any, name: str = "") -> Iterator[str]:
    """What YAML knows and JSON does not: dates and infinite numbers."""
    if isinstance(found, Mapping):
        for key, value in found.items():
            yield from _not_json(value, f"{name}.{key}".lstrip("."))
    elif isinstance(found, list):
        for number, value in enumerate(found):
            yield from _not_json(value, f"{name}[{number}]")
    elif not (found is None or isinstance(found, str | bool | int | float)) or (
        isinstance(found, float) and not math.isfinite(found)
    ):
        yield f"{name} is {found}"


def searched(definition: Definition) -> dict[str, Parameter]:
    """The parameters that vary."""
    return {
        name: found
        for name, found in definition.parameters.items()
        if not isinstance(found, Choice) or len(found.values) > 1
    }


def _metric(found: Any) -> tuple[str, bool]:
    """Name, and whether to maximise; like W&B it is minimised where nothing is said."""
    if not isinstance(found, Mapping) or not isinstance(found.get("name"), str):
        raise InputError(
            f"metric is {found!r}; expected a name and a goal, such as "
            "{name: best/probe/online/top1, goal: maximize}"
        )
    extra = [key for key in found if key not in ("name", "goal", "impute")]
    if extra:
        raise InputError(f"metric.{extra[0]} is not supported here; expected name and goal")
    if found.get("impute", "latest") != "latest":  # W&B's own is worst
        raise InputError(
            f"metric.impute is {found['impute']!r}; here a trial that was stopped counts by its "
            "last value; expected latest, or nothing"
        )
    goal = found.get("goal", "minimize")
    if goal not in ("minimize", "maximize"):
        raise InputError(f"metric.goal is {goal!r}; expected minimize or maximize")
    return found["name"], goal == "maximize"


def _parameters(found: Any) -> dict[str, Parameter]:
    if not isinstance(found, Mapping) or not found:
        raise InputError(
            f"parameters is {found!r}; expected settings by their full name, such as "
            "model.local_weight: {values: [0.5, 1.5]}"
        )
    return {name: parameter(name, found[name]) for name in sorted(found)}


def _run_cap(found: Any) -> int | None:
    if found is not None and (isinstance(found, bool) or not isinstance(found, int) or found < 1):
        raise InputError(f"run_cap is {found!r}; expected a whole number of at least 1")
    return found


def _check_method(definition: Definition) -> None:
    """Refuses distributions that the method cannot use, as W&B does."""
    for name, found in definition.parameters.items():
        if isinstance(found, Choice):
            if found.probabilities is not None and definition.method != "random":
                raise InputError(
                    f"parameters.{name} has probabilities, which method {definition.method} does "
                    "not use; take method random, or leave them out"
                )
        elif not found.grid and definition.method == "grid":
            raise InputError(
                f"parameters.{name} has no list of values to go through, which method grid needs; "
                "give values, int_uniform, or q_uniform with max above min, or take method random"
            )
