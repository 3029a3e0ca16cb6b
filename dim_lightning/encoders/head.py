"""From the flat features of a trunk to the hidden layer and the code."""

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from dim_lightning.encoders.encoder import Features
from dim_lightning.errors import InputError


class Head(nn.Module):
    """Hidden layers, each [linear, batch norm, ReLU], then a linear layer to the code.

    Layers before a batch norm have no bias, which it would take away again.

    Args:
        inputs: size of the flat features.
        hidden_dims: units of the hidden layers.
        embedding_dim: d, the size of the code.
        gaussian: whether there is a linear layer for the log variance too.
    """

    def __init__(self, inputs: int, hidden_dims: Sequence[int], embedding_dim: int, gaussian: bool):
        super().__init__()
        self.inputs = inputs
        layers: list[nn.Module] = []
        for before, after in pairwise((inputs, *hidden_dims)):
            layers += [nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.ReLU()]
        self.hidden = nn.Sequential(*layers)
        last = (inputs, *hidden_dims)[-1]
        self.mean = nn.Linear(last, embedding_dim)
        # made last: the layers above start from the same draws with and without it
        self.log_variance = nn.Linear(last, embedding_dim) if gaussian else None

    def forward(
        self, local: Float[Tensor, "n c h w"], layers: dict[str, Tensor], flat: Float[Tensor, "n k"]
    ) -> Features:
        """The features of n images.

        Args:
            local: the feature map.
            layers: those to probe before the hidden layer; `fc` and `y` are added.
            flat: what the hidden layers start from.

        Raises:
            InputError: it is of another size than the layers were made for.
        """
        if flat.shape[1] != self.inputs:
            raise InputError(
                f"the encoder's hidden layer takes {self.inputs} values, and its convolutions gave "
                f"{flat.shape[1]}: the images are not of the size that it was made for; set "
                "data.view_sizes to [] and the size of augmentations to null, or take an encoder "
                "of images of any size, such as StridedEncoder"
            )
        hidden = self.hidden(flat)
        mean = self.mean(hidden)
        log_variance = None if self.log_variance is None else self.log_variance(hidden)
        return Features(local, {**layers, "fc": hidden, "y": mean}, mean, log_variance)


def check_sizes(
    name: str,
    sizes: Sequence[int],
    least: int,
    pixel_range: tuple[float, float] = (0.0, 1.0),
) -> None:
    """Refuses layers that cannot be.

    Args:
        name: of the encoder.
        sizes: of its layers.
        least: how many it needs.
        pixel_range: what the pixel values 0 and 1 are brought to.

    Raises:
        InputError: fewer sizes, one below 1, or an empty range of pixels.
    """
    if len(sizes) < least or min(sizes) < 1:
        raise InputError(
            f"{name} got sizes {list(sizes)}; expected at least {least} sizes of at least 1; "
            "set model.encoder.init_args"
        )
    if pixel_range[0] >= pixel_range[1]:
        raise InputError(
            f"{name} got pixel_range {list(pixel_range)}; expected a range from low to high; set "
            "model.encoder.init_args.pixel_range"
        )


def check_halvings(image_size: int, halvings: int, least: int = 1) -> None:
    """Refuses an image too small to be halved as often.

    Args:
        image_size: height and width, in pixels.
        halvings: how often both are halved.
        least: height and width that are to be left.

    Raises:
        InputError: less is left.
    """
    if image_size // 2**halvings < least:
        raise InputError(
            f"image size {image_size} is too small for an encoder that halves it {halvings} times; "
            f"expected at least {least * 2**halvings} pixels; set data.image_size higher or give "
            "model.encoder fewer widths"
        )
