"""Any network of torchvision as an encoder."""

import torch
from jaxtyping import Float
from torch import Tensor

from dim_lightning.encoders.encoder import Encoder, Features
from dim_lightning.encoders.head import Head, check_sizes
from dim_lightning.encoders.trunk import NetworkSpec, Trunk, pixel_statistics


class TorchvisionEncoder(Encoder):
    """A network of torchvision up to two of its nodes, a hidden layer, the code.

    `local_node` gives the feature map, the mean of `last_node` over the locations the input of
    [linear, batch norm, ReLU]; linear. Layers to probe: `pool` (that mean), `fc` (the hidden
    layer), `y` (the code). Dropout and stochastic depth are off, as their draws are not those of a
    seed, an epoch and a step.

    Nodes are named as in `torchvision.models.feature_extraction.get_graph_node_names`: those of a
    ResNet are layer1 to layer4, of a ConvNeXt or a Swin transformer features.1 to features.7, of a
    vision transformer encoder.layers.encoder_layer_0 and so on, and encoder.ln behind the last. A
    vision transformer's locations are its patches, and it takes images of `image_size` alone.

    With `weights`, training starts from what torchvision learned from ImageNet with labels: say so
    beside the figures. The floor of an untrained encoder has drawn weights all the same. They are
    downloaded once, by torch.hub, and not to load a trained encoder.

    Args:
        image_size: height and width of an image.
        name: of the network in `torchvision.models.list_models`, such as resnet50, convnext_tiny,
            swin_t or vit_b_16.
        local_node: the node that gives the feature map.
        last_node: the last node that is used.
        hidden_dim: units of the hidden layer.
        embedding_dim: d, the size of the code.
        gaussian: whether p(z|x) has a variance, by one more linear layer beside the code's.
        weights: of torchvision's to start from, such as DEFAULT or IMAGENET1K_V1; null: drawn.

    Raises:
        InputError: there is no such network, node or set of weights, the weights cannot be had, or
            a node's values are no feature map.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        image_size: int,
        *,
        name: str = "resnet18",
        local_node: str = "layer3",
        last_node: str = "layer4",
        hidden_dim: int = 1024,
        embedding_dim: int = 64,
        gaussian: bool = False,
        weights: str | None = None,
    ):
        super().__init__()
        check_sizes("TorchvisionEncoder", (hidden_dim, embedding_dim), 2)
        nodes = {"local_node": local_node, "last_node": last_node}
        self.trunk = Trunk(NetworkSpec(name, nodes, image_size, weights))
        self.local_node, self.last_node = local_node, last_node
        self.feature_shape = self.trunk.shapes[local_node]
        self.embedding_dim = embedding_dim
        self.is_gaussian = gaussian
        channels = self.trunk.shapes[last_node].channels
        self.head = Head(channels, (hidden_dim,), embedding_dim, gaussian)
        mean, std = map(torch.tensor, pixel_statistics(self.trunk.spec))
        self.register_buffer("mean", mean[:, None, None], persistent=False)
        self.register_buffer("std", std[:, None, None], persistent=False)
        self.to(memory_format=torch.channels_last)  # the faster layout for convolutions

    def forward(self, images: Float[Tensor, "n 3 height width"]) -> Features:
        """The features of `images`, pixel values in [0, 1]."""
        found = self.trunk((images - self.mean) / self.std)
        pool = found[self.last_node].mean(dim=(2, 3))
        return self.head(found[self.local_node], {"pool": pool}, pool)
