"""Contrasts: which pairs an information term scores, and with which critic."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from dim_lightning.encoders import FeatureShape
from dim_lightning.errors import InputError
from dim_lightning.infomax.aspects import Aspect, Locations
from dim_lightning.infomax.critics import Critic
from dim_lightning.infomax.scores import ScoreSet
from dim_lightning.infomax.view import View


class Contrast(nn.Module):
    """Scores of codes with an aspect of images, the global and local terms.

    Args:
        aspect: what of the image is paired with the code.
        critic: T.

    Raises:
        InputError: in use, the aspect gives sources of another shape than it says.
    """

    def __init__(self, aspect: Aspect, critic: Critic):
        super().__init__()
        self.aspect = aspect
        self.critic = critic

    def forward(
        self,
        image: View,
        code: View,
        negatives: Int64[Tensor, "n k"] | None,
        generator: torch.Generator,
    ) -> ScoreSet:
        """T of the code of one view with the aspect of another, or of the same one."""
        sources = self.aspect(image, generator)
        expected = (len(code.code), self.aspect.dim)
        if sources.ndim != 3 or (len(sources), sources.shape[2]) != expected:
            raise InputError(
                f"{type(self.aspect).__name__} gives sources {list(sources.shape)}; expected "
                f"[{expected[0]}, m, {expected[1]}]: for each image m sources of its dim values"
            )
        return self.critic(sources, code.code, negatives)


class PatchContrast(nn.Module):
    """Scores of the local features of an image with each other.

    The location of one place, drawn anew at each step, takes the part of the code in every image;
    real pairs are those with the other locations of the same image, other pairs those with the
    locations at the same other places of other images. With a place of its own for each image other
    pairs would be at equal places now and then, real ones never, and features that show their place
    and nothing of the image would raise the estimate, of KL(J || M) by log(m / (m - 1)) for m
    locations.

    Source: Su Jianlin, 2018, section on the information between the C_ij.

    Args:
        feature_shape: of the encoder's feature map.
        critic: T, made for two local features.

    Raises:
        InputError: the map has a single location.
    """

    def __init__(self, feature_shape: FeatureShape, critic: Critic):
        super().__init__()
        _check_locations(feature_shape.height * feature_shape.width)
        self.locations = Locations(feature_shape)
        self.critic = critic

    def forward(
        self,
        image: View,
        code: View,
        negatives: Int64[Tensor, "n k"] | None,
        generator: torch.Generator,
    ) -> ScoreSet:
        """T of a location of one view with the other locations of another, or of the same one."""
        sources, anchors = self.locations(image, generator), self.locations(code, generator)
        m = sources.shape[1]
        _check_locations(m)
        device = sources.device
        places = anchors.shape[1]  # not m where the code is of a small view
        chosen = torch.randint(places, (1,), generator=generator, device=device)
        others = (chosen + torch.arange(1, m, device=device)) % m
        return self.critic(sources[:, others], anchors[:, chosen][:, 0], negatives)


def _check_locations(count: int) -> None:
    if count < 2:
        raise InputError(
            "model.patch_weight is above 0, but the encoder's feature map has a single location, "
            "which has no others to share information with; set it to 0"
        )


def score_penalty(scores: ScoreSet) -> Float[Tensor, ""]:
    """Half of E_J[T^2] + E_M[T^2], which keeps scores small.

    Source: Bachman et al., 2019, section 3.3; there on the scores before they are clipped, here on
    what the estimator sees.
    """
    return (scores.joint_mean(torch.square) + scores.marginal_mean(torch.square)) / 2
