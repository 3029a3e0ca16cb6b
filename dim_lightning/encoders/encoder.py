"""What an encoder gives: features of an image, and the code drawn from them."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dim_lightning.processes import normal_like


class FeatureShape(NamedTuple):
    """Shape of one image's local feature map: c channels at h x w locations."""

    channels: int
    height: int
    width: int


class Features(NamedTuple):
    """Everything an encoder says of n images.

    Attributes:
        feature_map: the local features C, [n, c, h, w].
        layers: name -> flat features [n, k], the layers that evaluation probes, in the order in
            which the image meets them; the last one is the code.
        mean: mean of p(z|x), the code of an image, [n, d].
        log_variance: log variance of p(z|x), [n, d]; None where the encoder is deterministic.
        scales: further local maps beside `feature_map`, each [n, c_s, h_s, w_s], earliest first.
    """

    feature_map: Float[Tensor, "n c h w"]
    layers: dict[str, Tensor]
    mean: Float[Tensor, "n d"]
    log_variance: Float[Tensor, "n d"] | None
    scales: tuple[Tensor, ...] = ()

    def sample(self, generator: torch.Generator | None = None) -> Float[Tensor, "n d"]:
        """One code z = mu + sigma * eps an image; the mean itself if p(z|x) is a point.

        Source: the reparameterisation of Kingma and Welling, 2014, section 2.4.
        """
        if self.log_variance is None:
            return self.mean
        return self.mean + torch.exp(0.5 * self.log_variance) * normal_like(self.mean, generator)


class Encoder(nn.Module, ABC):
    """Images with values in [0, 1] to `Features`.

    An encoder brings the pixels to its own range itself: pictures stay in [0, 1] everywhere else.

    Attributes:
        feature_shape: shape of `Features.feature_map` for one image.
        embedding_dim: d, the size of the code.
        is_gaussian: whether p(z|x) has a variance, or is a point.
        scale_shapes: shapes of `Features.scales` for one image.
    """

    feature_shape: FeatureShape
    embedding_dim: int
    is_gaussian: bool = True
    scale_shapes: tuple[FeatureShape, ...] = ()

    @abstractmethod
    def forward(self, images: Float[Tensor, "n 3 height width"]) -> Features:
        """The features of `images`."""
