"""What a key may be given, by its type."""

from collections.abc import Callable, Sequence
from typing import Protocol

import pytest
from torch import Tensor

from dim_lightning.cli.candidates import candidates, kinds_of
from dim_lightning.encoders import Encoder
from dim_lightning.infomax.critics import Critic, DotCritic
from dim_lightning.infomax.priors import Prior
from dim_lightning.infomax.scores import ScoreSet


class Own(Protocol):
    """Whatever has what it has."""


@pytest.mark.parametrize(
    ("hint", "kinds"),
    [
        (Callable[[int, int], Critic], (Critic,)),
        (Sequence[Callable[[int], Prior]] | Encoder | str | None, (Prior, Encoder)),
        (Callable[[Tensor], Tensor], ()),
        (Own, ()),
        (None, ()),
    ],
)
def test_the_classes_of_a_type(hint, kinds):
    assert kinds_of(hint) == kinds


def test_those_of_a_kind_by_name_and_path():
    critics = candidates(Callable[[int, int], Critic])
    assert list(critics) == ["BilinearCritic", "ConcatCritic", "CosineCritic", "DotCritic"]
    assert critics["DotCritic"] == f"{DotCritic.__module__}.DotCritic"
    assert critics.items() < candidates(Own).items()


def test_estimators_are_functions_of_scores():
    found = candidates(Callable[[ScoreSet], Tensor])
    assert found == candidates(Sequence[Callable[[ScoreSet], Tensor]])
    assert found["nwj"] == "dim_lightning.infomax.estimators.nwj"
    assert {"jensen_shannon", "info_nce", "smile"} < found.keys()
    others = {"softplus", "widened", "identity", "check_trains", "name_of", "Tensor"}
    assert found.keys().isdisjoint(others)
