"""Which point a sweep tries next: each a function of the seed, the trial's number and the past.

Bayesian search is optuna's. It is a sampler one can ask for a point given the past, and needs
neither a server nor a cluster; Ray Tune wants to start the trials itself, on its own cluster, and
Ax brings a stack on GPyTorch for models that pay off on costlier problems than these.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from dim_lightning.errors import InputError
from dim_lightning.extras import installation
from dim_lightning.seeding import generator_for
from dim_lightning.sweep.space import Choice, Parameter, Range, coordinate, value_at

Point = dict[str, float | int]
"""Parameter -> coordinate: the place in its list, or the share of the probability below."""


class Past(NamedTuple):
    """A trial so far: where, its value, and whether it `ended`; a failed one has no value."""

    point: Point
    value: float | None
    ended: bool


def grid_size(parameters: Mapping[str, Parameter]) -> int:
    """How many points the grid has."""
    return math.prod(len(_listed(found)) for found in parameters.values())


def grid_point(parameters: Mapping[str, Parameter], number: int) -> Point:
    """Point `number`, from 1; the last name varies fastest, as in W&B's grid."""
    index, point = number - 1, {}
    for name in sorted(parameters, reverse=True):
        index, point[name] = divmod(index, len(_listed(parameters[name])))
    return dict(sorted(point.items()))


def random_point(parameters: Mapping[str, Parameter], seed: int, number: int) -> Point:
    """A draw from the parameters' distributions."""
    names = sorted(parameters)
    generator = generator_for(seed, number)
    shares = torch.rand(len(names), dtype=torch.float64, generator=generator).tolist()
    return {n: coordinate(parameters[n], s) for n, s in zip(names, shares, strict=True)}


def bayes_point(
    parameters: Mapping[str, Parameter],
    seed: int,
    number: int,
    past: Sequence[Past],
    maximise: bool,
) -> Point:
    """What optuna's tree-structured Parzen estimator proposes.

    Numbers are searched on the scale of their distribution, which W&B does as well: a share of
    the probability in [0, 1]. A trial that failed counts as the worst value there is, W&B's
    default, so that the search leaves its surroundings; one that runs is known to be under way.

    Raises:
        InputError: optuna is not installed.
    """
    optuna = import_optuna()
    sampler = optuna.samplers.TPESampler(
        seed=generator_for(seed, number).initial_seed() % 2**32, constant_liar=True
    )
    direction = "maximize" if maximise else "minimize"
    study = optuna.create_study(direction=direction, sampler=sampler)
    names = sorted(n for n, found in parameters.items() if _can_vary(found))
    distributions = {n: _distribution(optuna, parameters[n]) for n in names}
    study.add_trials(_told(optuna, past, distributions, maximise))
    proposed = study.ask(distributions).params
    return {n: proposed.get(n, 0) for n in sorted(parameters)}


def values_at(parameters: Mapping[str, Parameter], point: Point, grid: bool) -> dict[str, Any]:
    """The parameters' values at a point, of a grid or not."""
    if grid:
        return {n: _listed(found)[int(point[n])] for n, found in sorted(parameters.items())}
    return {n: value_at(found, point[n]) for n, found in sorted(parameters.items())}


def import_optuna() -> Any:
    """The package that Bayesian search needs.

    Raises:
        InputError: it is not installed.
    """
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise InputError(
            "method is bayes, which needs optuna, and that is not installed; run: "
            f"{installation('sweep')}, or take method random or grid"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _told(
    optuna: Any, past: Sequence[Past], distributions: Mapping[str, Any], maximise: bool
) -> list[Any]:
    """The past in optuna's words; failures only once there is a worst value for them."""
    known = [trial.value for trial in past if trial.value is not None]
    worst = (min if maximise else max)(known, default=None)
    states = optuna.trial.TrialState
    told = []
    for trial in past:
        value = trial.value if trial.value is not None else worst
        if trial.ended and value is None:
            continue
        state = states.COMPLETE if trial.ended else states.RUNNING
        told.append(
            optuna.trial.create_trial(
                state=state,
                value=value if trial.ended else None,
                params={name: trial.point[name] for name in distributions},
                distributions=dict(distributions),
            )
        )
    return told


def _distribution(optuna: Any, found: Parameter) -> Any:
    if isinstance(found, Choice):
        return optuna.distributions.CategoricalDistribution(range(len(found.values)))
    return optuna.distributions.FloatDistribution(0.0, 1.0)


def _can_vary(found: Parameter) -> bool:
    return isinstance(found, Range) or len(found.values) > 1


def _listed(found: Parameter) -> Sequence[Any]:
    return found.values if isinstance(found, Choice) else found.grid or []
