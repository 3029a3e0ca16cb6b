"""The shape of the codes while training: does the prior hold, did anything collapse."""

from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from dim_lightning.callbacks.pictures import write_statistics
from dim_lightning.evaluation import Extracted, extract, geometry_of
from dim_lightning.run.folder import PICTURES
from dim_lightning.seeding import generator_for


class Geometry(Callback):
    """Logs statistics of the codes of clean validation images, each validation epoch.

    `geometry/effective_rank`: number of directions in use; it falls before the accuracy does.
    `geometry/mean_abs`: mean over the dimensions of |mean|; the prior's is 0.
    `geometry/std_mean`, `geometry/std_min`: spread of the mean codes along a dimension.
    `geometry/aggregate_std_mean`: spread of codes drawn from p(z|x); the prior's is 1.
    `geometry/correlation_abs`, `geometry/dead_share`, `geometry/uniformity`: see
    `dim_lightning.evaluation.geometry`. Draws them all in `pictures/embedding_statistics.png`.

    Every process looks at the same images, so that nothing has to be exchanged.

    Args:
        num_images: the most validation images to look at, a seeded choice.
    """

    def __init__(self, num_images: int = 2048):
        self.num_images = num_images

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Takes the codes, logs and draws."""
        if trainer.sanity_checking:
            return
        data = trainer.datamodule  # type: ignore[attr-defined]
        batches = data.clean_dataloader("val", limit=self.num_images)
        with trainer.precision_plugin.forward_context():
            seen = extract(pl_module.encoder, batches, pl_module.device, layers=())  # type: ignore
        geometry = geometry_of(seen.code, seen.log_variance)
        for name, value in geometry.summary().items():
            pl_module.log(f"geometry/{name}", value, sync_dist=True)
        if trainer.is_global_zero:
            path = Path(trainer.default_root_dir) / PICTURES / "embedding_statistics.png"
            write_statistics(path, geometry, _drawn(seen), f"{len(seen.code):,} validation images")
            for logger in trainer.loggers:
                if hasattr(logger, "log_image"):
                    key = f"pictures/{path.stem}"
                    logger.log_image(key, [str(path)], step=trainer.global_step)


def _drawn(seen: Extracted) -> torch.Tensor:
    """One code of p(z|x) an image, [n, d]."""
    if seen.log_variance is None:
        return seen.code
    noise = torch.randn(seen.code.shape, generator=generator_for(0))
    return seen.code + torch.exp(0.5 * seen.log_variance) * noise
