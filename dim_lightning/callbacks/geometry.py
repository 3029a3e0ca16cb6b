"""The shape of the codes while training: does the prior hold, did anything collapse."""

from collections.abc import Iterable, Iterator

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from dim_lightning.callbacks.observation import (
    INTERVAL,
    after_epochs,
    code_prior_of,
    data_of,
    features_of,
    is_due,
    part_of,
    picture_path,
    send_pictures,
)
from dim_lightning.callbacks.pictures import write_statistics
from dim_lightning.data import Batch, ImageDataModule, to_float
from dim_lightning.data.views import Views
from dim_lightning.errors import check_least
from dim_lightning.evaluation import Extracted, alignment, geometry_of
from dim_lightning.processes import alone
from dim_lightning.seeding import generator_for


class Geometry(Callback):
    """Logs statistics of the codes of clean validation images, each validation epoch.

    `geometry/effective_rank`: number of directions in use; it falls before the accuracy does.
    `geometry/mean_abs`: mean over the dimensions of |mean|; that of a prior is 0.
    `geometry/std_mean`, `geometry/std_min`: spread of the mean codes along a dimension.
    `geometry/aggregate_std_mean`: spread of codes drawn from p(z|x); that of N(0, I) is 1.
    `geometry/correlation_abs`, `geometry/dead_share`, `geometry/uniformity`: see
    `dim_lightning.evaluation.geometry`. Every few epochs and on the last they are drawn in
    `pictures/embedding_statistics.png`, and where training changes its images at random
    (`data.augmentation`),
    `geometry/alignment` is logged: how far apart the codes of two such views of an image are, of
    length 1; of a stronger augmentation it is larger.

    Every process looks at the same images, so that nothing has to be exchanged.

    Args:
        num_images: at most so many validation images, a seeded choice.
        every_n_epochs: how often the statistics are drawn and the alignment is logged; also in the
            last epoch, unless training stops early.
    """

    def __init__(self, *, num_images: int = 2048, every_n_epochs: int = 5):
        check_least("geometry.every_n_epochs", every_n_epochs, 1, INTERVAL)
        check_least("geometry.num_images", num_images, 1)
        self.num_images = num_images
        self.every_n_epochs = every_n_epochs

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Looks for the encoder, before an epoch is over.

        Raises:
            InputError: the module has none.
        """
        part_of(pl_module, "encoder")

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Takes the codes, logs and draws."""
        if trainer.sanity_checking:
            return
        data, due = data_of(trainer), is_due(trainer, self.every_n_epochs)
        batches = data.clean_dataloader("val", limit=self.num_images)
        seen = features_of(trainer, pl_module, batches, layers=())
        geometry = geometry_of(seen.code, seen.log_variance)
        for name, value in geometry.summary().items():
            pl_module.log(f"geometry/{name}", value, sync_dist=True)
        if due and data.augmentation is not None:
            pairs = _pairs(data, batches, trainer.current_epoch, pl_module.device)
            with alone():  # all processes draw the same views of the same images
                codes = features_of(trainer, pl_module, pairs, layers=()).code
            pl_module.log("geometry/alignment", alignment(codes[::2], codes[1::2]), sync_dist=True)
        if trainer.is_global_zero and due:
            after = after_epochs(trainer, pl_module)
            subtitle = f"{len(seen.code):,} validation images, {after}"
            path = picture_path(trainer, "embedding_statistics")
            write_statistics(path, geometry, _drawn(seen), subtitle, code_prior_of(pl_module))
            send_pictures(trainer, pl_module, [path])


def _pairs(
    data: ImageDataModule, batches: Iterable[Batch], epoch: int, device: torch.device
) -> Iterator[Batch]:
    """Two views of each image, one after the other, as training would draw them in this epoch."""
    views = Views(data.augmentation, 2, data.view_sizes, None, 0, data.seed)
    for step, batch in enumerate(batches):
        both = list(views.of(to_float(batch.images.to(device)), epoch, step))
        images = torch.stack(both, dim=1).flatten(0, 1)
        images = images.contiguous(memory_format=torch.channels_last)
        labels, indices = (each.repeat_interleave(2) for each in (batch.labels, batch.indices))
        yield Batch(images, labels, indices)


def _drawn(seen: Extracted) -> torch.Tensor:
    """One code of p(z|x) an image, [n, d]."""
    if seen.log_variance is None:
        return seen.code
    noise = torch.randn(seen.code.shape, generator=generator_for(0))
    return seen.code + torch.exp(0.5 * seen.log_variance) * noise
