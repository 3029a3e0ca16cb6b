import struct
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import EpsImagePlugin, Image, UnidentifiedImageError

from dim_lightning.data import pictures
from dim_lightning.data.pictures import decode, to_rgb


def saved(tmp_path, image, name="picture.png", **options):
    image.save(tmp_path / name, **options)
    return str(tmp_path / name)


def gray_ramp():
    return np.linspace(0, 255, 16 * 16).round().astype(np.uint8).reshape(16, 16)


def test_gray_picture_has_three_equal_channels(tmp_path):
    pixels = decode(saved(tmp_path, Image.fromarray(gray_ramp())), 16)
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, np.repeat(gray_ramp()[..., None], 3, axis=2))


def test_sixteen_bits_keep_their_range(tmp_path):
    values = gray_ramp().astype(np.uint16) * 257
    pixels = decode(saved(tmp_path, Image.fromarray(values)), 16)
    assert np.array_equal(pixels[..., 0], gray_ramp())


@pytest.mark.parametrize("top", [1, 255])
def test_floats_are_read_as_zero_to_one_or_to_255(tmp_path, top):
    values = gray_ramp().astype(np.float32) / 255 * top
    pixels = decode(saved(tmp_path, Image.fromarray(values), "picture.tiff"), 16)
    assert np.abs(pixels[..., 0].astype(int) - gray_ramp()).max() <= 1


def test_one_bit_is_black_and_white(tmp_path):
    bits = Image.fromarray(gray_ramp()).point(lambda v: 255 * (v > 127)).convert("1")
    pixels = decode(saved(tmp_path, bits), 16)
    assert np.array_equal(pixels[..., 0], np.where(gray_ramp() > 127, 255, 0))


def test_cmyk_becomes_the_same_colour_in_rgb(tmp_path):
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    pixels = decode(saved(tmp_path, red, "picture.jpg", quality=95), 16)
    assert np.abs(pixels.astype(int) - (255, 0, 0)).max() < 12


def palette_with_transparency():
    image = Image.new("P", (16, 16), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.paste(1, (8, 0, 16, 16))
    image.info["transparency"] = 0
    return image


@pytest.mark.parametrize(
    ("image", "solid"),
    [
        (Image.new("RGBA", (16, 16), (10, 20, 30, 0)), (200, 100, 50)),
        (Image.new("LA", (16, 16), (10, 0)), (90, 90, 90)),
        (palette_with_transparency(), (200, 100, 50)),
    ],
    ids=["RGBA", "LA", "P"],
)
def test_transparent_pixels_are_white_and_opaque_ones_stay(tmp_path, image, solid):
    if image.mode == "RGBA":
        image.paste((*solid, 255), (8, 0, 16, 16))
    elif image.mode == "LA":
        image.paste((solid[0], 255), (8, 0, 16, 16))
    pixels = decode(saved(tmp_path, image), 16)
    assert (pixels[:, :8] == 255).all()
    assert (pixels[:, 8:] == solid).all()


def test_exif_rotation_is_undone(tmp_path):
    upright = Image.fromarray(np.repeat(gray_ramp()[..., None], 3, axis=2))
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn by 90 degrees to the right to see it upright"
    path = saved(tmp_path, upright.transpose(Image.Transpose.ROTATE_90), exif=exif)
    assert np.array_equal(decode(path, 16), np.asarray(upright))


def entry(tag, kind, content):
    return struct.pack(">HHI4s", tag, kind, 1 if kind == 3 else 3, content)


@pytest.mark.parametrize("suffix", [".png", ".webp"])
@pytest.mark.parametrize(
    ("exif", "turned"),
    [
        (b"Exif\0\0no exif at all", False),
        # to be turned, and a resolution that is a text
        (
            b"Exif\0\0MM\0*\0\0\0\x08\0\x02"
            + entry(0x0112, 3, b"\0\x06\0\0")
            + entry(0x011A, 2, b"72\0\0")
            + bytes(4),
            True,
        ),
    ],
)
def test_what_is_broken_in_exif_does_not_matter(tmp_path, exif, turned, suffix):
    lying = Image.fromarray(np.repeat(gray_ramp()[..., None], 3, axis=2))
    path = tmp_path / f"picture{suffix}"
    lying.save(path, exif=exif, **({"lossless": True} if suffix == ".webp" else {}))
    expected = lying.transpose(Image.Transpose.ROTATE_270) if turned else lying
    assert np.array_equal(decode(path, 16), np.asarray(expected))


def test_middle_of_a_wide_picture_is_taken(tmp_path):
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 255
    assert (decode(saved(tmp_path, Image.fromarray(pixels)), 10) == 255).all()


def test_shrinking_averages_fine_stripes(tmp_path):
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, ::2] = 255
    small = decode(saved(tmp_path, Image.fromarray(pixels)), 8)
    assert np.abs(small[:, 1:-1].astype(int) - 127).max() < 12  # without antialias: 0 or 255


def test_a_large_jpeg_read_at_a_fraction_looks_the_same(tmp_path):
    wave = (127 + 120 * np.sin(np.arange(512) / 40)[:, None] * np.ones(512)).astype(np.uint8)
    path = saved(tmp_path, Image.fromarray(wave), "large.jpg", quality=95)
    whole = Image.open(path).convert("RGB").resize((16, 16), Image.Resampling.BICUBIC)
    assert np.abs(decode(path, 16).astype(int) - np.asarray(whole)).max() <= 3


@settings(max_examples=30)
@given(
    mode=st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"]),
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    size=st.integers(1, 20),
)
def test_any_mode_and_size_comes_out_as_rgb_of_the_size_asked(
    tmp_path_factory, mode, width, height, size
):
    path = tmp_path_factory.mktemp("any") / "picture.tiff"
    Image.new(mode, (width, height)).save(path)
    assert decode(path, size).shape == (size, size, 3)


def test_a_picture_of_more_than_179_million_pixels_is_an_error(tmp_path):
    (tmp_path / "vast.ppm").write_bytes(b"P6 14000 14000 255\n")  # nothing is read but this
    with pytest.raises(Image.DecompressionBombError, match="exceeds limit of 178956970 pixels"):
        decode(str(tmp_path / "vast.ppm"), 8)


def test_a_truncated_picture_is_an_error(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    path = tmp_path / "cut.jpg"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-600])
    with pytest.raises(OSError, match="truncated"):
        decode(path, 16)


@pytest.mark.parametrize("shape", [(4, 4, 4), (4, 4, 2), (4, 4, 1), (3, 4, 4)])
def test_arrays_of_other_channels_are_refused(shape):
    """Pillow takes a fourth one for opacity, and a second."""
    with pytest.raises(ValueError, match=r"expected uint8 \[h, w, 3\], RGB, or \[h, w\], gray"):
        decode(np.zeros(shape, np.uint8), 4)


def test_what_is_in_a_file_is_read_by_the_decoders_of_pictures_alone(tmp_path, monkeypatch):
    """Pillow would give PostScript to a program, whatever the name of the file says."""
    asked = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *a, **k: asked.append(a))
    name = tmp_path / "cat.jpg"
    name.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(UnidentifiedImageError):
        decode(str(name), 16)
    assert asked == []


def test_large_pictures_are_converted_one_at_a_time(tmp_path, monkeypatch):
    at_once, most = [], []

    def slow(image):
        at_once.append(image)
        most.append(len(at_once))
        time.sleep(0.05)
        at_once.pop()
        return to_rgb(image)

    monkeypatch.setattr(pictures, "to_rgb", slow)
    path = saved(tmp_path, Image.fromarray(gray_ramp()))
    for limit, together in ((16 * 16, True), (16 * 16 - 1, False)):
        monkeypatch.setattr(pictures, "_MANY_PIXELS", limit)
        most.clear()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: decode(path, 16), range(8)))
        assert (max(most) > 1) == together
