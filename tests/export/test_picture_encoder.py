import numpy as np
import pytest
import torch
from PIL import Image

import dim_lightning
from dim_lightning.data.pictures import decode
from dim_lightning.errors import InputError


@pytest.fixture
def encode(run):
    return dim_lightning.load(run)


@pytest.fixture
def files(tmp_path):
    """Pictures of several sizes and kinds."""
    rng = np.random.default_rng(0)
    paths = []
    for name, shape in {"a.png": (20, 30, 3), "b.jpg": (90, 60, 3), "c.png": (8, 8)}.items():
        pixels = rng.integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
        paths.append(tmp_path / name)
    return paths


def _expected(encoder, paths):
    pixels = np.stack([decode(path, 8) for path in paths])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        return encoder(images).mean


def test_files_as_the_data_module_decodes_them(encode, encoder, files):
    found = encode(files)
    assert found.shape == (3, 6) == (3, encode.embedding_dim)
    torch.testing.assert_close(found, _expected(encoder, files))
    torch.testing.assert_close(encode(str(path) for path in files), found)
    torch.testing.assert_close(encode(iter(files), batch_size=2), found)
    assert not found.requires_grad


def test_a_single_picture_is_a_batch_of_one(encode, encoder, files):
    with Image.open(files[0]) as picture:
        found = encode(picture)
    torch.testing.assert_close(found, _expected(encoder, files[:1]))
    torch.testing.assert_close(encode(files[0]), found)


def test_pil_images_are_turned_upright_and_left_as_they_were(encode, tmp_path, files):
    with Image.open(files[0]) as picture:
        exif = picture.getexif()
        exif[0x0112] = 6  # to be turned by 90 degrees
        picture.save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as turned:
        found = encode([turned])
        assert turned.size == (30, 20)
    torch.testing.assert_close(found, encode(tmp_path / "turned.png"))
    assert not torch.allclose(found, encode(files[0]))


def test_tensors_and_the_size_of_a_batch_does_not_matter(encode, encoder):
    images = torch.randint(256, (7, 3, 8, 8), dtype=torch.uint8)
    with torch.no_grad():
        expected = encoder(images / 255).mean
    torch.testing.assert_close(encode(images), expected)
    torch.testing.assert_close(encode(images, batch_size=3), expected)


def test_layers_in_order_the_last_one_is_the_embedding(encode, encoder):
    images = torch.randint(256, (5, 3, 8, 8), dtype=torch.uint8)
    with torch.no_grad():
        expected = encoder(images / 255).layers
    found = encode.layers(images, batch_size=2)
    assert list(found) == list(expected) == ["conv", "pool", "embedding"]
    torch.testing.assert_close(found, expected)
    some = encode.layers(images, names=("embedding", "pool"))
    torch.testing.assert_close(some, {name: expected[name] for name in ("pool", "embedding")})
    with pytest.raises(InputError, match="no layer 'fc'; expected names from conv, pool, emb"):
        encode.layers("missing.png", names=["fc"])  # before a picture is looked at
    with pytest.raises(InputError, match=r"names is 'pool'; expected a list; write \['pool'\]"):
        encode.layers("missing.png", names="pool")


def test_it_stays_in_eval_mode_within_a_module_that_is_trained(encode):
    images = torch.randint(256, (5, 3, 8, 8), dtype=torch.uint8)
    before = encode(images)
    around = torch.nn.Sequential(encode, torch.nn.Linear(6, 2)).train()
    assert around.training
    around(images)
    torch.testing.assert_close(encode(images), before, rtol=0, atol=0)
    assert encode.encoder.train().training  # to fine-tune
    weights = {name: value.clone() for name, value in encode.encoder.state_dict().items()}
    torch.testing.assert_close(encode(images), before, rtol=0, atol=0)
    assert encode.encoder.training
    assert all(value.equal(weights[name]) for name, value in encode.encoder.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_it_computes_in_the_type_of_its_weights(encode, dtype):
    images = torch.randint(256, (5, 3, 8, 8), dtype=torch.uint8)
    expected = encode(images)
    found = encode.to(dtype)(images)
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("none", [[], torch.empty((0, 3, 8, 8), dtype=torch.uint8)])
def test_no_pictures_have_no_embeddings(encode, none):
    assert encode(none).shape == (0, 6)


@pytest.mark.parametrize(
    ("tensor", "found"),
    [
        (torch.zeros(2, 3, 8, 8), r"float32 \[2, 3, 8, 8\]"),
        (torch.zeros((2, 3, 9, 8), dtype=torch.uint8), r"uint8 \[2, 3, 9, 8\]"),
        (torch.zeros((3, 8, 8), dtype=torch.uint8), r"uint8 \[3, 8, 8\]"),
    ],
)
def test_other_tensors_are_refused(encode, tensor, found):
    with pytest.raises(InputError, match=rf"{found}; expected uint8 \[n, 3, 8, 8\]"):
        encode(tensor)


def test_files_that_are_no_pictures_are_named(encode, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    for path in (tmp_path / "text.png", tmp_path / "missing.png"):
        with pytest.raises(InputError, match=f"{path} cannot be read as a picture"):
            encode([path])
    with pytest.raises(InputError, match=rf"{tmp_path} cannot .*: a folder; Path\(\.\.\.\)\.rglob"):
        encode(tmp_path)


@pytest.mark.parametrize(
    ("pictures", "settings", "words"),
    [
        ({"a.png": 1}, {}, "the pictures are dict; expected PIL images or paths"),
        (["a.png"], {"batch_size": 0}, "batch_size is 0; expected at least 1"),
    ],
)
def test_what_are_no_pictures_is_refused(encode, pictures, settings, words):
    with pytest.raises(InputError, match=words):
        encode(pictures, **settings)
