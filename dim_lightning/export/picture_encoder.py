"""A trained encoder that takes pictures as they are."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, nn

from dim_lightning.data.augmentation import to_float
from dim_lightning.data.pictures import centre_square, decode, to_rgb, upright
from dim_lightning.encoders import Encoder, Features
from dim_lightning.encoders.encoder import evaluating
from dim_lightning.errors import InputError, check_least, check_list

Picture = Image.Image | Path | str
Pictures = Picture | Iterable[Picture] | Tensor


class PictureEncoder(nn.Module):
    """Pictures of any size to embeddings: an encoder with the preprocessing it was trained with.

    Pictures are a PIL image, the path of a file, any iterable of these, such as
    `Path("pictures").rglob("*.jpg")`, or a tensor uint8 [n, 3, size, size] of RGB values. Files and
    PIL images are brought to the size of the training: upright as their EXIF entry says, RGB, the
    centre square, scaled. (A large JPEG file is read at a fraction of its size, so that an image
    opened before differs from its file by a few levels.) The first file that cannot be read is
    named by an `InputError`; to pass such by, give one path at a time and catch it.

    It computes without gradients on the device it was moved to, in eval mode, also where it is a
    part of a module that is trained. To fine-tune, train `encoder`, the plain module:
    `encoder.train()` after any `train()` of a module around it, and images in [0, 1] to `encoder`.

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

    def train(self, mode: bool = True) -> "PictureEncoder":
        """Stays in eval mode: statistics of batch norms would change with what is encoded."""
        return super().train(False)

    def forward(self, pictures: Pictures, batch_size: int = 256) -> Float[Tensor, "n d"]:
        """The embedding of each picture, the mean of p(z|x); n = 1 for a single picture.

        Args:
            pictures: see the class.
            batch_size: pictures that are decoded and encoded at a time.

        Raises:
            InputError: a file cannot be read, or a tensor is of another type or shape.
        """
        return torch.cat([each.mean for each in self._features(pictures, batch_size)])

    if TYPE_CHECKING:  # nn.Module's own gives Any

        def __call__(self, pictures: Pictures, batch_size: int = 256) -> Float[Tensor, "n d"]:
            """As `forward`, with its hooks."""

    def layers(
        self, pictures: Pictures, batch_size: int = 256, names: Sequence[str] | None = None
    ) -> dict[str, Float[Tensor, "n k"]]:
        """Named layers of the encoder, in its order; the last of all is the embedding.

        Args:
            pictures: see the class.
            batch_size: pictures that are decoded and encoded at a time.
            names: which layers; all if None, which may be many times the embedding's memory.

        Raises:
            InputError: a file cannot be read, a tensor is of another type or shape, there is no
                layer of that name, or the names are no list.
        """
        check_list("names", names)
        known = list(self.about["outputs"])
        unknown = [name for name in names or () if name not in known]
        if unknown:
            raise InputError(
                f"the encoder has no layer {unknown[0]!r}; expected names from {', '.join(known)}"
            )
        kept = known if names is None else [name for name in known if name in names]
        parts = [
            {name: each.layers[name] for name in kept}
            for each in self._features(pictures, batch_size)
        ]
        return {name: torch.cat([part[name] for part in parts]) for name in kept}

    def _features(self, pictures: Pictures, batch_size: int) -> Iterator[Features]:
        check_least("batch_size", batch_size, 1)
        like = next(self.encoder.parameters(), torch.empty(0))
        for pixels in _batches(pictures, batch_size, self.image_size):
            with evaluating(self.encoder):
                features = self.encoder(to_float(pixels.to(like.device)).to(like.dtype))
            yield features


def _batches(pictures: Pictures, batch_size: int, size: int) -> Iterator[Tensor]:
    """The pictures in the size of the training, uint8 [n, 3, size, size]; at least one batch."""
    if isinstance(pictures, Tensor):
        if pictures.dtype != torch.uint8 or pictures.shape[1:] != (3, size, size):
            raise InputError(
                f"the tensor is {str(pictures.dtype).removeprefix('torch.')} "
                f"{list(pictures.shape)}; expected uint8 [n, 3, {size}, {size}], RGB values from 0 "
                "to 255; PIL images and files are scaled by themselves"
            )
        yield from pictures.split(batch_size)
        return
    if isinstance(pictures, Image.Image | Path | str):
        pictures = [pictures]
    if isinstance(pictures, Mapping | bytes) or not isinstance(pictures, Iterable):
        raise InputError(
            f"the pictures are {type(pictures).__name__}; expected PIL images or paths of files, "
            "one or any iterable of them, or a tensor"
        )
    left = iter(pictures)
    yield _pixels(list(islice(left, batch_size)), size)
    while some := list(islice(left, batch_size)):
        yield _pixels(some, size)


def _pixels(pictures: Sequence[Picture], size: int) -> UInt8[Tensor, "n 3 {size} {size}"]:
    pixels = [_decoded(picture, size) for picture in pictures]
    stacked = np.stack(pixels) if pixels else np.empty((0, size, size, 3), np.uint8)
    return torch.from_numpy(stacked).permute(0, 3, 1, 2)


def _decoded(picture: Picture, size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
    if isinstance(picture, Image.Image):
        return np.asarray(centre_square(to_rgb(upright(picture)), size))
    if not isinstance(picture, Path | str):
        raise InputError(
            f"a picture is {type(picture).__name__}; expected a PIL image or the path of a file"
        )
    try:
        return decode(picture, size)
    except Exception as error:  # the readers of broken files raise nearly anything
        folder = "a folder; Path(...).rglob('*.jpg') gives the files in one"
        raise InputError(
            f"{picture} cannot be read as a picture: {folder if Path(picture).is_dir() else error}"
            "; expected a file such as a .jpg"
        ) from error
