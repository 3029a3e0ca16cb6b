"""The distributions of W&B sweeps: each as the function from [0, 1] to its values.

Source: github.com/wandb/sweeps, src/sweeps/params.py and config/schema.json.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from statistics import NormalDist
from typing import Any, NamedTuple

from dim_lightning.errors import InputError

Quantile = Callable[[float], float | int]

_LARGEST_LOG = 700  # of what a float holds
_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")
_BOUNDED = ("uniform", "int_uniform", "log_uniform", "log_uniform_values")
_INVERSE = ("inv_log_uniform", "inv_log_uniform_values")
_GAUSSIAN = ("normal", "log_normal")
_STEPPED = tuple(f"q_{n}" for n in ("uniform", "log_uniform", "log_uniform_values", *_GAUSSIAN))
DISTRIBUTIONS = (
    "constant",
    "categorical",
    "categorical_w_probabilities",
    *_BOUNDED,
    *_INVERSE,
    *_GAUSSIAN,
    *_STEPPED,
)


class Choice(NamedTuple):
    """One of several values; a constant has one."""

    values: list[Any]
    probabilities: list[float] | None = None


class Range(NamedTuple):
    """A number, by its quantile function; `grid` are its values where they can be counted."""

    quantile: Quantile
    grid: Sequence[Any] | None = None
    log: bool = False


Parameter = Choice | Range


class Steps(Sequence[Any]):
    """min, min + q, ... without max, as W&B's grid has them; any number, for none is stored."""

    def __init__(self, low: float | int, high: float | int, step: float | int) -> None:
        self._low, self._step = low, step
        self._count = math.ceil(round((high - low) / step, 9))

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        return _tidy(self._low + range(self._count)[index] * self._step)


def parameter(name: str, settings: Any) -> Parameter:
    """What the settings of a parameter mean.

    Args:
        name: the parameter's, for messages.
        settings: as in the file: value; values; min and max; distribution and what it needs.

    Raises:
        InputError: no such distribution here, or its settings are missing, left over or no numbers.
    """
    if not isinstance(settings, Mapping):
        raise InputError(
            f"parameters.{name} is {settings!r}; expected value, values or min and max"
        )
    if "parameters" in settings:
        group = settings["parameters"]
        key = next(iter(group), "key") if isinstance(group, Mapping) else "key"
        raise InputError(
            f"parameters.{name} is a group of parameters; write each with its full name and dots, "
            f"such as {name}.{key}"
        )
    kind = settings.get("distribution") or _unnamed(name, settings)
    if kind not in DISTRIBUTIONS:
        raise InputError(
            f"parameters.{name}: the distribution {kind} is not supported here; expected one of "
            f"{', '.join(DISTRIBUTIONS)}"
        )
    made = _choice if kind in DISTRIBUTIONS[:3] else _range
    return made(name, kind, {k: v for k, v in settings.items() if k != "distribution"})


def coordinate(of: Parameter, share: float) -> float | int:
    """Where the share in [0, 1) of the probability lies: the place of a value, or the share."""
    if isinstance(of, Range):
        return share
    if of.probabilities is None:
        return min(int(share * len(of.values)), len(of.values) - 1)
    total = sum(of.probabilities)
    sums = accumulate(of.probabilities)
    likely = [i for i, probability in enumerate(of.probabilities) if probability]
    return next((i for i, s in enumerate(sums) if share < s / total), likely[-1])


def value_at(of: Parameter, where: float | int) -> Any:
    """The value at a coordinate."""
    return of.quantile(where) if isinstance(of, Range) else of.values[int(where)]


def _unnamed(name: str, settings: Mapping[str, Any]) -> str:
    """The distribution that W&B takes where none is named."""
    if "value" in settings:
        return "constant"
    if "values" in settings:
        return "categorical_w_probabilities" if "probabilities" in settings else "categorical"
    if not {"min", "max"} & set(settings):
        found = ", ".join(map(str, settings)) or "nothing"
        raise InputError(f"parameters.{name} has {found}; expected value, values or min and max")
    kinds = {type(_number(name, settings, bound)) for bound in ("min", "max")}
    if kinds == {int, float}:
        raise InputError(
            f"parameters.{name}: min is {settings['min']} and max is {settings['max']}; expected "
            "both with a point, for a real number, or both without, for a whole one"
        )
    return "int_uniform" if kinds == {int} else "uniform"


def _choice(name: str, kind: str, settings: Mapping[str, Any]) -> Choice:
    if kind == "constant":
        _check_keys(name, kind, settings, ("value",))
        values = [settings["value"]]
    else:
        wanted = ("values", "probabilities") if kind.endswith("probabilities") else ("values",)
        _check_keys(name, kind, settings, wanted)
        values = settings["values"]
    if not isinstance(values, list) or not values:
        raise InputError(f"parameters.{name}.values is {values!r}; expected a list")
    for value in values:
        if isinstance(value, str) and _NUMBER.fullmatch(value):
            raise InputError(_as_text(f"parameters.{name}", value))
    return Choice(values, _probabilities(name, settings.get("probabilities"), len(values)))


def _probabilities(name: str, found: Any, count: int) -> list[float] | None:
    if found is None:
        return None
    numbers = isinstance(found, list) and all(isinstance(p, int | float) for p in found)
    if not numbers or len(found) != count or min(found) < 0 or not math.isclose(sum(found), 1):
        raise InputError(
            f"parameters.{name}.probabilities is {found!r}; expected {count} numbers, one a "
            "value, that add up to 1"
        )
    return [float(p) for p in found]


def _range(name: str, kind: str, settings: Mapping[str, Any]) -> Range:
    plain = kind.removeprefix("q_")
    gaussian = plain in _GAUSSIAN
    optional = {"mu": 0.0, "sigma": 1.0} if gaussian else {}
    if kind in _STEPPED:
        optional["q"] = 1
    _check_keys(name, kind, settings, () if gaussian else ("min", "max"), tuple(optional))
    numbers = {key: _number(name, settings, key) for key in settings}
    numbers = {**optional, **numbers}
    _check_numbers(name, plain, numbers)
    quantile = _quantile(plain, numbers)
    grid: Sequence[Any] | None = None
    if plain == "int_uniform":
        grid = range(int(numbers["min"]), int(numbers["max"]) + 1)
    if kind in _STEPPED:
        quantile = _stepped(quantile, numbers["q"])
    if kind == "q_uniform":
        grid = Steps(numbers["min"], numbers["max"], numbers["q"])
    return Range(quantile, grid, "log" in kind)


def _check_numbers(name: str, kind: str, numbers: Mapping[str, float | int]) -> None:
    if "min" in numbers and numbers["min"] > numbers["max"]:
        raise InputError(
            f"parameters.{name}: min is {numbers['min']}, above max {numbers['max']}; swap them"
        )
    if kind == "int_uniform" and not all(isinstance(n, int) for n in numbers.values()):
        raise InputError(f"parameters.{name}: min and max of int_uniform must be whole numbers")
    if kind.endswith("_values") and numbers["min"] <= 0:
        raise InputError(f"parameters.{name}.min is {numbers['min']}; expected more than 0")
    if kind in ("log_uniform", "inv_log_uniform"):
        _check_exponents(name, kind, numbers["min"], numbers["max"])
    for key in ("q", "sigma"):
        if key in numbers and numbers[key] <= 0:
            raise InputError(f"parameters.{name}.{key} is {numbers[key]}; expected more than 0")


def _check_exponents(name: str, kind: str, low: float | int, high: float | int) -> None:
    """Looks at whether min and max of a value's logarithm can be meant as such.

    Raises:
        InputError: they look like the values themselves, or the exponential overflows.
    """
    if kind == "log_uniform" and low > 0 and high <= 1:
        shown = f"{math.exp(low):.5g} to {math.exp(high):.5g}"
        raise InputError(
            f"parameters.{name}: min {low:g} and max {high:g} of {kind} are logarithms, of values "
            f"of {shown}; expected those of the values meant; take {kind}_values to give the "
            "values themselves"
        )
    if max(abs(low), abs(high)) > _LARGEST_LOG:
        raise InputError(
            f"parameters.{name}: min {low:g} and max {high:g} of {kind} are logarithms; expected "
            f"-{_LARGEST_LOG} to {_LARGEST_LOG}; take {kind}_values to give the values themselves"
        )


def _quantile(kind: str, numbers: Mapping[str, float | int]) -> Quantile:
    """The quantile function of a distribution without steps."""
    if kind in _GAUSSIAN:
        return _gaussian(kind == "log_normal", float(numbers["mu"]), float(numbers["sigma"]))
    low, high = numbers["min"], numbers["max"]
    if kind == "int_uniform":
        return lambda share: min(int(low + share * (high - low + 1)), int(high))
    if kind == "uniform":
        return lambda share: low + share * (high - low)
    if kind in ("log_uniform_values", "inv_log_uniform_values"):
        # log(1/X) uniform between log(1/max) and log(1/min): log X is uniform as well
        return lambda share: min(max(low * (high / low) ** share, low), high)
    if kind == "log_uniform":
        return lambda share: math.exp(low + share * (high - low))
    return lambda share: math.exp(-(high - share * (high - low)))  # log(1/X) in [min, max]


def _gaussian(of_log: bool, mu: float, sigma: float) -> Quantile:
    inverse = NormalDist(mu, sigma).inv_cdf

    def quantile(share: float) -> float:
        number = inverse(min(max(share, 2.0**-53), 1 - 2.0**-53))
        return math.exp(number) if of_log else number

    return quantile


def _stepped(quantile: Quantile, step: float | int) -> Quantile:
    """round(X / q) q; whole for a whole q."""
    return lambda share: _tidy(round(quantile(share) / step) * step)


def _tidy(number: float | int) -> float | int:
    """Without the dust of binary fractions: 0.3, not 0.30000000000000004."""
    return number if isinstance(number, int) else float(f"{number:.12g}")


def _number(name: str, settings: Mapping[str, Any], key: str) -> float | int:
    found = settings.get(key)
    if isinstance(found, str) and _NUMBER.fullmatch(found):
        raise InputError(_as_text(f"parameters.{name}.{key}", found))
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        raise InputError(
            f"parameters.{name}.{key} is {found!r}; expected a number; a parameter has value, "
            "values or min and max"
        )
    return found


def _as_text(key: str, found: str) -> str:
    mantissa, exponent = re.split("[eE]", found)
    point = mantissa if "." in mantissa else f"{mantissa}.0"
    sign = exponent if exponent[0] in "+-" else f"+{exponent}"
    return f"{key} is the text {found!r}, as YAML reads it; write {point}e{sign}"


def _check_keys(
    name: str,
    kind: str,
    settings: Mapping[str, Any],
    needed: Sequence[str],
    optional: Sequence[str] = (),
) -> None:
    known = [*needed, *optional]
    missing = [key for key in needed if key not in settings]
    extra = [key for key in settings if key not in known]
    if missing or extra:
        what = f"has no {missing[0]}" if missing else f"has {extra[0]}, which it does not take"
        raise InputError(f"parameters.{name}: {kind} {what}; expected {', '.join(known)}")
