"""Which trials to end early: hyperband, by the rule that W&B uses.

Source: github.com/wandb/sweeps 0.3.0, src/sweeps/hyperband_stopping.py; Li et al., 2018,
JMLR 18(185).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dim_lightning.errors import InputError

_KEYS = ("type", "min_iter", "max_iter", "s", "eta", "strict")
_MOST_BANDS = 100
_MOST = {"min_iter": 10**9, "max_iter": 10**9, "s": _MOST_BANDS, "eta": 100}


class Hyperband(NamedTuple):
    """At each band, a count of logged values, the best 1/`eta` of the trials go on.

    `strict` judges a trial by its value at the band; else by its best value so far.
    """

    bands: list[int]
    eta: float
    strict: bool


def hyperband(settings: Any) -> Hyperband:
    """The rule of the section early_terminate.

    Raises:
        InputError: another type, unknown settings, one out of its range, or neither min_iter nor
            max_iter and s.
    """
    if not isinstance(settings, Mapping) or settings.get("type") != "hyperband":
        raise InputError(
            f"early_terminate is {settings!r}; expected type: hyperband, the one that is known"
        )
    extra = [key for key in settings if key not in _KEYS]
    if extra:
        raise InputError(f"early_terminate has {extra[0]}; expected {', '.join(_KEYS)}")
    numbers = {key: settings[key] for key in ("min_iter", "max_iter", "s") if key in settings}
    numbers["eta"] = settings.get("eta", 3)
    for key, found in numbers.items():
        kind, what = (int, "whole number") if key == "s" else (int | float, "number")
        is_number = isinstance(found, kind) and not isinstance(found, bool)
        if not is_number or not 1 <= found <= _MOST[key]:
            raise InputError(
                f"early_terminate.{key} is {found!r}; expected a {what} from 1 to {_MOST[key]}"
            )
    if numbers["eta"] == 1:
        raise InputError("early_terminate.eta is 1; expected more, such as 2 or 3")
    strict = settings.get("strict", True)
    if not isinstance(strict, bool):
        raise InputError(f"early_terminate.strict is {strict!r}; expected true or false")
    return Hyperband(_bands(numbers), float(numbers["eta"]), strict)


def should_stop(
    rule: Hyperband,
    own: Sequence[float],
    histories: Sequence[Sequence[float]],
    maximise: bool,
) -> bool:
    """Whether a running trial is to end.

    Args:
        rule: from `hyperband`.
        own: the values that this trial has logged.
        histories: those of all trials, this one included.
        maximise: whether large values are good.
    """
    passed = [band for band in rule.bands if band <= len(own)]
    if not passed:
        return False
    band, sign = passed[-1], -1 if maximise else 1

    def cost(value: float) -> float:
        return math.inf if math.isnan(value) else sign * value

    there = sorted(cost(history[band - 1]) for history in histories if len(history) >= band)
    threshold = there[int(len(there) / rule.eta)]
    value = cost(own[band - 1]) if rule.strict else min(map(cost, own))
    return value > threshold


def _bands(numbers: Mapping[str, float | int]) -> list[int]:
    eta = numbers["eta"]
    if "min_iter" in numbers:
        bands = [numbers["min_iter"] * eta**i for i in range(_MOST_BANDS)]
        return list(dict.fromkeys(map(int, bands)))
    if "max_iter" not in numbers or "s" not in numbers:
        raise InputError("early_terminate: expected min_iter, or max_iter and s")
    bands = [numbers["max_iter"] / eta ** (i + 1) for i in range(int(numbers["s"]))]
    kept = sorted({int(band) for band in bands if band >= 1})
    if not kept:
        raise InputError(
            f"early_terminate: max_iter {numbers['max_iter']} leaves no band for eta {eta}; "
            "raise max_iter or lower eta"
        )
    return kept
