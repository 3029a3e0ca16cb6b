"""Deep InfoMax as a LightningModule: encoder, objective, optimiser and logs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from dim_lightning.data import Batch
from dim_lightning.encoders import BlogEncoder, Encoder, FeatureShape
from dim_lightning.errors import InputError
from dim_lightning.infomax.aspects import Aspect, Locations, WholeImage
from dim_lightning.infomax.contrasts import Contrast, PatchContrast
from dim_lightning.infomax.coordinates import Coordinates
from dim_lightning.infomax.critics import ConcatCritic, Critic
from dim_lightning.infomax.estimators import jensen_shannon
from dim_lightning.infomax.negatives import check_num_negatives
from dim_lightning.infomax.objective import NumNegatives, Objective, check_weights
from dim_lightning.infomax.occlusion import Occlusion
from dim_lightning.infomax.priors import GaussianKL, Prior
from dim_lightning.infomax.scores import ScoreSet
from dim_lightning.infomax.view import View
from dim_lightning.processes import (
    joint_mean,
    joint_size,
    num_processes,
    take_from_first,
    uneven_rows,
)
from dim_lightning.seeding import generator_for


class DeepInfoMax(L.LightningModule):
    """Trains an encoder by -alpha I_global - beta I_local + gamma prior; labels are never used.

    Where the data gives several views of an image (data.num_views, data.num_small_views), the code
    of each view is paired with the images and feature maps of the others, never with its own.

    Args:
        encoder: makes the encoder, given the image size.
        local_critic: makes T_local, given the sizes of a local feature and of the code.
        global_critic: makes T_global, given the sizes of what `global_aspect` gives and of the
            code.
        global_aspect: what of the image T_global sees, given the feature map's shape and the size
            of the code: WholeImage, WholeMap or ImageCode.
        patch_critic: makes the critic of two local features of an image, given their sizes.
        estimator: the bound on the information, in nats.
        report: further estimators, logged beside the trained one.
        num_negatives: other images that each code is contrasted with: 1 is a shuffled batch, all
            are all other images of all processes' batches.
        num_locations: of each feature map, drawn anew at each step, for the local term; all if
            null.
        prior: makes the prior, given the size of the code.
        coordinates: makes the networks that predict where a local feature lies, given the feature
            map's shape and the size of the code.
        occlusion: what hides a part of the images of which the codes are made; nothing if null.
        global_weight: alpha; at 0 there is no global critic.
        local_weight: beta; at 0 there is no local critic.
        prior_weight: gamma; at 0 there is no prior, and codes are drawn from p(z|x).
        patch_weight: of the information between the local features of an image.
        coordinate_weight: of the cross-entropies of predicted coordinates.
        score_penalty: of the mean square of the scores.
        optimizer: makes the optimiser, given the parameters.
        lr_scheduler: makes the learning-rate schedule, stepped once an epoch.
        image_size: height and width of the images; the command line sets it from the data.
        seed: of the noise and of the negatives; the command line sets it from seed_everything.

    Raises:
        InputError: for settings that cannot work, alone or together.
    """

    def __init__(
        self,
        encoder: Callable[[int], Encoder] = BlogEncoder,
        local_critic: Callable[[int, int], Critic] = ConcatCritic,
        global_critic: Callable[[int, int], Critic] = ConcatCritic,
        global_aspect: Callable[[FeatureShape, int], Aspect] = WholeImage,
        patch_critic: Callable[[int, int], Critic] = ConcatCritic,
        estimator: Callable[[ScoreSet], Tensor] = jensen_shannon,
        report: Sequence[Callable[[ScoreSet], Tensor]] = (),
        num_negatives: NumNegatives = 1,
        num_locations: int | None = None,
        prior: Callable[[int], Prior] = GaussianKL,
        coordinates: Callable[[FeatureShape, int], Coordinates] = Coordinates,
        occlusion: Occlusion | None = None,
        global_weight: float = 0.5,
        local_weight: float = 1.5,
        prior_weight: float = 0.01,
        patch_weight: float = 0.0,
        coordinate_weight: float = 0.0,
        score_penalty: float = 0.0,
        optimizer: Callable[[Iterable], Optimizer] = torch.optim.Adam,
        lr_scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        image_size: int = 32,
        seed: int = 0,
    ):
        super().__init__()
        self.save_hyperparameters(logger=False)
        weights = {
            "global": global_weight,
            "local": local_weight,
            "patches": patch_weight,
            "prior": prior_weight,
            "coordinates": coordinate_weight,
            "penalty": score_penalty,
        }
        check_weights(weights)
        self.encoder = encoder(image_size)
        shape, code_dim = self.encoder.feature_shape, self.encoder.embedding_dim
        contrasts: dict[str, list[Contrast | PatchContrast]] = {}
        if global_weight:
            aspect = global_aspect(shape, code_dim)
            contrasts["global"] = [Contrast(aspect, global_critic(aspect.dim, code_dim))]
        if local_weight:
            maps = (shape, *self.encoder.scale_shapes)
            locations = [Locations(s, scale, num_locations) for scale, s in enumerate(maps)]
            contrasts["local"] = [Contrast(a, local_critic(a.dim, code_dim)) for a in locations]
        if patch_weight:
            critic = patch_critic(shape.channels, shape.channels)
            contrasts["patches"] = [PatchContrast(shape, critic)]
        drawn_by = prior(code_dim) if prior_weight else None
        if isinstance(drawn_by, GaussianKL) and not self.encoder.is_gaussian:
            raise InputError(
                "model.prior is GaussianKL, but the encoder is deterministic: its codes have no "
                "variance; choose another prior, or set model.prior_weight to 0"
            )
        self.objective = Objective(
            weights,
            contrasts,
            estimator,
            drawn_by,
            coordinates(shape, code_dim) if coordinate_weight else None,
            num_negatives,
            report,
        )
        self.occlusion = occlusion
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
        with uneven_rows(len(batch.images)):
            return self._step(batch, "val", (0, batch_idx))

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """The same terms on test images."""
        with uneven_rows(len(batch.images)):
            return self._step(batch, "test", (0, batch_idx))

    def on_validation_start(self) -> None:
        """Running statistics are those of the first process, which checkpoints keep."""
        take_from_first(self.buffers())

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
        checkpoint["hyper_parameters"] = {k: v for k, v in stored.items() if is_plain(v)}

    def check_batch(self, num_images: int) -> None:
        """Looks at whether a joint batch of `num_images` has the negatives asked for.

        Raises:
            InputError: it has fewer.
        """
        if self.objective.num_negatives != "all":
            check_num_negatives(self.objective.num_negatives, num_images)

    def _step(self, batch: Batch, stage: str, position: tuple[int, int]) -> dict[str, Any]:
        stream = {"train": 0, "val": 1, "test": 2}[stage]
        generator = generator_for(self.seed, stream, *position, device=batch.images.device)
        views, pairs = self.views_of((batch.images, *batch.more_views), generator)
        embedding = views[0].features.mean.detach().float()
        output = {"embedding": embedding, "labels": batch.labels}
        if stage != "train" and not self._has_negatives(len(batch.images)):
            return output  # the last batch may hold too few images
        terms = self.objective(views, pairs, generator)
        detached = _of_joint_batch(terms, len(batch.images))
        self.log_dict(
            {f"{stage}/{name}": term for name, term in detached.items()},
            prog_bar=stage == "train",
            batch_size=joint_size(len(batch.images)),
            sync_dist=stage != "train",
        )
        return {"loss": terms["loss"], "terms": detached, **output}

    def views_of(
        self, images: Sequence[Tensor], generator: torch.Generator
    ) -> tuple[list[View], list[tuple[int, int]]]:
        """The views, and which of them give image (first) and code (second) of a pair."""
        views = [self._view(x, generator) for x in images]
        count = len(views)
        whole = [i for i, x in enumerate(images) if x.shape == images[0].shape]
        pairs = [(a, b) for a in whole for b in range(count) if a != b] or [(0, 0)]
        if self.occlusion is None:
            return views, pairs
        views += [self._view(self.occlusion(x, generator), generator) for x in images]
        return views, [(a, count + b) for a, b in pairs]

    def _view(self, images: Tensor, generator: torch.Generator) -> View:
        features = self.encoder(images)
        prior = self.objective.prior
        code = features.sample(generator) if prior is None else prior.draw(features, generator)
        return View(images, features, code)

    def _has_negatives(self, num_images: int) -> bool:
        asked = self.objective.num_negatives
        return joint_size(num_images) > (1 if asked == "all" else asked)


def _of_joint_batch(terms: Mapping[str, Tensor], num_images: int) -> dict[str, Tensor]:
    """The terms without gradient, of the images of all processes and equal on each."""
    if num_processes() == 1:
        return {name: term.detach() for name, term in terms.items()}
    shares = torch.stack([term.detach() for term in terms.values()])
    return dict(zip(terms, joint_mean(shares, num_images), strict=True))


def is_plain(value: Any) -> bool:
    """Whether a checkpoint that loads with weights_only may hold the value."""
    if isinstance(value, dict):
        return all(is_plain(item) for item in value.values())
    if isinstance(value, list | tuple):
        return all(is_plain(item) for item in value)
    return value is None or isinstance(value, bool | int | float | str)
