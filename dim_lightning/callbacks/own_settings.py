"""Lets a run that begins from another run's checkpoint train by settings of its own."""

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, Timer
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from dim_lightning.callbacks.running_best import RunningBest
from dim_lightning.encoder_module import EncoderModule
from dim_lightning.optim import WarmupCosine
from dim_lightning.run.checkpoint import position


class OwnSettings(Callback):
    """Takes the optimiser's state from a checkpoint, but no settings of it and no schedule.

    Lightning restores learning rates, momenta and the like together with the moments, so that those
    asked for have no effect. With this callback they hold. The schedule is the one asked for, at
    the epoch and step that training goes on from. State that has not what the optimiser keeps, as
    another one left it, is dropped, and that is said. The best accuracies, the clock of max_time
    and the patience of early stopping begin anew.
    """

    def __init__(self) -> None:
        self._checkpoint: dict[str, Any] | None = None
        self._done: tuple[int, int] | None = None  # epochs, and batches of the next one

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Forgets a checkpoint that was only validated or tested."""
        self._checkpoint = self._done = None

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keeps the checkpoint until there is an optimiser; drops what callbacks have stored."""
        self._checkpoint = checkpoint
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, RunningBest | Timer | EarlyStopping):
                checkpoint["callbacks"].pop(callback.state_key, None)

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Changes what Lightning restores next."""
        checkpoint, self._checkpoint = self._checkpoint, None
        if checkpoint is None:
            return
        self._done = position(checkpoint)
        for config in trainer.lr_scheduler_configs:
            if not isinstance(config.scheduler, WarmupCosine):
                _advance(config.scheduler, self._done[0])
        checkpoint["lr_schedulers"] = []
        assert isinstance(pl_module, EncoderModule)
        own = trainer.optimizers[0].state_dict()
        stored = next(iter(checkpoint.get("optimizer_states", [])), None)
        if stored is not None and _fits(stored, _after_a_step(pl_module)):
            own["state"] = stored["state"]
        else:
            rank_zero_info("the optimiser begins anew: the checkpoint has no state that fits it")
        checkpoint["optimizer_states"] = [own]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Puts a schedule of steps where the epochs done end, in steps of its own.

        With other batches or pictures an epoch has another number of steps than it had.
        """
        done, self._done = self._done, None
        for config in trainer.lr_scheduler_configs:
            if isinstance(config.scheduler, WarmupCosine) and done is not None:
                config.scheduler.last_epoch = _steps(trainer, done)


def _steps(trainer: L.Trainer, done: tuple[int, int]) -> int:
    """How many steps of the training that is asked for the epochs and batches done are."""
    (epochs, batches), end = done, trainer.max_epochs
    if trainer.max_steps != -1 or end is None or end < 1:
        return trainer.global_step
    an_epoch = int(trainer.estimated_stepping_batches) // end
    return epochs * an_epoch + batches // trainer.accumulate_grad_batches


def _fits(stored: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    """Whether an optimiser's state has the tensors, by name, that are expected."""
    sizes, names = zip(*map(_layout, (stored, expected)), strict=True)
    return sizes[0] == sizes[1] and names[0].items() <= names[1].items()


def _layout(state: Mapping[str, Any]) -> tuple[list[int], dict[int, frozenset[str]]]:
    """The number of parameters in each group, and the names of what is kept of each parameter."""
    sizes = [len(group["params"]) for group in state["param_groups"]]
    return sizes, {index: frozenset(kept) for index, kept in state["state"].items()}


def _after_a_step(module: EncoderModule) -> dict[str, Any]:
    """The state that the optimiser of a module keeps, found on zeros in place of its weights."""
    zeros: dict[Tensor, Tensor] = {
        p: nn.Parameter(torch.zeros_like(p), p.requires_grad) for p in module.parameters()
    }
    optimizer = module.make_optimizer(_replaced(module.parameter_groups(), zeros))
    for parameter in zeros.values():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step(lambda: 0.0)
    return optimizer.state_dict()


def _replaced(given: Any, others: Mapping[Tensor, Tensor]) -> Any:
    """Parameters or groups of them, with others in place of the parameters; settings as given."""
    if isinstance(given, Tensor):
        return others.get(given, given)
    if isinstance(given, dict):
        return {name: _replaced(each, others) for name, each in given.items()}
    if isinstance(given, tuple):  # of a name and a parameter
        return tuple(_replaced(each, others) for each in given)
    if isinstance(given, list | Iterator):
        return [_replaced(each, others) for each in given]
    return given


def _advance(scheduler: LRScheduler, steps: int) -> None:
    """Takes a schedule to where it is after so many steps."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it misses the optimiser's steps, which were another's
        for _ in range(steps):
            scheduler.step()
