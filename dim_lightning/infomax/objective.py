"""Contrasts, estimator, prior and structure tasks, joined to the named terms of the objective."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from numbers import Integral
from typing import Literal

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from dim_lightning.errors import InputError
from dim_lightning.hyperparameters import part_text
from dim_lightning.infomax.contrasts import Contrast, PatchContrast, score_penalty
from dim_lightning.infomax.coordinates import Coordinates
from dim_lightning.infomax.estimators import Estimator, check_trains, name_of
from dim_lightning.infomax.negatives import shuffled
from dim_lightning.infomax.priors import Prior
from dim_lightning.infomax.view import View
from dim_lightning.parts import check_functions, check_scalar
from dim_lightning.processes import joint_size, own_rows

NumNegatives = int | Literal["all"]
INFORMATION = ("global", "local", "patches")
WEIGHTS = {  # term -> its setting
    "global": "global_weight",
    "local": "local_weight",
    "patches": "patch_weight",
    "prior": "prior_weight",
    "coordinates": "coordinate_weight",
    "penalty": "score_penalty",
}


class Objective(nn.Module):
    """loss = -alpha I_global - beta I_local + gamma prior(z), and further terms.

    I_local is the estimate of all pairs of a location C_ij and a code. Where the estimator is a
    difference of means, that is the mean over ij of each location's estimate, as the paper writes
    it; `donsker_varadhan` and `info_nce` take one logarithm over all locations, as its code does.

    Each information term is the estimator's value, averaged over its contrasts and over the pairs
    of views. A term of weight zero has no network and is not computed.

    Source: Su Jianlin, 2018; Hjelm et al., 2019, equation 8.

    Args:
        weights: of the terms named in `WEIGHTS`; what is not there has weight 0.
        contrasts: 'global', 'local', 'patches': the contrasts of each information term.
        estimator: what is maximised, a lower bound of a divergence of real pairs from others; in
            nats where its docstring names no other unit.
        prior: how codes are drawn, and how far they are from where they should be.
        coordinates: the networks that predict where a local feature lies.
        num_negatives: other images each code is contrasted with, drawn anew at each step; or 'all'.
        report: estimators whose values are given beside the trained one's, as
            '<term>_<estimator>', without gradient.

    Raises:
        InputError: for a weight or number of negatives that cannot be, when no information term is
            left, for an estimator that does not train or is no function, or for two reported ones
            of one name.
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        contrasts: Mapping[str, Sequence[Contrast | PatchContrast]],
        estimator: Estimator,
        prior: Prior | None = None,
        coordinates: Coordinates | None = None,
        num_negatives: NumNegatives = 1,
        report: Sequence[Estimator] = (),
    ):
        super().__init__()
        _check_weights(weights)
        check_functions(estimator=estimator)
        check_trains(estimator)
        _check_report(report)
        _check_num_negatives(num_negatives)
        self.weights = dict(weights)
        self.contrasts = nn.ModuleDict({k: nn.ModuleList(v) for k, v in contrasts.items()})
        self.estimator = estimator
        self.prior = prior
        self.coordinates = coordinates
        self.num_negatives = num_negatives
        self.report = tuple(report)
        self.reported = {f"{name}_{name_of(f)}" for name in contrasts for f in report}

    def forward(
        self,
        views: Sequence[View],
        pairs: Sequence[tuple[int, int]],
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """The terms, and their weighted sum `loss`, which is minimised.

        Args:
            views: of the same images, in the same order.
            pairs: (a, b): the code of view b is paired with the images of view a.
            generator: of the negatives and of all other draws.
        """
        negatives = self._negatives(views[0].code, generator)
        values: dict[str, list[Tensor]] = defaultdict(list)
        for a, b in pairs:
            for name, value in self._information(views[a], views[b], negatives, generator):
                values[name].append(value)
            if self.coordinates is not None:
                feature_map = views[a].features.feature_map
                _collect(values, self.coordinates(feature_map, views[b].code, generator))
        if self.prior is not None:
            for b in sorted({b for _, b in pairs}):
                given = self.prior(views[b].features, views[b].code, generator)
                _check_prior(type(self.prior).__name__, given, self.reported)
                _collect(values, given)
        for name, parts in values.items():
            for part in parts:
                check_scalar(f"the estimator or prior of the term {name!r} gives", part)
        terms = {name: torch.stack(parts).mean() for name, parts in values.items()}
        return {"loss": self._loss(terms), **terms}

    def _negatives(self, code: Tensor, generator: torch.Generator) -> Int64[Tensor, "n k"] | None:
        if self.num_negatives == "all":
            return None
        num_images = joint_size(len(code))
        return own_rows(shuffled(num_images, self.num_negatives, generator))

    def _information(
        self,
        image: View,
        code: View,
        negatives: Tensor | None,
        generator: torch.Generator,
    ) -> list[tuple[str, Tensor]]:
        """Name and value of each information term, of each reported one and of the penalty."""
        values = []
        for name, contrasts in self.contrasts.items():
            for contrast in contrasts:  # type: ignore[attr-defined]
                scores = contrast(image, code, negatives, generator)
                values.append((name, self.estimator(scores)))
                with torch.no_grad():
                    values += [(f"{name}_{name_of(f)}", f(scores)) for f in self.report]
                if self.weights.get("penalty", 0) > 0:
                    values.append(("penalty", score_penalty(scores)))
        return values

    def _loss(self, terms: Mapping[str, Tensor]) -> Tensor:
        """The weighted sum; what a prior gives beside 'prior' trains networks of its own."""
        parts = []
        for name, value in terms.items():
            if name in self.reported:
                continue
            sign = -1 if name in self.contrasts else 1
            weighed_as = _WEIGHED_AS.get(name, name)
            weight = self.weights.get(weighed_as, 0.0) if weighed_as in WEIGHTS else 1.0
            parts.append(sign * weight * value)
        return torch.stack(parts).sum()


_WEIGHED_AS = {"relative_coordinates": "coordinates"}


def _check_weights(weights: Mapping[str, float]) -> None:
    """Refuses weights that cannot work.

    Raises:
        InputError: one is negative or not finite, or those of all information terms are 0.
    """
    for name, weight in weights.items():
        if not 0 <= weight < float("inf"):
            raise InputError(
                f"model.{WEIGHTS[name]} is {weight}; expected a finite number of at least 0"
            )
    if not any(weights.get(name, 0) for name in INFORMATION):
        raise InputError(
            "model.global_weight, model.local_weight and model.patch_weight are all 0: nothing "
            "would be learned; set at least one of them above 0"
        )


def _check_report(report: Sequence[Estimator]) -> None:
    """Refuses what is no list of functions, and two whose values would be logged under one name.

    Raises:
        InputError: there are such.
    """
    if isinstance(report, str) or not isinstance(report, Sequence):
        raise InputError(
            f"report is {part_text(report)}; expected a list of functions, such as [info_nce]"
        )
    check_functions(**{f"report[{index}]": each for index, each in enumerate(report)})
    names = [name_of(estimator) for estimator in report]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(
            f"model.report has {twice} twice, and values are logged by the estimator's name; "
            "expected each name once; give a function of your own another name"
        )


def _check_num_negatives(num_negatives: NumNegatives) -> None:
    """Refuses what is neither a number nor 'all'; how many there can be, the batch tells.

    Raises:
        InputError: it is something else.
    """
    if num_negatives != "all" and not isinstance(num_negatives, Integral):
        raise InputError(
            f"num_negatives is {part_text(num_negatives)}; expected a whole number of at least 1, "
            "or 'all'"
        )


def _collect(values: dict[str, list[Tensor]], terms: Mapping[str, Tensor]) -> None:
    for name, value in terms.items():
        values[name].append(value)


def _check_prior(name: str, terms: object, reported: Collection[str]) -> None:
    """Refuses terms none of which has the prior's weight; there may be no terms at all.

    Raises:
        InputError: so it is, or a term has a name by which it would be weighed as another one.
    """
    if not isinstance(terms, Mapping) or (terms and "prior" not in terms):
        found = list(terms) if isinstance(terms, Mapping) else type(terms).__name__
        raise InputError(f"{name} gives {found}; expected a dict of terms with 'prior' in it")
    others = {"loss", *WEIGHTS, *_WEIGHED_AS, *reported} - {"prior"}
    taken = next((term for term in terms if term in others), None)
    if taken is not None:
        raise InputError(
            f"{name} gives a term {taken!r}, which is the name of another term of the objective; "
            "expected one of its own; call it something else"
        )
