"""A trained encoder that takes pictures as they are."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps
from torch import Tensor, nn

from dim_lightning.data.augmentation import to_float
from dim_lightning.data.pictures import centre_square, decode, to_rgb
from dim_lightning.encoders import Encoder, Features
from dim_lightning.errors import InputError

Picture = Image.Image | Path | str
Pictures = Picture | Sequence[Picture] | Tensor


class PictureEncoder(nn.Module):
    """Pictures of any size to embeddings: an encoder with the preprocessing it was trained with.

    Pictures are a PIL image, the path of a file, a list of these, or a tensor uint8 [n, 3, size,
    size] of RGB values. Files and PIL images are brought to the size of the training: upright as
    their EXIF entry says, RGB, the centre square, scaled. It is in eval mode and computes without
    gradients on the device it was moved to; `encoder` is the plain module, for training on.

    Attributes:
        encoder: images in [0, 1] to `Features`.
        image_size: height and width in pixels to which pictures are brought.
        about: what it is, how it was trained and what it reached: the content of encoder.json.
    """

    def __init__(self, encoder: Encoder, image_size: int, about: dict[str, Any]) -> None:
        super().__init__()
        self.encoder = encoder
        self.image_size = image_size
        self.about = about
        self.eval()

    @property
    def embedding_dim(self) -> int:
        """The size of an embedding, d."""
        return self.encoder.embedding_dim

    def forward(self, pictures: Pictures, batch_size: int = 256) -> Float[Tensor, "n d"]:
        """The embedding of each picture, the mean of p(z|x); n = 1 for a single picture.

        Args:
            pictures: see the class.
            batch_size: pictures that are decoded and encoded at a time.

        Raises:
            InputError: a file cannot be read, or a tensor is of another type or shape.
        """
        return torch.cat([each.mean for each in self._features(pictures, batch_size)])

    def layers(self, pictures: Pictures, batch_size: int = 256) -> dict[str, Float[Tensor, "n k"]]:
        """Every named layer of the encoder, in its order; the last one is the embedding.

        Args:
            pictures: see the class.
            batch_size: pictures that are decoded and encoded at a time.

        Raises:
            InputError: a file cannot be read, or a tensor is of another type or shape.
        """
        parts = [each.layers for each in self._features(pictures, batch_size)]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _features(self, pictures: Pictures, batch_size: int) -> Iterator[Features]:
        if isinstance(pictures, Image.Image | Path | str):
            pictures = [pictures]
        device = next((p.device for p in self.encoder.parameters()), torch.device("cpu"))
        for start in range(0, max(len(pictures), 1), batch_size):
            pixels = _pixels(pictures[start : start + batch_size], self.image_size)
            with torch.no_grad():
                features = self.encoder(to_float(pixels.to(device)))
            yield features


def _pixels(pictures: Sequence[Picture] | Tensor, size: int) -> UInt8[Tensor, "n 3 {size} {size}"]:
    """The pictures in the size of the training, RGB."""
    if isinstance(pictures, Tensor):
        if pictures.dtype != torch.uint8 or pictures.shape[1:] != (3, size, size):
            raise InputError(
                f"the tensor is {str(pictures.dtype).removeprefix('torch.')} "
                f"{list(pictures.shape)}; expected uint8 [n, 3, {size}, {size}], RGB values from 0 "
                "to 255; PIL images and files are scaled by themselves"
            )
        return pictures
    pixels = [_decoded(picture, size) for picture in pictures]
    stacked = np.stack(pixels) if pixels else np.empty((0, size, size, 3), np.uint8)
    return torch.from_numpy(stacked).permute(0, 3, 1, 2)


def _decoded(picture: Picture, size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
    if isinstance(picture, Image.Image):
        return np.asarray(centre_square(to_rgb(ImageOps.exif_transpose(picture)), size))
    if not isinstance(picture, Path | str):
        raise InputError(
            f"a picture is {type(picture).__name__}; expected a PIL image or the path of a file"
        )
    try:
        return decode(picture, size)
    except Exception as error:  # the readers of broken files raise nearly anything
        raise InputError(
            f"{picture} cannot be read as a picture: {error}; expected a file such as a .jpg"
        ) from error
