"""Noise as targets: each image is given a point on the sphere, and learns to lie there."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from dim_lightning.data import Batch, ImageDataModule
from dim_lightning.encoder_module import EncoderModule, MakeEncoder, MakeOptimizer, MakeScheduler
from dim_lightning.encoders import PaperEncoder
from dim_lightning.errors import InputError, check_least
from dim_lightning.infomax.precision import widened
from dim_lightning.processes import gather, take_from_first
from dim_lightning.seeding import Draws, generator_for

_ASSIGNMENT, _TARGETS_SEED = "assignment", "targets_seed"  # their keys in a checkpoint


class NAT(EncoderModule):
    """Minimises |y / |y| - v|^2, where v is the image's own target, drawn once on the unit sphere.

    There are as many targets as training images, and who has which is changed to suit the codes:
    within a batch, targets are dealt out anew so that the sum of the distances is least (Hungarian
    algorithm). So the codes spread over the sphere, and no image has to follow a bad draw. 2 is
    chance, 0 is perfect. Validation images have no targets, and so no terms.

    Targets follow from the seed that the training began with. A checkpoint keeps it and who has
    which target, 8 bytes an image.

    Source: Bojanowski and Joulin, 2017, equations 3 to 5 and algorithm 1, and their code
    (facebookresearch/noise-as-targets), which deals out anew in every third epoch. There images
    pass a Sobel filter first and codes have more dimensions; here the encoder sees the colours.
    Several processes deal out among all their images.

    Args:
        encoder: makes the encoder, given the image size.
        every_n_epochs: targets are dealt out anew in epochs 0, n, 2n and so on, for which each of
            their steps waits for the device: an assignment is solved on the host.
        optimizer: makes the optimiser, given the parameters.
        lr_scheduler: makes the learning-rate schedule: WarmupCosine, stepped once a training step,
            or one of torch's but ReduceLROnPlateau, stepped once an epoch.
        image_size: height and width of the images; the command line sets it from the data.
        seed: of the targets, unless training goes on with those of a checkpoint; the command line
            sets it from seed_everything.

    Raises:
        InputError: every_n_epochs below 1.
    """

    def __init__(
        self,
        encoder: MakeEncoder = PaperEncoder,
        *,
        every_n_epochs: int = 3,
        optimizer: MakeOptimizer = torch.optim.Adam,
        lr_scheduler: MakeScheduler | None = None,
        image_size: int = 32,
        seed: int = 0,
    ):
        super().__init__(encoder, optimizer, lr_scheduler, image_size, seed)
        self.save_hyperparameters(logger=False)
        check_least("model.every_n_epochs", every_n_epochs, 1)
        self.every_n_epochs = every_n_epochs
        # Their size is that of the training split, which a model built for a look does not know. No
        # buffers: they are the same on every process by themselves, with nothing to send.
        self.targets = torch.empty(0, self.embedding_dim)
        self.assignment = torch.empty(0, dtype=torch.int64)
        self.targets_seed = seed

    def setup(self, stage: str) -> None:
        """Draws the targets of the training images.

        Raises:
            InputError: the Trainer has no `ImageDataModule`, which says how many there are.
        """
        if stage == "fit":
            data: Any = getattr(self.trainer, "datamodule", None)
            if not isinstance(data, ImageDataModule):
                raise InputError(
                    "the Trainer was given no ImageDataModule, and NAT has a target for each of "
                    "the training images; give it one: trainer.fit(model, datamodule)"
                )
            self.draw_targets(len(data.split("train")))

    def draw_targets(self, num_images: int) -> None:
        """A target each for `num_images` images.

        Who has which stays as an earlier training or a checkpoint left it, if that was of as many
        images; to begin with image i has target i.
        """
        if len(self.assignment) != num_images:
            self.assignment = torch.arange(num_images)
            self.targets_seed = self.seed
        generator = generator_for(self.targets_seed, Draws.TARGETS)
        draws = torch.randn(num_images, self.embedding_dim, generator=generator)
        self.targets = F.normalize(draws, dim=1)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps who has which target, and the seed that these were drawn from."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[_ASSIGNMENT] = self.assignment.cpu()
        checkpoint[_TARGETS_SEED] = self.targets_seed

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes up who has which target, with the targets of the training that it goes on with.

        Raises:
            InputError: the checkpoint is of another number of training images, or of other parts.
        """
        super().on_load_checkpoint(checkpoint)
        stored = checkpoint[_ASSIGNMENT]
        if len(self.targets) and len(stored) != len(self.targets):
            raise InputError(
                f"the checkpoint has targets for {len(stored)} training images, but there are "
                f"{len(self.targets)}; go on with the data it was trained on"
            )
        self.assignment = stored.clone()
        self.targets_seed = checkpoint.get(_TARGETS_SEED, self.seed)
        if not len(self.targets):  # as before an evaluation
            return
        self.draw_targets(len(stored))
        if self.targets_seed != self.seed:
            rank_zero_info(f"the targets stay those of seed {self.targets_seed}, as of the start")

    def code_and_terms(
        self, batch: Batch, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The codes, and in training 'loss' = 'square_distance', the mean one to the targets."""
        code = self.encoder(batch.images).mean
        if not self.training:
            return code, {}
        direction = F.normalize(widened(code), dim=1)
        self.targets = self.targets.to(code.device)
        self.assignment = self.assignment.to(code.device)
        if self.current_epoch % self.every_n_epochs == 0:
            self._deal_out(gather(direction.detach()), gather(batch.indices))
        targets = self.targets[self.assignment[batch.indices]]
        distance = (direction - targets).square().sum(1).mean()
        return code, {"loss": distance, "square_distance": distance}

    def _deal_out(self, directions: Float[Tensor, "n d"], rows: Int64[Tensor, " n"]) -> None:
        """Gives the targets that these images have to those among them that suit them best."""
        held = self.assignment[rows]
        # on the sphere |u - v|^2 = 2 - 2 <u, v>: the least distance is the largest product
        products = (directions @ self.targets[held].T).cpu().double().numpy()
        if not np.isfinite(products).all():  # the loss says it, or the step is left out
            return
        _, found = linear_sum_assignment(products, maximize=True)
        chosen = torch.from_numpy(found).to(held.device)
        take_from_first([chosen])  # other processors may round near ties in another way
        self.assignment[rows] = held[chosen]
