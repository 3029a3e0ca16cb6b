"""Stops training at the first number that is not finite, before a checkpoint keeps it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from dim_lightning.callbacks.observation import terms_of
from dim_lightning.errors import InputError

_LEAST_SCALE = 1e-4  # what fairseq stops at; a training that gets on stays far above it
_GENTLER = "a lower learning rate (model.optimizer) or --trainer.gradient_clip_val 1"
_WIDER = "--trainer.precision bf16-mixed or 32-true"


class NonFiniteGuard(Callback):
    """Watches the terms of every step and the weights; says which term and which step.

    In 16-mixed a step whose gradients are not finite is left out, and they are scaled down for the
    next one. Where that has no end, nothing is trained while terms and weights stay finite: the
    scale tells.

    The watching stays on the device and asks nothing back: the flags are read every
    `trainer.log_every_n_steps` steps, at the end of each epoch and before a checkpoint is written.

    Args:
        checkpoint: the file that holds the last good state, named in the message.
    """

    def __init__(self, checkpoint: Path | None = None) -> None:
        self._checkpoint = checkpoint
        # names of a step's terms -> the step at which each of them went bad, -1 if never
        self._first_bad: dict[tuple[str, ...], Tensor] = {}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Knows of no step of an earlier training."""
        self._first_bad = {}

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Marks the terms that are not finite.

        Raises:
            InputError: a term or a weight is not finite, or gradients never are; or the step gives
                no loss.
        """
        self._mark(terms_of(pl_module, outputs), trainer.global_step)
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # 0: never
        if every > 0 and trainer.global_step % every == 0:
            self._check(trainer, pl_module)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Looks at the terms and the weights.

        Raises:
            InputError: a term or a weight is not finite, or gradients never are.
        """
        self._check(trainer, pl_module)

    on_train_epoch_end = on_validation_start

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Looks at them once more before a file keeps the state.

        Raises:
            InputError: a term or a weight is not finite, or gradients never are.
        """
        self._check(trainer, pl_module)

    def _mark(self, terms: Mapping[str, Tensor], step: int) -> None:
        bad = ~torch.isfinite(torch.stack([term.float() for term in terms.values()]))
        names = tuple(terms)
        before = self._first_bad.get(names, torch.full_like(bad, -1, dtype=torch.long))
        self._first_bad[names] = torch.where(bad & (before < 0), step, before)

    def _check(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # the loss is bad whenever a term is: name the term
        bad = sorted(
            (step, name == "loss", name)
            for names, steps in self._first_bad.items()
            for name, step in zip(names, steps.tolist(), strict=True)
            if step >= 0
        )
        if bad:
            step, _, name = bad[0]
            what = "the loss" if name == "loss" else f"the {name} term"
            what = f"{what} became NaN or infinite at step {step}"
            raise InputError(self._message(what, _GENTLER, trainer))
        tensor = _first_bad_tensor(pl_module)
        if tensor:
            what = f"{tensor} became NaN or infinite by step {trainer.global_step}"
            raise InputError(self._message(what, _GENTLER, trainer))
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        if scaler is not None and scaler.get_scale() < _LEAST_SCALE:
            what = (
                "the gradients are NaN or infinite in 16-mixed however they are scaled: the scale "
                f"is {scaler.get_scale():.0e} at step {trainer.global_step}, as step after step "
                "was left out"
            )
            raise InputError(self._message(what, _WIDER, trainer))

    def _message(self, what: str, advice: str, trainer: L.Trainer) -> str:
        kept = "no checkpoint was kept yet"
        if self._checkpoint is not None and self._checkpoint.is_file():
            kept = f"the last good checkpoint is {self._checkpoint}"
        return (
            f"{what} (epoch {trainer.current_epoch + 1}); expected finite numbers; {kept}; "
            f"try {advice}"
        )


@torch.no_grad()
def _first_bad_tensor(module: torch.nn.Module) -> str | None:
    """The first weight or running statistic that is not finite; one answer from the device."""
    tensors = {k: v for k, v in module.state_dict().items() if v.is_floating_point()}
    if not tensors:
        return None
    # no sum is finite that has a number in it that is not, and a sum is the quickest to take
    if torch.stack([tensor.sum() for tensor in tensors.values()]).isfinite().all():
        return None
    return next((k for k, v in tensors.items() if not v.isfinite().all()), None)
