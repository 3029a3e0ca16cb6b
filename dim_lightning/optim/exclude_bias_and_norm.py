"""Weight decay of the weights alone, whatever the optimiser."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import Optimizer

from dim_lightning.optim.parameters import parted


class ExcludeBiasAndNorm(Optimizer):
    """Makes any optimiser, which then decays no biases and no parameters of norms.

    These are the parameters of at most one dimension. The layers' weights have more, and so have
    tokens and positions of a vision transformer, which are decayed as in DINO. What is made is an
    object of that optimiser, with groups of parameters: there is no other one around it.

    Source: Chen et al., 2020 (SimCLR), Grill et al., 2020 (BYOL), Caron et al., 2021 (DINO), He et
    al., 2022 (MAE); the criterion is that of DINO's code, and of timm, which MAE calls.

    Args:
        params: all parameters of the module, with their names if they have them, or groups of them.
        optimizer: makes the optimiser, given groups; its weight_decay is that of the weights.
    """

    def __new__(  # type: ignore[misc]  # one of another class, so that __init__ is not called
        cls, params: Iterable, optimizer: Callable[[Iterable], Optimizer] = torch.optim.AdamW
    ) -> Optimizer:
        """The optimiser."""
        given = list(params)
        groups = given if given and isinstance(given[0], dict) else [{"params": given}]
        return optimizer([part for group in groups for part in _parts(group)])

    def __init__(
        self, params: Iterable, optimizer: Callable[[Iterable], Optimizer] = torch.optim.AdamW
    ):
        """Never called; tells the command line of the settings."""


def _parts(group: dict[str, Any]) -> list[dict[str, Any]]:
    """A group as one of weights and one of all others, as far as there are such."""
    weights, others = parted(group["params"], lambda parameter: parameter.ndim > 1)
    parts = [{**group, "params": weights}, {**group, "params": others, "weight_decay": 0.0}]
    return [part for part in parts if part["params"]]
