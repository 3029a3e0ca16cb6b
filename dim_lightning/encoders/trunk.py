"""Networks of torchvision up to some of their nodes."""

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dim_lightning.encoders.encoder import FeatureShape
from dim_lightning.encoders.start import do_weights_follow
from dim_lightning.errors import InputError, nearest

_MODELS = "torchvision.models.list_models(torchvision.models)"
_EXPECTED = "a feature map [n, channels, h, w] or [n, h, w, channels], h = w"
_BRINGS_TO_OWN_RANGE = ("inception_v3", "googlenet")  # with torchvision's weights, the pixels

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as torchvision trains them

Layout = Literal["map", "channels last", "tokens"]


class NetworkSpec(NamedTuple):
    """Which network, and what of it.

    Attributes:
        name: as in torchvision.models.list_models.
        nodes: setting of the encoder -> node.
        image_size: height and width of an image.
        weights: the name of those that torchvision has; None: drawn.
    """

    name: str
    nodes: dict[str, str]
    image_size: int
    weights: str | None

    @property
    def takes_one_size(self) -> bool:
        """Whether it takes images of `image_size` alone, as vision transformers do."""
        return self.name.startswith("vit_")


class Trunk(nn.Module):
    """A network of torchvision up to some of its nodes, whose feature maps it gives by name.

    Nodes of a vision transformer give tokens [n, 1 + h w, channels], the first of which stands for
    no place and is left out, those of a Swin transformer have their channels last; here all are
    [n, channels, h, w].

    Attributes:
        shapes: node -> the shape of its feature map of one image.

    Args:
        spec: which network.

    Raises:
        InputError: there is no such network, node or set of weights, the weights cannot be had, or
            a node's values are no feature map.
    """

    def __init__(self, spec: NetworkSpec):
        super().__init__()
        self.spec = spec
        self.network = _network(spec, starts=not do_weights_follow())
        self.layouts, self.shapes = _looked_at(self.network, spec)

    def forward(self, x: Float[Tensor, "n 3 height width"]) -> dict[str, Tensor]:
        """Node -> feature map [n, c, h, w].

        Raises:
            InputError: the images are of a size that the network does not take.
        """
        size = self.spec.image_size
        if self.spec.takes_one_size and tuple(x.shape[2:]) != (size, size):
            raise InputError(
                f"{self.spec.name} was made for images of {size} pixels, and these have "
                f"{' x '.join(map(str, x.shape[2:]))}; set data.view_sizes to [] and the size of "
                "augmentations to null, or take a convolutional network"
            )
        if self.network.training != self.training:  # a deep copy of torchvision's begins to train
            self.network.train(self.training)
        return {node: _map(each, self.layouts[node]) for node, each in self.network(x).items()}

    def reset_parameters(self) -> None:
        """Draws the weights anew, as torchvision does."""
        self.network.load_state_dict(_network(self.spec, starts=False).state_dict())


def _map(values: Tensor, layout: Layout) -> Tensor:
    if layout == "tokens":
        side = math.isqrt(values.shape[1] - 1)
        return values[:, 1:].transpose(1, 2).unflatten(2, (side, side))
    return values.permute(0, 3, 1, 2) if layout == "channels last" else values


def _network(spec: NetworkSpec, starts: bool) -> nn.Module:
    """The network up to the nodes.

    Args:
        spec: which.
        starts: whether it is to have the weights asked for; else they are drawn.
    """
    from torchvision import models
    from torchvision.models import feature_extraction
    from torchvision.ops import StochasticDepth

    names = models.list_models(models)  # those of classification
    if spec.name not in names:
        raise InputError(
            f"torchvision.models has no network {spec.name}; "
            f"{nearest(spec.name, names, _MODELS)}; set model.encoder.init_args.name"
        )
    if spec.weights is not None:
        _weights(spec)  # looks at the name, be they needed or not
    network = _with_weights(spec) if starts and spec.weights is not None else _drawn(spec)
    for module in network.modules():
        if isinstance(module, nn.Dropout | StochasticDepth):
            module.p = 0.0
    paths = [node.split(".") for node in feature_extraction.get_graph_node_names(network)[0]]
    known = dict.fromkeys(".".join(path[:i]) for path in paths for i in range(1, len(path) + 1))
    for setting, node in spec.nodes.items():
        if node not in known:
            alike = [each for each in known if each.count(".") == node.count(".")]
            advice = nearest(node, alike, "torchvision's get_graph_node_names")
            raise InputError(
                f"{spec.name} has no node {node}; {advice}; set model.encoder.init_args.{setting}"
            )
    return feature_extraction.create_feature_extractor(network, list(set(spec.nodes.values())))


def _drawn(spec: NetworkSpec) -> nn.Module:
    from torchvision import models

    options: dict[str, Any] = {"image_size": spec.image_size} if spec.takes_one_size else {}
    if spec.weights is not None and spec.name in _BRINGS_TO_OWN_RANGE:
        options["transform_input"] = True
    try:
        return models.get_model(spec.name, weights=None, **options)
    except (AssertionError, RuntimeError) as error:  # an image that patches do not fill
        raise _unfit(spec, error) from error


def _with_weights(spec: NetworkSpec) -> nn.Module:
    """The network as torchvision trained it."""
    from torchvision import models

    weights = _weights(spec)
    try:
        if not spec.takes_one_size:
            return models.get_model(spec.name, weights=weights)
        stored = weights.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"the weights {spec.weights} of {spec.name} cannot be had: {error}; expected them at "
            f"{weights.url}, or downloaded before to {torch.hub.get_dir()}/checkpoints; set "
            "model.encoder.init_args.weights to null to do without"
        ) from error
    network: Any = _drawn(spec)
    fitting = models.vision_transformer.interpolate_embeddings(
        spec.image_size, network.patch_size, OrderedDict(stored)
    )
    network.load_state_dict(fitting)
    return network


def _weights(spec: NetworkSpec) -> Any:
    """What torchvision knows of the weights, which may not be there."""
    from torchvision import models

    known = models.get_model_weights(spec.name)
    if spec.weights not in known.__members__:
        raise InputError(
            f"torchvision has no weights {spec.weights} of {spec.name}; expected one of "
            f"{', '.join(known.__members__)}; set model.encoder.init_args.weights"
        )
    return known[str(spec.weights)]


def pixel_statistics(spec: NetworkSpec) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and standard deviation of the pixels that the network takes, of each colour.

    Those of ImageNet, but for a few networks that torchvision trained otherwise.
    """
    if spec.weights is None:
        return MEAN, STD
    given = _weights(spec).transforms()
    return given.mean, given.std


def _looked_at(
    network: nn.Module, spec: NetworkSpec
) -> tuple[dict[str, Layout], dict[str, FeatureShape]]:
    """Node -> how its values are laid out, and node -> the shape of its map of one image."""
    size = spec.image_size
    images = torch.zeros(1, 3, size, size, device=next(network.parameters()).device)
    try:
        with torch.no_grad():
            values = network.eval()(images)
    except (RuntimeError, AssertionError) as error:  # of a window larger than what is left
        raise _unfit(spec, error) from error
    network.train()
    layouts: dict[str, Layout] = {}
    for setting, node in spec.nodes.items():
        shape = getattr(values[node], "shape", ())  # some give a tuple
        layout = _layout(shape, spec)
        if layout is None:
            raise InputError(
                f"the node {node} gives values of shape {list(shape)}; expected "
                f"{_EXPECTED}{', or tokens [n, 1 + h w, channels]' * spec.takes_one_size}; set "
                f"model.encoder.init_args.{setting}"
            )
        layouts[node] = layout
    maps = {node: _map(values[node], layout) for node, layout in layouts.items()}
    return layouts, {node: FeatureShape(*each.shape[1:]) for node, each in maps.items()}


def _layout(shape: Sequence[int], spec: NetworkSpec) -> Layout | None:
    """How the values of square images are laid out; None if they are no feature map."""
    if len(shape) == 4 and len(set(shape[1:])) == 1:  # as many channels as rows
        return "channels last" if spec.name.startswith("swin_") else "map"
    if len(shape) == 4 and shape[2] == shape[3]:
        return "map"
    if len(shape) == 4 and shape[1] == shape[2]:
        return "channels last"
    is_square = len(shape) == 3 and math.isqrt(shape[1] - 1) ** 2 == shape[1] - 1 > 0
    return "tokens" if spec.takes_one_size and is_square else None


def _unfit(spec: NetworkSpec, error: Exception) -> InputError:
    return InputError(
        f"images of {spec.image_size} pixels are not for this network: {error}; set "
        "data.image_size to another size, mostly a higher one, or choose another "
        "model.encoder.init_args.name"
    )
