"""What an encoder gives: features of an image, and the code drawn from them."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dim_lightning.errors import InputError
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

    def sample(self, generator: torch.Generator) -> Float[Tensor, "n d"]:
        """One code z = mu + sigma * eps an image; the mean itself if p(z|x) is a point.

        Source: the reparameterisation of Kingma and Welling, 2014, section 2.4.
        """
        if self.log_variance is None:
            return self.mean
        return self.mean + torch.exp(0.5 * self.log_variance) * normal_like(self.mean, generator)


class Encoder(nn.Module, ABC):
    """Images with values in [0, 1] to `Features`.

    An encoder brings the pixels to its own range itself: pictures stay in [0, 1] everywhere else.
    It is made with the image size, and its constructor sets the attributes below; further arguments
    that have types are settings on the command line, `--model.encoder my.module.MyEncoder
    --model.encoder.width 64`. A method tries it with two images (`check_encoder`), and
    warns of dropout, which in a run that goes on after a stop draws otherwise. The floor of a
    random encoder is drawn by `reset_parameters()` of each part that has parameters of its own, or
    of a part around it; torch's layers have it (nn.MultiheadAttention's is `_reset_parameters`).

    Attributes:
        feature_shape: shape of `Features.feature_map` for one image.
        embedding_dim: d, the size of the code.
        is_gaussian: whether p(z|x) has a variance, as by default, or is a point.
        scale_shapes: shapes of `Features.scales` for one image.
    """

    feature_shape: FeatureShape
    embedding_dim: int
    is_gaussian: bool = True
    scale_shapes: tuple[FeatureShape, ...] = ()

    @abstractmethod
    def forward(self, images: Float[Tensor, "n 3 height width"]) -> Features:
        """The features of `images`."""

    if TYPE_CHECKING:  # nn.Module's own gives Any

        def __call__(self, images: Float[Tensor, "n 3 height width"]) -> Features:
            """As `forward`, with its hooks."""

    else:

        def __call__(self, images: Tensor, *args: Any, **kwargs: Any) -> Any:
            """What `forward` gives of images as floats: of bytes it would be features of nothing.

            Raises:
                InputError: they are no floats.
            """
            if not images.is_floating_point():
                found = str(images.dtype).removeprefix("torch.")
                raise InputError(
                    f"the images are {found}; expected floats in [0, 1]; "
                    "dim_lightning.data.to_float(images) makes such of bytes"
                )
            return super().__call__(images, *args, **kwargs)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Within, `module` is in eval mode, without gradients; each part has its own mode afterwards.

    Parts of a training module may be frozen, in eval mode.
    """
    is_training, modes = module.training, [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(is_training)  # networks of torchvision have a graph for each mode
        for part, mode in modes:
            part.training = mode


@contextmanager
def statistics_held(module: nn.Module) -> Iterator[None]:
    """Within, batch norms in training mode leave their running statistics as they are."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    try:
        for norm in norms:
            norm.track_running_stats = False
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def check_encoder(encoder: nn.Module, image_size: int) -> None:
    """Looks at whether an encoder gives what it says of itself, for two images.

    Otherwise a wrong shape ends in the midst of a critic, or trains on something else in silence.

    Args:
        encoder: each of its parts keeps its mode, as some may be frozen.
        image_size: height and width of the images.

    Raises:
        InputError: it is no `Encoder`, cannot take images of that size, an attribute is missing, or
            does not fit its `Features`.
    """
    name = type(encoder).__name__
    if not isinstance(encoder, Encoder):
        raise InputError(f"the encoder is a {name}; expected a subclass of dim_lightning.Encoder")
    for attribute in ("feature_shape", "embedding_dim"):
        if not hasattr(encoder, attribute):
            raise InputError(f"{name} has no {attribute}; set self.{attribute} in its constructor")
    images = torch.linspace(0, 1, 2 * 3 * image_size**2).view(2, 3, image_size, image_size)
    try:
        with evaluating(encoder):
            features = encoder(images)
    except RuntimeError as error:  # torch's, of shapes that do not fit
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{name} cannot take images of {list(images.shape)} ({reason}); expected an encoder "
            "of RGB images [n, 3, h, w], h = w = image_size"
        ) from error
    if not isinstance(features, Features):
        raise InputError(
            f"{name}.forward gives {type(features).__name__}; expected dim_lightning.Features"
        )
    _check_shapes(encoder, features)
    _check_layers(name, features)


def _check_shapes(encoder: Encoder, features: Features) -> None:
    name = type(encoder).__name__
    code = (encoder.embedding_dim,)
    expected = [("feature_map", features.feature_map, tuple(encoder.feature_shape))]
    expected += [("mean", features.mean, code)]
    if features.log_variance is not None:
        expected += [("log_variance", features.log_variance, code)]
    pairs = zip(features.scales, encoder.scale_shapes, strict=False)  # how many: below
    expected += [("scales", *each) for each in pairs]
    for what, found, shape in expected:
        if found.shape != (2, *shape):
            raise InputError(
                f"{name} gives {what} of shape {list(found.shape)} for 2 images; expected "
                f"{[2, *shape]}, as its feature_shape, embedding_dim and scale_shapes say"
            )
    if len(features.scales) != len(encoder.scale_shapes):
        raise InputError(
            f"{name} gives {len(features.scales)} scales; expected {len(encoder.scale_shapes)}, "
            "as many as its scale_shapes"
        )
    if encoder.is_gaussian != (features.log_variance is not None):
        has = "no log_variance" if encoder.is_gaussian else "a log_variance"
        raise InputError(
            f"{name} gives {has}, but its is_gaussian is {encoder.is_gaussian}; set "
            f"self.is_gaussian = {not encoder.is_gaussian} in its constructor"
        )


def _check_layers(name: str, features: Features) -> None:
    for layer, values in features.layers.items():
        if values.ndim != 2 or len(values) != 2:
            raise InputError(
                f"{name} gives the layer {layer!r} of shape {list(values.shape)} for 2 images; "
                "expected [2, k]; flatten(1) makes it so"
            )
        if not layer or "/" in layer:
            raise InputError(
                f"{name} names a layer {layer!r}, which goes into names of figures such as "
                "probe/linear/conv/top1; expected a name without /"
            )
    last = next(reversed(features.layers.values()), None)
    if last is None or not (
        last.shape == features.mean.shape and torch.allclose(last, features.mean, equal_nan=True)
    ):
        raise InputError(
            f"{name} gives the layers {list(features.layers)}; expected the code, the mean, as the "
            "last one"
        )
