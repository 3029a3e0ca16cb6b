"""What a run's code keeps, shares and is good for: decoder, MINE, NDM, fine-tuning."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import lightning as L
import torch
from torch import Tensor

from dim_lightning.baselines import Decoder
from dim_lightning.callbacks.observation import data_of
from dim_lightning.data.splits import SplitName
from dim_lightning.evaluation import Accuracies, Extracted, pixels
from dim_lightning.evaluation.dependency import (
    Paired,
    check_enough,
    mutual_information,
    total_correlation,
)
from dim_lightning.evaluation.fine_tuning import LabelledImages, fine_tuned
from dim_lightning.evaluation.fitting import seeded
from dim_lightning.evaluation.reconstruction import Coded, reconstruction, scales_of

NAMES: tuple[SplitName, ...] = ("train", "val", "test")
_WIDTHS = (512, 256, 128, 64)


class CodeMeasures(NamedTuple):
    """How many epochs each is fitted for; 0 leaves it out.

    Attributes:
        decoder_epochs: of the decoder whose images are compared with the true ones.
        mine_epochs: of the statistic of image and code.
        ndm_epochs: of the statistic of the code's dimensions.
        fine_tune_epochs: of the encoder and its linear layer.
    """

    decoder_epochs: int = 0
    mine_epochs: int = 0
    ndm_epochs: int = 0
    fine_tune_epochs: int = 0

    @property
    def without_labels(self) -> bool:
        """Whether there is something to measure that needs no labels."""
        return any(getattr(self, f"{kind}_epochs") for kind in _WITHOUT_LABELS)

    def check(self, image_size: int, code_dim: int, counts: Mapping[str, int]) -> None:
        """Looks, before anything is measured, whether images and codes are enough and large enough.

        Args:
            image_size: height and width.
            code_dim: dimensions of the code.
            counts: split -> images.

        Raises:
            InputError: they are not.
        """
        for name in ("mine", "ndm"):
            if getattr(self, f"{name}_epochs"):
                check_enough(name, counts, code_dim)
        if self.decoder_epochs:
            scales_of(image_size)


def code_figures(
    trainer: L.Trainer,
    pl_module: L.LightningModule,
    taken: Sequence[Extracted],
    measures: CodeMeasures,
    name: str,
    seed: int,
    once: Callable[[str, Mapping[str, Any], Callable[[], dict[str, float]]], dict[str, float]],
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Name -> figure of the code that is no accuracy, such as mine/embedding/nats.

    Beside them, of each estimate, all there is of it: also on validation images, and its epoch.

    Args:
        trainer: of the run.
        pl_module: has the encoder.
        taken: codes of all images of the three splits, if anything is asked for that needs them.
        measures: what is asked for.
        name: of the code among the layers.
        seed: of all draws.
        once: takes the name of a measure, its settings and what measures it, as `SoFar.once` does.
    """
    if not measures.without_labels:
        return {}, {}
    codes = [part.code.to(pl_module.device) for part in taken]
    found: dict[str, dict[str, float]] = {}
    for kind, (title, measure) in _WITHOUT_LABELS.items():
        epochs = getattr(measures, f"{kind}_epochs")
        if epochs:
            pl_module.print(f"offline evaluation: {title}")
            settings = {"epochs": epochs, "seed": seed}
            measured = partial(measure, trainer, codes, **settings)
            found[f"{kind}/{name}"] = once(kind, settings, measured)
    decoded = found.pop(f"decoder/{name}", {})
    figures = {f"decoder/{name}/{each}": value for each, value in decoded.items()}
    figures |= {f"{each}/nats": estimate["nats"] for each, estimate in found.items()}
    return figures, found


def fine_tuned_accuracies(
    trainer: L.Trainer, pl_module: L.LightningModule, epochs: int, seed: int
) -> Accuracies:
    """Test accuracies in [0, 1] of a copy of the run's encoder trained on with the labels.

    Args:
        trainer: of the run, whose precision is used.
        pl_module: has the encoder, which stays as it is.
        epochs: how often each training image is met.
        seed: of all draws.
    """
    pl_module.print("offline evaluation: fine-tuning")
    encoder: Any = pl_module.encoder
    num_classes: Any = data_of(trainer).num_classes
    return fine_tuned(
        encoder,
        _pictures(trainer, "train", labelled=True),
        _pictures(trainer, "test", labelled=True),
        num_classes,
        epochs=epochs,
        seed=seed,
        context=trainer.precision_plugin.forward_context,
    )


def decoder_for(code_dim: int, image_size: int) -> Decoder:
    """The baselines' decoder, with fewer doublings where the size does not have three."""
    doublings = next(n for n in (3, 2, 1, 0) if image_size % 2**n == 0)
    return Decoder(code_dim, image_size, _WIDTHS[-doublings - 1 :])


def _mine(trainer: L.Trainer, codes: Sequence[Tensor], epochs: int, seed: int) -> dict[str, float]:
    loaders = [data_of(trainer).clean_dataloader(split) for split in NAMES]
    flat = [pixels(loader).to(codes[0].device) for loader in loaders]
    train, val, test = (Paired(x, z) for x, z in zip(flat, codes, strict=True))
    return mutual_information(train, val, test, epochs=epochs, seed=seed)._asdict()


def _ndm(_: L.Trainer, codes: Sequence[Tensor], epochs: int, seed: int) -> dict[str, float]:
    train, val, test = codes
    return total_correlation(train, val, test, epochs=epochs, seed=seed)._asdict()


def _decoded(
    trainer: L.Trainer, codes: Sequence[Tensor], epochs: int, seed: int
) -> dict[str, float]:
    of_train, _, of_test = codes
    with seeded(seed, of_train.device):
        decoder = decoder_for(of_train.shape[1], data_of(trainer).image_size).to(of_train.device)
    train = Coded(_pictures(trainer, "train").images, of_train)
    test = Coded(_pictures(trainer, "test").images, of_test)
    context = trainer.precision_plugin.forward_context
    found = reconstruction(decoder, train, test, epochs=epochs, seed=seed, context=context)
    return found._asdict()


# by the setting of their epochs, in the order in which they are measured
_WITHOUT_LABELS = {"decoder": ("decoder", _decoded), "mine": ("MINE", _mine), "ndm": ("NDM", _ndm)}


def _pictures(trainer: L.Trainer, split: SplitName, labelled: bool = False) -> LabelledImages:
    """All of them in one tensor, which batches are put into and go: those for a GPU are locked."""
    data = data_of(trainer)
    loader = data.clean_dataloader(split, labelled=labelled)
    count, side, done = len(loader.sampler), data.image_size, 0  # type: ignore[arg-type]
    images = torch.empty(count, 3, side, side, dtype=torch.uint8)
    labels = torch.empty(count, dtype=torch.int64)
    for batch in loader:
        rows = slice(done, done + len(batch.labels))
        images[rows], labels[rows] = batch.images, batch.labels
        done = rows.stop
    return LabelledImages(images, labels)
