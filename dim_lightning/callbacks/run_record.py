"""Keeps the run folder true while the run goes on: speed, result.json, the page."""

import statistics
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import Tensor

from dim_lightning.callbacks.observation import LastTrained, num_images_of, terms_of
from dim_lightning.errors import InputError
from dim_lightning.run.environment import now, write_environment
from dim_lightning.run.report import final_figures
from dim_lightning.run.result import read_result, update_result
from dim_lightning.run.summary import write_summary

_MIN_SECONDS = 30.0
_MAX_SHARE = 0.02
_COUNTS = ("epochs", "steps", "seconds", "images_seen", "images_per_second")


class RunRecord(Callback):
    """Logs images/s each epoch; writes the figures of the run and its page.

    The page is drawn anew after a validation if the last one is half a minute old and drawing
    takes less than a fiftieth of the time, and whenever training ends, however it ends.

    Args:
        run_dir: the run's folder.
    """

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._of = LastTrained()
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._num_images = 0
        self._seconds = 0.0
        self._epoch_images = 0
        self._epoch_seconds = 0.0
        self._mark = 0.0
        self._terms: Mapping[str, Tensor] = {}
        self._speeds: list[float] = []
        self._page_seconds = 0.0
        self._page_time = 0.0
        self._has_trained = False

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Counts nothing of another module."""
        if self._of.changes_to(pl_module):
            self._begin_anew()

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run goes on counting from."""
        return {
            "num_images": self._num_images,
            "seconds": self._seconds,
            "epoch_images": self._epoch_images,
            "epoch_seconds": self._epoch_seconds,
            "speeds": list(self._speeds),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on counting."""
        self._of = LastTrained()
        self._num_images = state_dict["num_images"]
        self._seconds = state_dict["seconds"]
        self._epoch_images = state_dict["epoch_images"]
        self._epoch_seconds = state_dict["epoch_seconds"]
        self._speeds = list(state_dict["speeds"])

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts the clock."""
        self._page_time = self._mark = time.monotonic()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts the epoch's count."""
        self._epoch_images, self._epoch_seconds = 0, 0.0
        self._seconds += self._lap()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Counts images and training time; validation and what else runs between is not in it.

        Raises:
            InputError: the module's step gives no loss or no codes.
        """
        self._terms = terms_of(pl_module, outputs)
        lap = self._lap()
        self._seconds += lap
        self._epoch_seconds += lap
        num_images = num_images_of(pl_module, "training_step", outputs) * trainer.world_size
        self._epoch_images += num_images
        self._num_images += num_images
        self._has_trained = True

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keeps validation out of the training speed, and refreshes the figures."""
        if not trainer.sanity_checking and trainer.state.fn == "fit":
            self._seconds += self._lap()
            self._write(trainer, "running")

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Logs the epoch's images/s."""
        self._seconds += self._lap()
        speed = self._epoch_images / max(self._epoch_seconds, 1e-9)
        self._speeds.append(speed)
        pl_module.log("speed/images_per_second", speed, batch_size=1, sync_dist=True)
        if _is_short(trainer):
            self._log_last_step(trainer)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the figures and the page of a finished run."""
        self._write(trainer, "interrupted" if trainer.interrupted else "completed", final=True)

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Writes how far the run came."""
        if trainer.state.fn != "fit":
            return
        stopped = isinstance(exception, KeyboardInterrupt)
        reason = str(exception) if isinstance(exception, InputError) else repr(exception)
        with suppress(Exception):  # on a full disk, say: the error to see is the first one
            if stopped:
                self._write(trainer, "interrupted", final=True)
            else:
                self._write(trainer, "failed", final=True, reason=reason)

    def _log_last_step(self, trainer: L.Trainer) -> None:
        """Logs the terms of an epoch that is too short for a step of it to be logged anyway."""
        terms = {f"train/{name}": float(value) for name, value in self._terms.items()}
        for logger in trainer.loggers:
            logger.log_metrics({**terms, "epoch": trainer.current_epoch}, trainer.global_step - 1)

    def _lap(self) -> float:
        """Seconds since the last call."""
        previous, self._mark = self._mark, time.monotonic()
        return self._mark - previous

    @rank_zero_only
    def _write(
        self, trainer: L.Trainer, status: str, final: bool = False, reason: str | None = None
    ) -> None:
        figures = {
            "status": status,
            "reason": reason,
            "epochs": trainer.current_epoch + (status == "running" and trainer.is_last_batch),
            "steps": trainer.global_step,
            "seconds": round(self._seconds, 1),
            "images_seen": self._num_images,
            "images_per_second": round(statistics.median(self._speeds or [0.0]), 1),
            **final_figures(self._run_dir),
        }
        if not self._has_trained:  # what an earlier start has counted stays
            before = read_result(self._run_dir).get("fit", {})
            figures |= {name: before[name] for name in _COUNTS if name in before}
        update_result(self._run_dir, "fit", figures)
        if final:
            write_environment(self._run_dir, {"finished": now()})
        if final or self._page_is_due():
            start = time.monotonic()
            write_summary(self._run_dir)
            self._page_time = time.monotonic()
            self._page_seconds = self._page_time - start

    def _page_is_due(self) -> bool:
        age = time.monotonic() - self._page_time
        return age > max(_MIN_SECONDS, self._page_seconds / _MAX_SHARE)


def _is_short(trainer: L.Trainer) -> bool:
    """Whether an epoch has fewer steps than from one that is logged to the next."""
    steps: float = trainer.num_training_batches / trainer.accumulate_grad_batches
    return steps <= trainer.log_every_n_steps - 1  # type: ignore[attr-defined]
