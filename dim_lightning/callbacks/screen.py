"""What a person sees of a run: a bar on a terminal, and a line an epoch everywhere."""

import math
import sys
import time
from collections.abc import Mapping
from io import TextIOBase
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback, ProgressBar
from torch import Tensor
from tqdm import tqdm

from dim_lightning.callbacks.observation import num_images_of, terms_of
from dim_lightning.run.report import KNN, PROBE, RANK

SHORT_NAMES = {PROBE: "probe", KNN: "kNN", RANK: "effective rank"}
_REFRESH_SECONDS = 0.25
_FEW_STEPS = 500  # below it an encoder has hardly begun to learn


class EpochLines(Callback):
    """Prints one line an epoch: the terms' means over the epoch, the accuracies, the speed.

    Before the first one it says if the whole training is of few steps, as it is where epochs meant
    for tens of thousands of pictures meet hundreds.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._num_steps: dict[str, int] = {}  # of each term: a method may leave one out
        self._earlier: dict[str, Tensor] = {}

    def state_dict(self) -> dict[str, Any]:
        """The means, for a run that goes on within an epoch."""
        return {"sums": dict(self._sums), "num_steps": dict(self._num_steps)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes them up."""
        self._sums, counts = dict(state_dict["sums"]), state_dict["num_steps"]
        # a run that goes on may have begun when all terms had one count
        self._num_steps = dict.fromkeys(self._sums, counts) if type(counts) is int else dict(counts)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Says if there are few steps, unless their number was asked for."""
        steps = trainer.estimated_stepping_batches
        is_asked = trainer.max_steps != -1 or trainer.limit_train_batches != 1.0
        if 0 < steps < _FEW_STEPS and not is_asked:
            pl_module.print(few_steps(int(steps), trainer.max_epochs or 0))

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts the epoch's means; keeps in mind what is known of earlier epochs."""
        self._sums, self._num_steps = {}, {}
        self._earlier = dict(trainer.callback_metrics)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Adds the terms up where they are, without asking the device for them.

        Raises:
            InputError: the module's step gives no loss.
        """
        for name, term in terms_of(pl_module, outputs).items():
            self._sums[name] = self._sums[name] + term if name in self._sums else term.clone()
            self._num_steps[name] = self._num_steps.get(name, 0) + 1

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Prints the line, above the bar if there is one."""
        # Lightning keeps the very value it had of what was not measured this time, such as kNN
        found, earlier = trainer.callback_metrics, self._earlier
        values = {n: float(v) for n, v in found.items() if v is not earlier.get(n)}
        values |= {f"train/{n}": float(s) / self._num_steps[n] for n, s in self._sums.items()}
        pl_module.print(epoch_line(f"{trainer.current_epoch + 1}/{_epochs(trainer)}", values))


def few_steps(num_steps: int, epochs: int) -> str:
    """What to say of a training that is over so soon.

    Args:
        num_steps: from its first epoch to its last.
        epochs: how many epochs these are.
    """
    wanted, unit = 2 * _FEW_STEPS, "step" if num_steps == 1 else "steps"
    return (
        f"hint: {num_steps} {unit} in all, in which an encoder learns little; "
        f"--trainer.max_epochs {math.ceil(wanted * epochs / num_steps)} would make {wanted:,}"
    )


def epoch_line(epoch: str, values: Mapping[str, float]) -> str:
    """An epoch in one line; losses in nats, accuracies in percent.

    Args:
        epoch: which one, of how many.
        values: what was logged.
    """
    parts = [f"epoch {epoch}"]
    parts += [
        f"{name.removeprefix('train/')} {value:.3f}"
        for name, value in values.items()
        if name.startswith("train/") and not name.endswith(("_step", "_epoch"))
    ]
    for key, short in SHORT_NAMES.items():
        if key in values:
            is_share = key.endswith("top1")
            parts.append(f"{short} {values[key]:.1%}" if is_share else f"{short} {values[key]:.1f}")
    if "speed/images_per_second" in values:
        parts.append(f"{values['speed/images_per_second']:,.0f} images/s")
    return "  ".join(parts)


class TerminalBar(ProgressBar):
    """One bar an epoch, in images, so that its rate is images/s; the terms stand behind it.

    Args:
        stream: where it is drawn; standard output if None.
    """

    def __init__(self, stream: TextIOBase | None = None) -> None:
        super().__init__()
        self._stream = stream
        self._bar: tqdm | None = None
        self._shown = True
        self._last_refresh = 0.0

    @property
    def is_enabled(self) -> bool:
        """Whether anything is drawn; Lightning then prints through `print`."""
        return self._shown

    def disable(self) -> None:
        """Draws nothing; Lightning calls it on every process but the first."""
        self._shown = False

    def enable(self) -> None:
        """Draws again."""
        self._shown = True

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Prints a line above the bar."""
        if self._shown:
            tqdm.write(kwargs.get("sep", " ").join(map(str, args)), file=self._out())

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Starts the epoch's bar, where a run goes on within an epoch at what was done before."""
        if self._bar is None:
            title = f"epoch {trainer.current_epoch + 1}/{_epochs(trainer)}"
            done = batch_idx * len(batch.images) * trainer.world_size if batch_idx else 0
            self._open(title, _num_images(trainer), done)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Moves the bar; reads the terms from the device a few times a second, not every step.

        Raises:
            InputError: the module's step gives no loss or no codes.
        """
        self._advance(trainer, num_images_of(pl_module, "training_step", outputs))
        if time.monotonic() - self._last_refresh > _REFRESH_SECONDS:
            self._show_terms(terms_of(pl_module, outputs))

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Takes the bar away; an epoch's line stays."""
        self._close()

    on_test_epoch_end = on_predict_end = on_train_epoch_end

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts a bar over the images that are tested on or embedded."""
        self._open(_function(trainer), None)

    def on_test_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Moves the bar.

        Raises:
            InputError: the module's step gives no codes.
        """
        self._advance(trainer, num_images_of(pl_module, f"{_function(trainer)}_step", outputs))

    on_predict_start = on_test_start
    on_predict_batch_end = on_test_batch_end  # type: ignore[assignment]  # of which *_ is the rest

    def on_exception(self, *_: Any) -> None:
        """Leaves a clean line to the error."""
        self._close()

    def _out(self) -> Any:
        return self._stream or sys.stdout

    def _open(self, title: str, total: int | None, done: int = 0) -> None:
        self._close()
        if self._shown:
            self._bar = tqdm(
                desc=title,
                total=total,
                initial=done,
                unit=" images",
                file=self._out(),
                leave=False,
                dynamic_ncols=True,
                mininterval=_REFRESH_SECONDS,
            )

    def _advance(self, trainer: L.Trainer, num_images: int) -> None:
        if self._bar is not None:
            self._bar.update(num_images * trainer.world_size)

    def _show_terms(self, terms: Mapping[str, Tensor]) -> None:
        self._last_refresh = time.monotonic()
        if self._bar is not None:
            text = "  ".join(f"{name} {float(value):.3f}" for name, value in terms.items())
            self._bar.set_postfix_str(text, refresh=False)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _function(trainer: L.Trainer) -> str:
    """What is done with the images that are not trained on."""
    return "test" if trainer.testing else "predict"


def _epochs(trainer: L.Trainer) -> str:
    return str(trainer.max_epochs) if trainer.max_epochs and trainer.max_epochs > 0 else "?"


def _num_images(trainer: L.Trainer) -> int | None:
    """Images in an epoch over all processes; None for a stream without end."""
    batch_size = getattr(trainer.train_dataloader, "batch_size", None)
    if batch_size is None or trainer.num_training_batches == float("inf"):
        return None
    return int(trainer.num_training_batches) * int(batch_size) * trainer.world_size
