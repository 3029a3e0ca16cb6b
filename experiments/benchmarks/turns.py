"""What is said of rates that were measured in turns, round after round."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any


def summary(rates: Mapping[str, Sequence[float]], reference: str, name: str) -> dict[str, Any]:
    """Mean and spread of each kind's images a second, and of its ratio round by round.

    Args:
        rates: kind -> images a second, of each round.
        reference: the kind that the ratios are to.
        name: of the reference: the ratio's key is ratio_to_<name>.
    """
    found = {}
    for kind, values in rates.items():
        ratios = [value / other for value, other in zip(values, rates[reference], strict=True)]
        found[kind] = {
            "images_per_second": statistics.mean(values),
            "spread": _deviation(values),
            f"ratio_to_{name}": statistics.mean(ratios),
            "ratio_spread": _deviation(ratios),
            "rounds": list(values),
        }
    return found


def say(found: Mapping[str, Any], name: str) -> None:
    """Prints a line a kind of what `summary` gave."""
    for kind, figures in found.items():
        print(
            f"{kind}: {figures['images_per_second']:.0f} +- {figures['spread']:.0f} images/s, "
            f"{figures[f'ratio_to_{name}']:.2f} +- {figures['ratio_spread']:.2f} of {name}, "
            f"n = {len(figures['rounds'])}"
        )


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0
