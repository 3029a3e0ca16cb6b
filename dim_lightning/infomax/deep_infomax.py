"""Deep InfoMax as a LightningModule: encoder, objective, optimiser and logs."""

from collections.abc import Callable, Iterable
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from dim_lightning.data import Batch
from dim_lightning.encoders import BlogEncoder, Encoder, Features, FeatureShape
from dim_lightning.infomax.critics import ConcatLocalCritic, Critic, ImageGlobalCritic
from dim_lightning.infomax.estimators import jensen_shannon
from dim_lightning.infomax.objective import Objective
from dim_lightning.infomax.priors import gaussian_kl
from dim_lightning.infomax.scores import Scores
from dim_lightning.seeding import generator_for


class DeepInfoMax(L.LightningModule):
    """Trains an encoder by -alpha I_global - beta I_local + gamma prior; labels are never used.

    Args:
        encoder: makes the encoder, given the image size.
        local_critic: makes T_local, given the feature map's shape and the size of the code.
        global_critic: makes T_global, given the same.
        estimator: the bound on the information, in nats.
        prior: the distance of the codes to their prior.
        global_weight: alpha; at 0 there is no global critic.
        local_weight: beta; at 0 there is no local critic.
        prior_weight: gamma; at 0 the prior is not computed.
        optimizer: makes the optimiser, given the parameters.
        lr_scheduler: makes the learning-rate schedule, stepped once an epoch.
        image_size: height and width of the images; the command line sets it from the data.
        seed: of the noise and of the negatives; the command line sets it from seed_everything.

    Raises:
        InputError: for weights or an image size that cannot work.
    """

    def __init__(
        self,
        encoder: Callable[[int], Encoder] = BlogEncoder,
        local_critic: Callable[[FeatureShape, int], Critic] = ConcatLocalCritic,
        global_critic: Callable[[FeatureShape, int], Critic] = ImageGlobalCritic,
        estimator: Callable[[Scores], Tensor] = jensen_shannon,
        prior: Callable[[Features], Tensor] = gaussian_kl,
        global_weight: float = 0.5,
        local_weight: float = 1.5,
        prior_weight: float = 0.01,
        optimizer: Callable[[Iterable], Optimizer] = torch.optim.Adam,
        lr_scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        image_size: int = 32,
        seed: int = 0,
    ):
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.encoder = encoder(image_size)
        sizes = (self.encoder.feature_shape, self.encoder.embedding_dim)
        self.objective = Objective(
            global_critic(*sizes) if global_weight else None,
            local_critic(*sizes) if local_weight else None,
            estimator,
            prior,
            global_weight,
            local_weight,
            prior_weight,
        )
        self.make_optimizer = optimizer
        self.make_lr_scheduler = lr_scheduler
        self.seed = seed

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
        return self._step(batch, "val", (0, batch_idx))

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """The same terms on test images."""
        return self._step(batch, "test", (0, batch_idx))

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """The codes of the images, with their labels and indices."""
        embedding = self(batch.images).float()
        return {"embedding": embedding, "labels": batch.labels, "indices": batch.indices}

    def configure_optimizers(self) -> Any:
        """The optimiser over encoder and critics, and the schedule if there is one."""
        optimizer = self.make_optimizer(self.parameters())
        if self.make_lr_scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": self.make_lr_scheduler(optimizer)}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep classes given in Python out of the file: a checkpoint holds plain types only."""
        stored = checkpoint.get("hyper_parameters", {})
        checkpoint["hyper_parameters"] = {k: v for k, v in stored.items() if not callable(v)}

    def _step(self, batch: Batch, stage: str, position: tuple[int, int]) -> dict[str, Any]:
        stream = {"train": 0, "val": 1, "test": 2}[stage]
        generator = generator_for(
            self.seed, stream, *position, self.global_rank, device=batch.images.device
        )
        features = self.encoder(batch.images)
        output = {"embedding": features.mean.detach().float(), "labels": batch.labels}
        if stage != "train" and len(batch.images) < 2:
            return output  # the last batch may hold a single image, which has no negatives
        terms = self.objective(batch.images, features, generator)
        detached = {name: term.detach() for name, term in terms.items()}
        self.log_dict(
            {f"{stage}/{name}": term for name, term in detached.items()},
            prog_bar=stage == "train",
            batch_size=len(batch.images),
            sync_dist=stage != "train",
        )
        return {"loss": terms["loss"], "terms": detached, **output}
