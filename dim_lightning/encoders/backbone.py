"""Any convolutional network of torchvision as an encoder."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dim_lightning.encoders.encoder import Encoder, Features, FeatureShape
from dim_lightning.encoders.head import Head, check_sizes
from dim_lightning.errors import InputError, nearest

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as torchvision trains them


class TorchvisionEncoder(Encoder):
    """A network of torchvision up to two of its nodes, a hidden layer, the code.

    `local_node` gives the feature map, the mean of `last_node` over the locations the input of
    [linear, batch norm, ReLU]; linear. Layers to probe: `pool` (that mean), `fc` (the hidden
    layer), `y` (the code). Weights are drawn anew; dropout and stochastic depth are off, as their
    draws are not those of a seed, an epoch and a step.

    Nodes are named as in `torchvision.models.feature_extraction.get_graph_node_names`: those of a
    ResNet are layer1 to layer4, of a ConvNeXt features.1 to features.7.

    Args:
        image_size: height and width of an image.
        name: of the network in `torchvision.models.list_models`, such as resnet50 or convnext_tiny.
        local_node: the node that gives the feature map.
        last_node: the last node that is used.
        hidden_dim: units of the hidden layer.
        embedding_dim: d, the size of the code.
        gaussian: whether p(z|x) has a variance, by one more linear layer beside the code's.

    Raises:
        InputError: there is no such network or node, it is no convolutional one, or a node's values
            are no feature map.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        image_size: int,
        name: str = "resnet18",
        local_node: str = "layer3",
        last_node: str = "layer4",
        hidden_dim: int = 1024,
        embedding_dim: int = 64,
        gaussian: bool = False,
    ):
        super().__init__()
        check_sizes("TorchvisionEncoder", (hidden_dim, embedding_dim), 2)
        nodes = {"local_node": local_node, "last_node": last_node}
        self.trunk = Trunk(name, nodes)
        shapes = _shapes(self.trunk, image_size, nodes)
        self.local_node, self.last_node = local_node, last_node
        self.feature_shape = shapes[local_node]
        self.embedding_dim = embedding_dim
        self.is_gaussian = gaussian
        self.head = Head(shapes[last_node].channels, (hidden_dim,), embedding_dim, gaussian)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(STD)[:, None, None], persistent=False)
        self.to(memory_format=torch.channels_last)  # the faster layout for convolutions

    def forward(self, images: Float[Tensor, "n 3 height width"]) -> Features:
        """The features of `images`, pixel values in [0, 1]."""
        found = self.trunk((images - self.mean) / self.std)
        pool = found[self.last_node].mean(dim=(2, 3))
        return self.head(found[self.local_node], {"pool": pool}, pool)


class Trunk(nn.Module):
    """A network of torchvision up to some of its nodes, whose values it gives by name.

    Args:
        name: of the network.
        nodes: setting -> node.
    """

    def __init__(self, name: str, nodes: Mapping[str, str]):
        super().__init__()
        self.name, self.nodes = name, nodes
        self.network = _network(name, nodes)

    def forward(self, x: Float[Tensor, "n 3 height width"]) -> dict[str, Tensor]:
        """Node -> values."""
        if self.network.training != self.training:  # a deep copy of torchvision's begins to train
            self.network.train(self.training)
        return self.network(x)

    def reset_parameters(self) -> None:
        """Draws the weights anew, as torchvision does."""
        self.network.load_state_dict(_network(self.name, self.nodes).state_dict())


def _network(name: str, nodes: Mapping[str, str]) -> nn.Module:
    from torchvision import models
    from torchvision.models import feature_extraction
    from torchvision.ops import StochasticDepth

    names = models.list_models(models)  # those of classification
    if name not in names:
        asked = nearest(name, names, "torchvision.models.list_models(torchvision.models)")
        raise InputError(
            f"torchvision.models has no network {name}; {asked}; set model.encoder.init_args.name"
        )
    if name.startswith("vit_"):
        raise InputError(_not_convolutional(name, "nodes give tokens [n, 1 + h w, channels]"))
    network = models.get_model(name, weights=None)
    for module in network.modules():
        if isinstance(module, nn.Dropout | StochasticDepth):
            module.p = 0.0
    paths = [node.split(".") for node in feature_extraction.get_graph_node_names(network)[0]]
    known = dict.fromkeys(".".join(path[:i]) for path in paths for i in range(1, len(path) + 1))
    for setting, node in nodes.items():
        if node not in known:
            alike = [each for each in known if each.count(".") == node.count(".")]
            asked = nearest(node, alike, "torchvision's get_graph_node_names")
            raise InputError(
                f"{name} has no node {node}; {asked}; set model.encoder.init_args.{setting}"
            )
    return feature_extraction.create_feature_extractor(network, list(set(nodes.values())))


def _not_convolutional(name: str, found: str) -> str:
    return (
        f"{name} is no convolutional network: its {found}; expected feature maps "
        "[n, channels, h, w], as resnet50 or convnext_tiny gives; set "
        "model.encoder.init_args.name to such a network"
    )


def _shapes(trunk: Trunk, image_size: int, nodes: dict[str, str]) -> dict[str, FeatureShape]:
    """Node -> the shape of its feature map of one image."""
    images = torch.zeros(1, 3, image_size, image_size, device=next(trunk.parameters()).device)
    try:
        with torch.no_grad():
            values = trunk.eval()(images)
    except (RuntimeError, AssertionError) as error:  # of a window larger than what is left
        raise InputError(
            f"images of {image_size} pixels are not for this network: {error}; set data.image_size "
            "to another size, mostly a higher one, or choose another model.encoder.init_args.name"
        ) from error
    trunk.train()
    for setting, node in nodes.items():
        shape = list(values[node].shape)
        if len(shape) != 4 or shape[2] != shape[3]:  # of square images; some have channels last
            found = f"node {node} gives values of shape {shape}"
            if trunk.name.startswith("swin_"):  # nearly all of its nodes do
                raise InputError(_not_convolutional(trunk.name, found))
            raise InputError(
                f"the {found}; expected a feature map [n, channels, h, w]; set "
                f"model.encoder.init_args.{setting}"
            )
    return {node: FeatureShape(*value.shape[1:]) for node, value in values.items()}
