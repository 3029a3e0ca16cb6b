"""What every callback here asks of a run: its data, its codes, how far it is, where pictures go."""

import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
from torch import Tensor

from dim_lightning.data import Batch, ImageDataModule
from dim_lightning.encoder_module import Trained
from dim_lightning.errors import InputError
from dim_lightning.evaluation import Extracted, extract
from dim_lightning.evaluation.code_prior import CODE_PRIORS, CodePrior
from dim_lightning.run.folder import PICTURES

# what every_n_epochs may be, too, for the error that refuses one
INTERVAL = "a number above trainer.max_epochs looks at the last epoch only"


class LastTrained:
    """Which module a callback's state is of: the one that was trained last.

    Of a state that a checkpoint brings it is not known: it is of the one that is trained next.
    """

    def __init__(self) -> None:
        self._module: weakref.ref[L.LightningModule] | None = None

    def changes_to(self, module: L.LightningModule) -> bool:
        """Takes down that this module is trained now; whether the last one was another."""
        last, self._module = self._module, weakref.ref(module)
        return last is not None and last() is not module

    def __reduce__(self) -> tuple[type["LastTrained"], tuple[()]]:
        """Nothing of it goes to another process, which has none of these modules."""
        return LastTrained, ()


def data_of(trainer: L.Trainer) -> ImageDataModule:
    """The data module of the run.

    Raises:
        InputError: it is none of this package, or there is none.
    """
    data = getattr(trainer, "datamodule", None)
    if not isinstance(data, ImageDataModule):
        found = "loaders alone" if data is None else f"a {type(data).__name__}"
        raise InputError(
            f"the Trainer was given {found}; the callbacks of dim_lightning need an "
            "ImageDataModule (datamodule=...), which takes a Source of your own for other pictures"
        )
    return data


def part_of(pl_module: L.LightningModule, name: str) -> Any:
    """What callbacks here ask of a module itself: its `encoder` or its `embedding_dim`.

    Raises:
        InputError: it has none, as one of another kind may not.
    """
    if not hasattr(pl_module, name):
        raise _lacking(f"{type(pl_module).__name__} has no {name}")
    return getattr(pl_module, name)


def tensors_of(
    pl_module: L.LightningModule, step: str, outputs: Any, names: Sequence[str]
) -> list[Tensor]:
    """What callbacks here ask of a step: some of `loss`, `embedding` [n, d], `labels` [n].

    Of predict_step also `indices` [n].

    Args:
        pl_module: whose step it is.
        step: the name of its method.
        outputs: what that gave.
        names: what is asked for.

    Raises:
        InputError: it gave none of that name, as one of another kind may not.
    """
    given = outputs if isinstance(outputs, Mapping) else {}
    for name in names:
        if not isinstance(given.get(name), Tensor):
            raise _lacking(f"{type(pl_module).__name__}.{step} gives no {name}")
    return [given[name] for name in names]


def num_images_of(pl_module: L.LightningModule, step: str, outputs: Any) -> int:
    """How many images a step was of, by its codes.

    Raises:
        InputError: see `tensors_of`.
    """
    return len(tensors_of(pl_module, step, outputs, ["embedding"])[0])


def terms_of(pl_module: L.LightningModule, outputs: Any) -> Mapping[str, Tensor]:
    """The terms of a training step by their names; the loss of one that gives no others.

    Raises:
        InputError: see `tensors_of`.
    """
    (loss,) = tensors_of(pl_module, "training_step", outputs, ["loss"])
    return outputs.get("terms", {"loss": loss})


def _lacking(what: str) -> InputError:
    return InputError(
        f"{what}; the callbacks of dim_lightning need a module that has an encoder and its "
        "embedding_dim, and whose steps return a dict with loss, embedding (the codes [n, d], "
        "detached) and labels ([n], -1 where there is none), that of predict_step indices ([n], "
        "as those of the batch) as well; a subclass of "
        "dim_lightning.EncoderModule has and does all that"
    )


def is_due(trainer: L.Trainer, every_n_epochs: int) -> bool:
    """Whether to look now: every few epochs of `fit` and as it ends; always in other commands.

    Where epochs lie between validations (check_val_every_n_epoch), with the next one, and as it
    ends with the last one. Of validations by steps those count that end in such an epoch.
    """
    if trainer.sanity_checking:
        return False
    epochs, between = trainer.current_epoch + 1, trainer.check_val_every_n_epoch or 1
    return (
        trainer.state.fn != "fit"
        or epochs % every_n_epochs < between
        or 0 <= (trainer.max_epochs or 0) - epochs < between
        or trainer.global_step == trainer.max_steps
        or trainer.should_stop
    )


def features_of(
    trainer: L.Trainer,
    pl_module: L.LightningModule,
    batches: Iterable[Batch],
    layers: Sequence[str] | None = None,
    labelled: bool = False,
) -> Extracted:
    """Features of `batches` by the run's encoder as it is, in the precision of the run.

    Args:
        trainer: of the run.
        pl_module: has the encoder.
        batches: images to look at.
        layers: as for `extract`; () for the code alone.
        labelled: as for `extract`.

    Raises:
        InputError: a code, or a layer's feature, is not finite: nothing can be said of such; or
            the module has no encoder.
    """
    encoder = part_of(pl_module, "encoder")
    with trainer.precision_plugin.forward_context():
        seen = extract(encoder, batches, device=pl_module.device, layers=layers, labelled=labelled)
    check_finite(seen, after_epochs(trainer, pl_module))
    return seen


def check_finite(seen: Extracted, when: str) -> None:
    """Looks at whether something can be said of these features.

    Raises:
        InputError: some are no finite numbers; names the layer.
    """
    spoilt = [name for name, x in seen.layers.items() if not bool(x.isfinite().all())]
    if spoilt or not bool(seen.code.isfinite().all()):
        what = f"features of the layer {spoilt[0]}" if spoilt else "codes"
        raise InputError(
            f"{what} are NaN or infinite {when}; expected finite numbers; try a lower "
            "learning rate (model.optimizer), lower weights of the terms (model.*_weight) or "
            "--trainer.gradient_clip_val 1"
        )


def trained(trainer: L.Trainer, pl_module: L.LightningModule) -> Trained:
    """How far the weights are: as the module says, or else, of one of another kind, the Trainer.

    The Trainer knows what it has trained, and nothing of a checkpoint that it only tests: 0, 0.
    """
    under_way = trainer.state.fn == "fit"
    return getattr(pl_module, "trained", None) or Trained(
        trainer.current_epoch + under_way, trainer.global_step
    )


def state_of(trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
    """What figures are of: how far the weights are, how large the images, in which precision."""
    epochs, steps = trained(trainer, pl_module)
    return {
        "epochs_trained": epochs,
        "steps_trained": steps,
        "image_size": data_of(trainer).image_size,
        "precision": str(trainer.precision),
    }


def after_epochs(trainer: L.Trainer, pl_module: L.LightningModule) -> str:
    """How far the weights are, in words: "after 3 epochs", the one under way included."""
    epochs = trained(trainer, pl_module).epochs
    return f"after {epochs} epoch" + "s" * (epochs != 1)


def code_prior_of(pl_module: L.LightningModule) -> CodePrior | None:
    """What the method draws the codes to; None if to nothing that is known here."""
    return CODE_PRIORS.get(getattr(pl_module, "code_prior", None) or "")


def picture_path(trainer: L.Trainer, name: str) -> Path:
    """Where the picture `name` of this run lies."""
    return Path(trainer.default_root_dir) / PICTURES / f"{name}.png"


def send_pictures(trainer: L.Trainer, pl_module: L.LightningModule, paths: Sequence[Path]) -> None:
    """Passes pictures on to the loggers that take some."""
    step = trained(trainer, pl_module).steps
    for logger in trainer.loggers:
        if hasattr(logger, "log_image"):
            for path in paths:
                logger.log_image(f"pictures/{path.stem}", [str(path)], step=step)
