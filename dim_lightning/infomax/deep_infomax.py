"""Deep InfoMax as a LightningModule: encoder and objective."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from dim_lightning.data import Batch, ImageDataModule
from dim_lightning.encoder_module import EncoderModule, MakeEncoder, MakeOptimizer, MakeScheduler
from dim_lightning.encoders import BlogEncoder, Encoder, FeatureShape
from dim_lightning.encoders.encoder import statistics_held
from dim_lightning.errors import InputError
from dim_lightning.infomax.aspects import Aspect, ImageCode, Locations, WholeImage, made_aspect
from dim_lightning.infomax.contrasts import Contrast, PatchContrast
from dim_lightning.infomax.coordinates import Coordinates
from dim_lightning.infomax.critics import ConcatCritic, Critic
from dim_lightning.infomax.critics.critic import made_critic
from dim_lightning.infomax.estimators import jensen_shannon
from dim_lightning.infomax.negatives import check_num_negatives
from dim_lightning.infomax.objective import NumNegatives, Objective
from dim_lightning.infomax.occlusion import Occlusion
from dim_lightning.infomax.priors import GaussianKL, NoiseInjection, Prior
from dim_lightning.infomax.scores import ScoreSet
from dim_lightning.infomax.view import View
from dim_lightning.parts import check_functions, check_makers
from dim_lightning.processes import joint_size


class DeepInfoMax(EncoderModule):
    """Trains an encoder by -alpha I_global - beta I_local + gamma prior; labels are never used.

    Where the data gives several views of an image (data.num_views, data.num_small_views), the code
    of each view is paired with the images and feature maps of the others, never with its own; small
    views give codes alone. In validation and test there is one view, the image itself, so that
    terms there are of an easier task than in training: with ImageCode, `val/global` compares a code
    with itself.

    Args:
        encoder: makes the encoder, given the image size.
        local_critic: makes T_local, given the sizes of a local feature and of the code.
        global_critic: makes T_global, given the sizes of what `global_aspect` gives and of the
            code.
        global_aspect: what of the image T_global sees, given the feature map's shape and the size
            of the code: WholeImage, WholeMap or ImageCode.
        patch_critic: makes the critic of two local features of an image, given their sizes.
        estimator: what is maximised, a lower bound of a divergence between real and other pairs; in
            nats where its docstring names no other unit.
        report: further estimators, logged beside the trained one; of critics that info_nce or
            n_way_nce trains the other one of these two alone, see `info_nce`.
        num_negatives: other images that each code is contrasted with: 1 is a shuffled batch, all
            are all other images of all processes' batches.
        num_locations: how many locations of each feature map the local term takes, drawn anew at
            each step; all if None.
        prior: makes the prior, given the size of the code.
        coordinates: makes the networks that predict where a local feature lies, given the feature
            map's shape and the size of the code.
        occlusion: what hides a part of the images of which the codes are made; nothing if None.
        global_weight: alpha; at 0 there is no global critic.
        local_weight: beta; at 0 there is no local critic.
        prior_weight: gamma; at 0 there is no prior, and codes are drawn from p(z|x).
        patch_weight: weight of the information between the local features of an image.
        coordinate_weight: weight of the cross-entropies of predicted coordinates.
        score_penalty: weight of the mean square of the scores.
        optimizer: makes the optimiser, given the parameters.
        lr_scheduler: makes the learning-rate schedule: WarmupCosine, stepped once a training step,
            or one of torch's but ReduceLROnPlateau, stepped once an epoch.
        image_size: height and width of the images; the command line sets it from the data.
        seed: of the noise and of the negatives; the command line sets it from seed_everything.

    Raises:
        InputError: for settings that cannot work, alone or together.
    """

    uses_views = True

    def __init__(
        self,
        encoder: MakeEncoder = BlogEncoder,
        *,
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
        optimizer: MakeOptimizer = torch.optim.Adam,
        lr_scheduler: MakeScheduler | None = None,
        image_size: int = 32,
        seed: int = 0,
    ):
        weights = {
            "global": global_weight,
            "local": local_weight,
            "patches": patch_weight,
            "prior": prior_weight,
            "coordinates": coordinate_weight,
            "penalty": score_penalty,
        }
        check_makers(
            local_critic=local_critic,
            global_critic=global_critic,
            global_aspect=global_aspect,
            patch_critic=patch_critic,
            prior=prior,
            coordinates=coordinates,
        )
        if occlusion is not None:
            check_functions(occlusion=occlusion)
        super().__init__(encoder, optimizer, lr_scheduler, image_size, seed)
        self.save_hyperparameters(logger=False)
        shape, code_dim = self.encoder.feature_shape, self.encoder.embedding_dim
        contrasts: dict[str, Sequence[Contrast | PatchContrast]] = {}
        if global_weight:
            contrasts["global"] = self._global_contrasts(global_aspect, global_critic)
        if local_weight:
            contrasts["local"] = self._local_contrasts(num_locations, local_critic)
        if patch_weight:
            contrasts["patches"] = self._patch_contrasts(patch_critic)
        drawn_by = prior(code_dim) if prior_weight else None
        _check_prior(drawn_by, self.encoder)
        self.objective = Objective(
            weights,
            contrasts,
            estimator,
            drawn_by,
            coordinates(shape, code_dim) if coordinate_weight else None,
            num_negatives,
            report,
        )
        self.code_prior = None if drawn_by is None else drawn_by.code_prior
        self.occlusion = occlusion

    def code_and_terms(
        self, batch: Batch, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The codes of the first view as evaluation sees them, and the terms of the objective."""
        images = (batch.images, *batch.more_views)
        views, pairs = self.views_of(images, generator, len(batch.small_views))
        code = views[0].features.mean
        if not self.training and not self._has_negatives(len(batch.images)):
            return code, {}  # the last batch may hold too few images
        return code, self.objective(views, pairs, generator)

    def check_data(self, data: ImageDataModule, num_images: int) -> None:
        """Looks at whether a joint batch of `num_images` has the negatives asked for, and at views.

        Raises:
            InputError: it has fewer, or there is one view, whose noise is in both sides of a pair.
        """
        super().check_data(data, num_images)
        if self.objective.num_negatives != "all":
            check_num_negatives(self.objective.num_negatives, num_images)
        if data.num_views + data.num_small_views == 1 and self.occlusion is None:
            _check_noise(self.objective)

    def views_of(
        self, images: Sequence[Tensor], generator: torch.Generator, num_small: int = 0
    ) -> tuple[list[View], list[tuple[int, int]]]:
        """The views, and which of them give image (first) and code (second) of a pair.

        Args:
            images: of each view.
            generator: of the codes and of what is hidden.
            num_small: how many of the views, the last ones, give codes alone; others whose size is
                not the first one's do so too. They leave batch norms' running statistics alone,
                which are to be those of whole images.
        """
        count = len(images)
        whole = [i for i in range(count - num_small) if images[i].shape == images[0].shape]
        pairs = [(a, b) for a in whole for b in range(count) if a != b] or [(0, 0)]
        if self.occlusion is None:
            return [self._view(x, generator, i in whole) for i, x in enumerate(images)], pairs
        views = [self._view(images[a], generator) for a in whole]
        hidden = sorted({b for _, b in pairs})
        views += [
            self._view(self.occlusion(images[b], generator), generator, b in whole) for b in hidden
        ]
        return views, [(whole.index(a), len(whole) + hidden.index(b)) for a, b in pairs]

    def _global_contrasts(
        self,
        global_aspect: Callable[[FeatureShape, int], Aspect],
        global_critic: Callable[[int, int], Critic],
    ) -> list[Contrast]:
        aspect = made_aspect(global_aspect, self.encoder.feature_shape, self.embedding_dim)
        return [Contrast(aspect, made_critic(global_critic, aspect.dim, self.embedding_dim))]

    def _local_contrasts(
        self, num_locations: int | None, local_critic: Callable[[int, int], Critic]
    ) -> list[Contrast]:
        """One for each map that the encoder gives."""
        maps = (self.encoder.feature_shape, *self.encoder.scale_shapes)
        locations = [Locations(s, scale, num_locations) for scale, s in enumerate(maps)]
        critics = [made_critic(local_critic, a.dim, self.embedding_dim) for a in locations]
        return list(map(Contrast, locations, critics))

    def _patch_contrasts(self, patch_critic: Callable[[int, int], Critic]) -> list[PatchContrast]:
        shape = self.encoder.feature_shape
        critic = made_critic(patch_critic, shape.channels, shape.channels)
        return [PatchContrast(shape, critic)]

    def _view(self, images: Tensor, generator: torch.Generator, is_whole: bool = True) -> View:
        with nullcontext() if is_whole else statistics_held(self.encoder):
            features = self.encoder(images)
        prior = self.objective.prior
        code = features.sample(generator) if prior is None else prior.draw(features, generator)
        return View(images, features, code)

    def _has_negatives(self, num_images: int) -> bool:
        asked = self.objective.num_negatives
        return joint_size(num_images) > (1 if asked == "all" else asked)


def _check_prior(prior: Prior | None, encoder: Encoder) -> None:
    """Refuses a prior of the variance of codes that have none.

    Raises:
        InputError: it is one.
    """
    if isinstance(prior, GaussianKL) and not encoder.is_gaussian:
        raise InputError(
            "model.prior is GaussianKL, but the encoder is deterministic: its codes have no "
            "variance; set model.encoder.init_args.gaussian to true where the encoder has it, "
            "choose another prior, or set model.prior_weight to 0"
        )


def _check_noise(objective: Objective) -> None:
    """Refuses noise that limits nothing, as a code is compared with itself.

    Raises:
        InputError: it does.
    """
    is_of_itself = any(isinstance(part, ImageCode) for part in objective.contrasts.modules())
    if is_of_itself and isinstance(objective.prior, NoiseInjection):
        raise InputError(
            "model.prior is NoiseInjection and model.global_aspect ImageCode, but there is one "
            "view of an image: both sides of a real pair are one code with one noise, which so "
            "lets everything through; set data.num_views to 2, or model.global_aspect to "
            "WholeImage or WholeMap"
        )
