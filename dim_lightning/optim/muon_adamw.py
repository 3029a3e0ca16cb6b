"""Muon on the filters of convolutions, AdamW on everything else, as one optimiser."""

import math
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.adamw import adamw

from dim_lightning.errors import InputError
from dim_lightning.optim.parameters import parted
from dim_lightning.processor import imitates_bfloat16, multiplies_bfloat16

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5


class MuonAdamW(Optimizer):
    """Steps in which every direction of a filter bank moves alike; AdamW for what is no filter.

    The filters of a convolution, flattened to a matrix [outputs, k * k * inputs], move along their
    momentum with its singular values brought to about 1: W <- W - lr max(1, rows / columns)^(1/2)
    U V'. Biases, norms, linear layers, and the convolution that sees the pixels move by AdamW.
    torch.optim.Muon takes matrices only, and no other parameters beside them. A decoder's
    convolutions go the same way, the last one too; rows of a transposed one are its inputs. Without
    any filters, as in a vision transformer, it is AdamW, of which it warns.

    Source: Jordan et al., 2024, "Muon: an optimizer for hidden layers in neural networks", with
    its coefficients; AdamW: Loshchilov and Hutter, 2019.

    Args:
        params: all parameters of the module, with their names if they have them, or groups of them
            with settings of their own, in which lr is that of AdamW, too. Those that are frozen
            move from the step on in which they have a gradient.
        lr: learning rate of AdamW.
        filter_lr: learning rate of the filters.
        momentum: of the filters, Nesterov's.
        betas: of AdamW.
        eps: of AdamW.
        weight_decay: of both, times their learning rates.

    Raises:
        InputError: a number is out of its range.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-3,
        filter_lr: float = 0.02,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        rates = {"lr": lr, "filter_lr": filter_lr}
        shared = {"momentum": momentum, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        _check(rates | shared)
        self._rates = rates
        super().__init__(params, shared)
        filters = [p for group in self.param_groups if group["filters"] for p in group["params"]]
        if not any(parameter.requires_grad for parameter in filters):
            warnings.warn(
                "MuonAdamW was given no filters of convolutions over features to train, and so is "
                "AdamW; expected an encoder with such; set model.optimizer to AdamW to mean it",
                stacklevel=2,
            )

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """One more group, as one of filters and one of all others, as far as there are such.

        The learning rates that it does not name are those that this was made with.
        """
        for part in _parts(self._rates | param_group):
            super().add_param_group(part)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; what `closure` returns, which computes the gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            moved = [p for p in group["params"] if p.grad is not None]
            if group["filters"]:
                for parameter in moved:
                    self._move_filters(parameter, group)
            elif moved:
                self._move_others(moved, group)
        return loss

    def _move_filters(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        assert parameter.grad is not None
        state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
        update = parameter.grad.lerp(state["momentum"], group["momentum"])
        # [outputs, k, k, inputs], the order in which channels_last filters lie: no copies
        update = update.permute(0, 2, 3, 1)
        matrix = update.flatten(1)
        rows, columns = matrix.shape
        step = orthogonalised(matrix).view_as(update).permute(0, 3, 1, 2)
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.sub_(step, alpha=group["lr"] * max(1.0, rows / columns) ** 0.5)

    def _move_others(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                state["step"] = torch.zeros((), device=parameter.device)
                state["mean"] = torch.zeros_like(parameter)
                state["mean_square"] = torch.zeros_like(parameter)
        states = [self.state[parameter] for parameter in parameters]
        adamw(
            parameters,
            [p.grad for p in parameters if p.grad is not None],
            [state["mean"] for state in states],
            [state["mean_square"] for state in states],
            [],
            [state["step"] for state in states],
            fused=True,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )


def orthogonalised(matrix: Float[Tensor, "a b"]) -> Float[Tensor, "a b"]:
    """The matrix with most of its singular values brought to between about 0.7 and 1.2.

    Five iterations of a polynomial of X X', X <- a X + b (X X') X + c (X X')^2 X, in bfloat16;
    in float32 on a processor or GPU without instructions for bfloat16, where that is quicker.

    Source: Jordan et al., 2024, the Newton-Schulz iteration.
    """
    on_cpu = matrix.device.type == "cpu"
    quick = multiplies_bfloat16(matrix.device) if on_cpu else not imitates_bfloat16(matrix.device)
    x = matrix.bfloat16() if quick else matrix.float()
    tall = x.shape[0] > x.shape[1]
    x = x.mT if tall else x
    x = x / (x.norm() + 1e-7)
    many = x.shape[1] > 1.5 * x.shape[0]  # of the two ways the one with fewer multiplications
    x = _product_of_iterations(x @ x.mT) @ x if many and not quick else _iterated(x)
    return (x.mT if tall else x).to(matrix.dtype)


def _iterated(x: Float[Tensor, "a b"]) -> Float[Tensor, "a b"]:
    a, b, c = _COEFFICIENTS
    for _ in range(_ITERATIONS):
        square = x @ x.mT
        polynomial = torch.addmm(square, square, square, beta=b, alpha=c)
        x = torch.addmm(x, polynomial, x, beta=a)
    return x


def _product_of_iterations(square: Float[Tensor, "a a"]) -> Float[Tensor, "a a"]:
    """Q of X <- Q X, all iterations at once, from X X' alone: the wide X is multiplied but once.

    Not in bfloat16, where X X' has no digits left for singular values below a sixteenth.
    """
    factor = product = _factor(square)
    for _ in range(_ITERATIONS - 1):
        square = factor @ (square @ factor)
        factor = _factor(square)
        product = factor @ product
    return product


def _factor(square: Float[Tensor, "a a"]) -> Float[Tensor, "a a"]:
    """The polynomial of S that X is multiplied by, a + b S + c S^2."""
    a, b, c = _COEFFICIENTS
    factor = torch.addmm(square, square, square, beta=b, alpha=c)
    factor.diagonal().add_(a)
    return factor


def _parts(group: dict[str, Any]) -> list[dict[str, Any]]:
    """A group of parameters as one of filters and one of all others, as far as there are such."""
    group = dict(group)
    filters, others = parted(group.pop("params"), _is_filter)
    filter_lr, lr = group.pop("filter_lr"), group.pop("lr")
    parts = [
        {"params": filters, "filters": True, "lr": filter_lr, **group},
        # fused: so that a restored count of steps goes where the parameters are
        {"params": others, "filters": False, "lr": lr, "fused": True, **group},
    ]
    return [part for part in parts if part["params"]]


def _is_filter(parameter: Tensor) -> bool:
    """Whether it is a bank of filters over features, not over the three colours."""
    return parameter.ndim == 4 and parameter.shape[1] > 3


def _check(settings: dict[str, Any]) -> None:
    for name, value in settings.items():
        values, below = (value if name == "betas" else [value]), name in ("momentum", "betas")
        if not all(0 <= number < (1 if below else math.inf) for number in values):
            raise InputError(
                f"MuonAdamW was given {name} {value}; expected "
                f"{'two finite numbers' if name == 'betas' else 'a finite number'} of at least 0"
                f"{', below 1' if below else ''}; set model.optimizer.init_args.{name}"
            )
