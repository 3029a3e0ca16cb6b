"""The learning rate of short trainings: up in a line, down in half a cosine, step by step."""

import math
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from dim_lightning.errors import InputError


class WarmupCosine(LRScheduler):
    """Learning rates from 0 up to the optimiser's over a share of the training, then down to 0.

    Stepped once a training step. At step t of T, with W = warmup * T:
    lr (t + 1) / W while t < W, then lr (1 + cos(pi (t - W) / (T - W))) / 2.

    Source: Loshchilov and Hutter, 2017, equation 5, without restarts; Goyal et al., 2017
    (warm-up).

    Args:
        optimizer: whose learning rates are the highest ones.
        warmup: share of the training.
        total_steps: T; `EncoderModule.on_train_start` sets it to what the Trainer is going to do.

    Raises:
        InputError: the warm-up is no share; or steps are taken, and T was never told.
    """

    def __init__(self, optimizer: Optimizer, warmup: float = 0.1, total_steps: int = 1):
        if not 0 <= warmup < 1:
            raise InputError(
                f"WarmupCosine was given warmup {warmup}; expected a share of the training, at "
                "least 0 and below 1; set model.lr_scheduler.init_args.warmup"
            )
        self.warmup = warmup
        self.total_steps = total_steps
        self._is_told = total_steps > 1
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """The rates of the step that comes next."""
        return [rate * self._share() for rate in self.base_lrs]

    def of(self, total_steps: int | float) -> "WarmupCosine":
        """This schedule over a training of so many steps.

        Raises:
            InputError: the training has no end.
        """
        if not math.isfinite(total_steps):
            raise InputError(
                "WarmupCosine falls to 0 at the end of training, which has none; set "
                "trainer.max_epochs or trainer.max_steps"
            )
        self.total_steps, self._is_told = max(1, int(total_steps)), True
        for group, rate in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = rate
        return self

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on at the stored step, of the training that is asked for now."""
        own = ("warmup", "total_steps", "_is_told")
        super().load_state_dict(state_dict | {name: getattr(self, name) for name in own})

    def _share(self) -> float:
        if self.last_epoch > self.total_steps and not self._is_told:
            raise InputError(
                "WarmupCosine was not told how long the training is; give total_steps, or, in a "
                "method with an on_train_start of its own, call super().on_train_start()"
            )
        step = min(self.last_epoch, self.total_steps)
        warmup = self.warmup * self.total_steps
        if step < warmup:
            return min(1.0, (step + 1) / warmup)
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (self.total_steps - warmup)))
