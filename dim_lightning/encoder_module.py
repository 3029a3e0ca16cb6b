"""What every method that trains an encoder shares: steps, draws, logs, optimiser."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

import lightning as L
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from dim_lightning.data import Batch, ImageDataModule
from dim_lightning.data.checks import check_one_size, checked_batch
from dim_lightning.encoders import Encoder, check_encoder
from dim_lightning.errors import InputError
from dim_lightning.hyperparameters import (
    FROM_COMMAND_LINE,
    check_hyperparameters,
    keep_hyperparameters,
    shown,
)
from dim_lightning.optim import WarmupCosine
from dim_lightning.parts import (
    check_gradients,
    check_makers,
    check_precision,
    check_scheduler,
    check_terms,
    warn_of_dropout,
)
from dim_lightning.processes import joint_size, joint_terms, take_from_first, uneven_rows
from dim_lightning.seeding import Draws, check_seed, generator_for
from dim_lightning.view_checks import check_views_fit, of_one_view

MakeEncoder = Callable[[int], Encoder]
MakeOptimizer = Callable[[Iterable], Optimizer]
MakeScheduler = Callable[[Optimizer], LRScheduler]


class Trained(NamedTuple):
    """How far the weights are: epochs, the one under way included, and steps."""

    epochs: int
    steps: int


class EncoderModule(L.LightningModule, ABC):
    """Trains an encoder; a method says by which terms, and adds what it needs for them.

    Callbacks read what a step returns, all detached: `loss`, `terms`, `embedding` (the codes of the
    images, means of p(z|x)) and `labels`. Each draw of a step comes from a generator keyed by the
    seed, the stage, the epoch and the batch.

    A method's own constructor has the arguments below and its own, each with a default and a type,
    without which the command line makes no setting of it: `encoder: MakeEncoder`, `optimizer:
    MakeOptimizer`, `lr_scheduler: MakeScheduler | None`, all of this module. It calls
    `save_hyperparameters(logger=False)`, since only there all its settings are known.
    `dim_lightning.baselines.Supervised` is a short example.

    What follows the weights, such as the moving average of a teacher, is moved in
    `optimizer_step`, after super's. With trainer.accumulate_grad_batches, `on_train_batch_end`
    would move it too often, and a checkpoint saved in between would lack the move. Its parameters
    have requires_grad False, so that no optimiser moves them.

    Of views of several sizes, the running statistics of batch norms are to be those of the whole
    images, which evaluation sees: small ones are encoded within `statistics_held(self.encoder)` of
    `dim_lightning.encoders`, as `DeepInfoMax` does.

    Attributes:
        encoder: what is trained, and all that evaluation and export look at.
        uses_views: whether the method has a use for several views of an image.
        least_views: how many it needs in training, small ones among them.
        needs_image_size: whether views have to be of image_size, as those that a decoder makes are.
        code_prior: what the method draws the codes to: 'gaussian' is N(0, I), 'uniform' is uniform
            on [0, 1]^d after a sigmoid; None if to neither.
        trained: how far the weights are, those of a checkpoint included.
        is_transferred: whether a test is of another data set than that of the training.

    Args:
        encoder: makes the encoder, given the image size.
        optimizer: makes the optimiser, given the parameters.
        lr_scheduler: makes the learning-rate schedule: WarmupCosine, stepped once a training step,
            or one of torch's but ReduceLROnPlateau, stepped once an epoch.
        image_size: height and width of the images.
        seed: of the draws.

    Raises:
        InputError: an encoder that does not give what it says, a part where its class belongs, or
            a seed that is none.
    """

    uses_views: bool = False
    least_views: int = 1
    needs_image_size: bool = False
    code_prior: Literal["gaussian", "uniform"] | None = None

    def __init__(
        self,
        encoder: MakeEncoder,
        optimizer: MakeOptimizer,
        lr_scheduler: MakeScheduler | None,
        image_size: int,
        seed: int,
    ):
        super().__init__()
        check_seed("model.seed", seed)
        check_makers(encoder=encoder, optimizer=optimizer)
        if lr_scheduler is not None:
            check_makers(lr_scheduler=lr_scheduler)
        self.encoder = encoder(image_size)
        check_encoder(self.encoder, image_size)
        warn_of_dropout(self.encoder)
        self.make_optimizer = optimizer
        self.make_lr_scheduler = lr_scheduler
        self.image_size = image_size
        self.seed = seed
        self.trained = Trained(0, 0)
        self.is_transferred = False

    @abstractmethod
    def code_and_terms(
        self, batch: Batch, generator: torch.Generator
    ) -> tuple[Float[Tensor, "n d"], dict[str, Tensor]]:
        """The codes of the images, and the terms: scalars, of which 'loss' is minimised.

        The codes are the means of p(z|x), which callbacks look at. All terms are logged. Of several
        processes the mean of their terms counts, so what depends on all images together, such as a
        covariance, has to `gather` them (`dim_lightning.processes`).

        Validation and test give one view, the image itself: `batch.more_views` is empty then. A
        method that compares views gives the codes and {} there.

        {} are no terms at all, where there can be none: also for a last batch of too few images,
        which those two may have. Training batches are always full, and have a 'loss'.

        Args:
            batch: images in the model's hands, values in [0, 1].
            generator: of all draws, on the device of the images; equal on every process, so
                `normal_like` and `uniform` of `dim_lightning.processes` draw for each image.
        """

    def check_data(self, data: ImageDataModule, num_images: int) -> None:
        """Looks, before training, at whether the data has what the method needs.

        Args:
            data: set up for training.
            num_images: of the joint batch of all processes.

        Raises:
            InputError: it has not.
        """
        if data.image_size != self.image_size:
            raise InputError(
                f"the data has images of {data.image_size} pixels, and {type(self).__name__} was "
                f"made for {self.image_size}; give both the same image_size"
            )
        name, views = type(self).__name__, data.num_views + data.num_small_views
        if views < self.least_views:
            raise InputError(
                f"the data gives {views} view{'s' * (views != 1)} of each image, and {name} needs "
                f"at least {self.least_views}; set data.num_views to {self.least_views}, and "
                "data.augmentation to what makes them differ, e.g. CropColour"
            )
        if views > 1 and not (self.uses_views or self.least_views > 1):
            raise InputError(
                f"the data gives {views} views of each image, and {name} has a use for one; set "
                "data.num_views to 1 and data.num_small_views to 0"
            )
        if self.needs_image_size:
            check_one_size(name, self.image_size, data.view_sizes, data.augmentation)
        check_views_fit(self.encoder, self.image_size, data)

    def on_fit_start(self) -> None:
        """Looks at device, precision and data, as the command line does before it makes a folder.

        A script's settings go to the loggers as well, those of its data as `data.<name>`.

        Raises:
            InputError: gradients would be wrong, the precision is none to train in, or the data has
                not what the method needs.
        """
        check_gradients(self.device)
        check_precision(self.trainer.precision)
        data = getattr(self.trainer, "datamodule", None)
        if isinstance(data, ImageDataModule):
            self.check_data(data, self.trainer.world_size * data.batch_size)
        if FROM_COMMAND_LINE not in self.hparams:  # which tells them all settings itself
            settings = dict(self.hparams)
            if isinstance(data, ImageDataModule):
                settings |= {f"data.{name}": value for name, value in data.settings.items()}
            told = {name: shown(value) for name, value in settings.items()}
            for logger in self.trainer.loggers:
                logger.log_hyperparams(told)

    @property
    def embedding_dim(self) -> int:
        """The size of the code, d."""
        return self.encoder.embedding_dim

    def forward(self, images: Tensor) -> Tensor:
        """The code of each image, [n, d]: the mean of p(z|x)."""
        return self.encoder(images).mean

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """The loss, and for callbacks what was computed on the way, detached."""
        return self._step(batch, "train", (self.current_epoch, batch_idx))

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """The same terms on validation images, with the same draws at each validation."""
        with uneven_rows(len(batch.images)):
            return self._step(batch, "val", (0, batch_idx))

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """The same terms on test images; of another data set the codes alone.

        The terms are of the pictures it was trained on: a classifier of its own has their classes.
        """
        if self.is_transferred:
            return self.predict_step(batch, batch_idx)
        with uneven_rows(len(batch.images)):
            return self._step(batch, "test", (0, batch_idx))

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Counts, and logs the terms of a step by whose end a callback has asked to stop.

        Lightning writes what was logged last then, which is of an earlier step otherwise.
        """
        self.trained = Trained(self.current_epoch + 1, self.global_step)
        if self.trainer.should_stop and "terms" in outputs:  # a step of one's own may give none
            self._log_terms("train", outputs["terms"], len(outputs["embedding"]))

    def on_after_backward(self) -> None:
        """Looks, at the first step, at whether several processes can go on.

        Raises:
            InputError: a parameter has no gradient, which DistributedDataParallel would wait for.
        """
        shared = self.trainer.strategy.model
        if self.global_step or not isinstance(shared, DistributedDataParallel):
            return
        idle = [name for name, p in self.named_parameters() if p.requires_grad and p.grad is None]
        if idle and not shared.find_unused_parameters:
            raise InputError(
                f"{idle[0]} has no gradient, as the loss does not depend on it; on several "
                "processes each parameter needs one; remove it, choose another model.encoder, for "
                "example a deterministic one where a variance has no use, or add "
                "--trainer.strategy ddp_find_unused_parameters_true"
            )

    def on_validation_start(self) -> None:
        """Running statistics are those of the first process, which checkpoints keep."""
        take_from_first(self.buffers())

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """The codes of the images, with their labels and indices.

        Raises:
            InputError: it is no batch of images as floats.
        """
        embedding = self(checked_batch(batch).images).float()
        return {"embedding": embedding, "labels": batch.labels, "indices": batch.indices}

    def parameter_groups(self) -> list[Any]:
        """What the optimiser is given: all parameters, or groups of them, as torch.optim has them.

        A method whose head learns at a rate of its own, whatever the optimiser:

            def parameter_groups(self):
                head = {"params": list(self.head.parameters()), "lr": self.head_lr}
                return [{"params": list(self.encoder.parameters())}, head]

        What is in no group is not trained. Called before there is a Trainer, too.
        """
        return list(self.parameters())

    def configure_optimizers(self) -> Any:
        """The optimiser over `parameter_groups`, and the schedule if there is one.

        Called without a Trainer, too, as a loop of one's own or Fabric does.

        Raises:
            InputError: the schedule needs a figure.
        """
        optimizer = self.make_optimizer(self.parameter_groups())
        if self._trainer is not None and self._trainer.gradient_clip_val:
            # a fused step can unscale float16 gradients itself; Lightning then refuses to clip them
            optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]
        if self.make_lr_scheduler is None:
            return optimizer
        scheduler = self.make_lr_scheduler(optimizer)
        check_scheduler(scheduler)
        if not isinstance(scheduler, WarmupCosine):
            return {"optimizer": optimizer, "lr_scheduler": scheduler}
        stepped = {"scheduler": scheduler, "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": stepped}

    def on_train_start(self) -> None:
        """Tells a schedule how long the training is.

        Not when it is made: to count the steps, Lightning makes the loader of the training images,
        and it does not know by then in which batch a run goes on.
        """
        for config in self.trainer.lr_scheduler_configs:
            if isinstance(config.scheduler, WarmupCosine):
                config.scheduler.of(self.trainer.estimated_stepping_batches)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Of classes given in Python keeps the names: a checkpoint holds plain types only."""
        keep_hyperparameters(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Looks at whether the parts are those that the checkpoint was trained with.

        Warns of settings that this class has not, such as those of another version, and, where the
        training goes on, tells of another optimiser or schedule.

        Raises:
            InputError: they are others.
        """
        self.trained = _trained_in(checkpoint)
        goes_on = self._trainer is not None and self.trainer.state.fn == "fit"
        check_hyperparameters(type(self).__name__, checkpoint, self.hparams, goes_on)

    def _step(self, batch: object, stage: str, position: tuple[int, int]) -> dict[str, Any]:
        batch = checked_batch(batch)
        stream = Draws[stage.upper()]
        generator = generator_for(self.seed, stream, *position, device=batch.images.device)
        if stage == "train":
            given = self.code_and_terms(batch, generator)
        else:
            data = getattr(self._trainer, "datamodule", None)
            given = of_one_view(type(self).__name__, self.code_and_terms, batch, generator, data)
        check_terms(type(self).__name__, given, (len(batch.images), self.embedding_dim))
        code, terms = given
        output = {"embedding": code.detach().float(), "labels": batch.labels}
        if not terms and stage == "train":
            raise InputError(
                f"{type(self).__name__}.code_and_terms gives no terms for {len(batch.images)} "
                f"training images in {1 + len(batch.more_views)} views; expected a 'loss' there; "
                "set data.num_views and data.batch_size to what it needs"
            )
        if not terms:
            return output
        detached = joint_terms(terms, len(batch.images))
        alone = self._trainer is None
        if stage != "train" or alone or is_written(self.trainer, self.global_step + 1):
            self._log_terms(stage, detached, len(batch.images))
        return {"loss": terms["loss"], "terms": detached, **output}

    def _log_terms(self, stage: str, terms: Mapping[str, Tensor], num_images: int) -> None:
        self.log_dict(
            {f"{stage}/{name}": term for name, term in terms.items()},
            batch_size=joint_size(num_images),
            sync_dist=stage != "train",
        )


def is_written(trainer: L.Trainer, step: int) -> bool:
    """Whether what is logged in a training step is kept: that of all others would be dropped.

    Args:
        trainer: in the midst of the step.
        step: its number, from 1.
    """
    every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # 0: never
    at_interval = every > 0 and step % every == 0
    return at_interval or trainer.is_last_batch or trainer.should_stop


def _trained_in(checkpoint: Mapping[str, Any]) -> Trained:
    """How far those of a checkpoint are; Lightning restores its counts in `fit` alone.

    Not at all, where it does not say, as one that a program has put together itself.
    """
    if "loops" not in checkpoint:
        return Trained(0, 0)
    epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["ready"]
    return Trained(epochs, checkpoint["global_step"])
