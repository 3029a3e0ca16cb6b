"""The encoder trained by the labels: the one method that sees them."""

from itertools import zip_longest
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dim_lightning.data import Batch, ImageDataModule
from dim_lightning.encoder_module import EncoderModule, MakeEncoder, MakeOptimizer, MakeScheduler
from dim_lightning.encoders import PaperEncoder
from dim_lightning.errors import InputError, check_least
from dim_lightning.evaluation.classification import FIVE, MANY_CLASSES, places
from dim_lightning.infomax.precision import widened

_UNKNOWN = -100
_CLASS_NAMES = "class_names"  # in a checkpoint
_WORDS = {"train": "training", "val": "validation", "test": "test"}


class Supervised(EncoderModule):
    """Minimises the cross-entropy of a linear classifier on the code: what labels can do.

    The only method here whose training sees the labels; everything else of it, encoder, data and
    evaluation, is as for the others.

    Source: the row 'fully supervised' of Hjelm et al., 2019: the same network; where its classifier
    starts from is our choice.

    Args:
        encoder: makes the encoder, given the image size.
        num_classes: c; it has to be that of the data.
        optimizer: makes the optimiser, given the parameters.
        lr_scheduler: makes the learning-rate schedule: WarmupCosine, stepped once a training step,
            or one of torch's but ReduceLROnPlateau, stepped once an epoch.
        image_size: height and width of the images; the command line sets it from the data.
        seed: of the draws; the command line sets it from seed_everything.

    Raises:
        InputError: fewer than two classes.
    """

    def __init__(
        self,
        encoder: MakeEncoder = PaperEncoder,
        *,
        num_classes: int = 10,
        optimizer: MakeOptimizer = torch.optim.Adam,
        lr_scheduler: MakeScheduler | None = None,
        image_size: int = 32,
        seed: int = 0,
    ):
        super().__init__(encoder, optimizer, lr_scheduler, image_size, seed)
        self.save_hyperparameters(logger=False)
        check_least("model.num_classes", num_classes, 2)
        self.classifier = nn.Linear(self.encoder.embedding_dim, num_classes)
        self._trained_classes: list[str] | None = None  # those of a checkpoint

    def check_data(self, data: ImageDataModule, num_images: int) -> None:
        """Looks at the labels.

        Raises:
            InputError: some images have none (all of a validation or test split may), or they are
                of another number of classes.
        """
        super().check_data(data, num_images)
        for name in ("train", "val", "test"):
            labels = data.split(name).labels
            unlabelled = int((labels < 0).sum())
            # a mean over the labelled images of each batch is none over those of a split
            if unlabelled and (name == "train" or unlabelled < len(labels)):
                raise InputError(
                    f"Supervised learns from labels, and {unlabelled} of the {_WORDS[name]} "
                    "pictures have none; expected one each: a folder for each class, a file that "
                    "labels all of them, or STL10 with data.source.init_args.unlabelled false; "
                    "set data.source, or another method"
                )
        if data.num_classes != self.classifier.out_features:
            raise InputError(
                f"model.num_classes is {self.classifier.out_features}, and the data has "
                f"{data.num_classes} classes; set model.num_classes to {data.num_classes}"
            )

    def code_and_terms(
        self, batch: Batch, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The codes, and 'loss', nats, and 'top1', accuracy in [0, 1], of the labelled images.

        In validation and test also 'top5', as `evaluation.accuracies` has it, of more than 10
        classes.
        """
        code = self.encoder(batch.images).mean
        known = batch.labels >= 0
        if not self.training and not known.any():  # training, where all are known, does not ask
            return code, {}
        logits = widened(self.classifier(code))
        loss = F.cross_entropy(
            logits, torch.where(known, batch.labels, _UNKNOWN), ignore_index=_UNKNOWN
        )
        right = (logits.detach().argmax(1) == batch.labels) & known
        terms = {"loss": loss, "top1": right.sum() / known.sum()}
        if not self.training and logits.shape[1] > MANY_CLASSES:
            place = places(logits.detach(), batch.labels.clamp(min=0))
            terms["top5"] = ((place < FIVE) & known).sum() / known.sum()
        return code, terms

    def on_fit_start(self) -> None:
        """Looks at device, data and the names of the classes.

        Raises:
            InputError: see `EncoderModule`; or they are not those of the checkpoint.
        """
        super().on_fit_start()
        self._check_classes()

    def on_validation_start(self) -> None:
        """Looks at the names of the classes, too.

        Raises:
            InputError: they are not those of the checkpoint.
        """
        super().on_validation_start()
        self._check_classes()

    def on_test_start(self) -> None:
        """Looks at the names of the classes, where the classifier is tested.

        Raises:
            InputError: they are not those of the checkpoint.
        """
        super().on_test_start()
        if not self.is_transferred:
            self._check_classes()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps the names of the classes, whose order is that of the classifier's outputs."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[_CLASS_NAMES] = self._class_names() or self._trained_classes

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes note of these names.

        Raises:
            InputError: see `EncoderModule`.
        """
        super().on_load_checkpoint(checkpoint)
        self._trained_classes = checkpoint.get(_CLASS_NAMES)

    def _class_names(self) -> list[str] | None:
        """Those of the data; None where it does not say."""
        data = getattr(self._trainer, "datamodule", None)
        return data.class_names if isinstance(data, ImageDataModule) else None

    def _check_classes(self) -> None:
        trained, found = self._trained_classes, self._class_names()
        if trained is not None and found is not None and trained != found:
            pairs = zip_longest(trained, found, fillvalue="none")
            before, now = next(pair for pair in pairs if pair[0] != pair[1])
            raise InputError(
                f"the classifier was trained on {len(trained)} classes, and {before} stands where "
                f"{now} does in the {len(found)} of the data; expected the same names, as their "
                "order is that of its outputs; rename them, as in a file of labels, or train a new "
                "run"
            )
