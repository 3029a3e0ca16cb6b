"""One picture, of any size and mode, as RGB pixels of one size."""

import functools
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

# of the suffixes that are taken for pictures; others run other decoders, one even a program
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "TGA", "AVIF", "JPEG2000")
_MANY_PIXELS = 2**25  # a picture of more is converted alone: it takes several copies of it
_one_large = threading.Lock()
WHITE = (255, 255, 255, 255)
_ORIENTATION = 0x0112  # of EXIF: how the picture lies
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(picture: str | Path | np.ndarray, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """The picture as RGB: its shorter side scaled to `size` (antialiased), its centre cut out.

    Turned upright as its EXIF entry says; what shines through a transparent picture is white; of
    an animation, the first frame.

    Args:
        picture: a file's path, or pixels [h, w, 3] or [h, w] (gray) in 0..255.
        size: height and width of the result, in pixels.

    Raises:
        Exception: nearly any; the readers of broken files are not choosy.
    """
    if isinstance(picture, np.ndarray):
        if picture.ndim != 2 and picture.shape[2:] != (3,):
            raise ValueError(
                f"the array is {picture.dtype} {list(picture.shape)}; expected uint8 [h, w, 3], "
                "RGB, or [h, w], gray"
            )
        return np.asarray(centre_square(to_rgb(Image.fromarray(picture)), size))
    with Image.open(picture, formats=_known_formats()) as opened:
        # A JPEG is read at a half, a quarter or an eighth of its size, where still twice `size`.
        opened.draft(None, (2 * size, 2 * size))
        with _one_large if opened.width * opened.height > _MANY_PIXELS else nullcontext():
            return np.asarray(centre_square(to_rgb(upright(opened)), size))


@functools.cache
def _known_formats() -> tuple[str, ...]:
    """Those that this Pillow can read, by the content of a file, whatever its name says."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF entry says; as it is where none can be read.

    Pillow's exif_transpose writes all other entries anew, and fails where one of them is broken.
    """
    image.load()  # that of a PNG may stand behind the pixels
    try:
        orientation: Any = image.getexif().get(_ORIENTATION)
    except Exception:  # of nearly any kind
        orientation = None
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def to_rgb(image: Image.Image) -> Image.Image:
    """The image in mode RGB, whatever its mode."""
    if image.mode.startswith(("I", "F")):  # Pillow would clip them to 0..255
        image = _eight_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, WHITE), image).convert("RGB")
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """A 16-bit or floating-point gray image in 0..255; floats are read as 0..1 or 0..255."""
    values = np.array(image, np.float32)
    if image.mode.startswith("I"):
        values /= 257  # 65535 -> 255
    elif values.max(initial=0) <= 1:
        values *= 255
    return Image.fromarray(
        np.clip(np.rint(values, out=values), 0, 255, out=values).astype(np.uint8)
    )


def centre_square(image: Image.Image, size: int) -> Image.Image:
    """The largest square in the middle of `image`, scaled to `size`."""
    width, height = image.size
    side = min(width, height)
    if (width, height) == (size, size):
        return image
    left, top = (width - side) / 2, (height - side) / 2
    # Pillow's filters widen when shrinking, i.e. antialias.
    box = (left, top, left + side, top + side)
    return image.resize((size, size), Image.Resampling.BICUBIC, box)
