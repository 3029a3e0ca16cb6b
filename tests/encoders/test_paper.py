from itertools import pairwise

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from dim_lightning.encoders import PaperEncoder, PaperEncoder64
from dim_lightning.errors import InputError

SMALL = {"widths": (4, 8, 16), "hidden_dim": 32, "embedding_dim": 6}
SMALL_64 = {"widths": (4, 5, 8, 7, 6), "hidden_dim": 16, "embedding_dim": 6}


def on_meta(cls, size, **settings):
    """A network without memory: counting needs none."""
    with torch.device("meta"):
        return cls(size, **settings).eval()


def multiply_adds(encoder, size):
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        encoder(torch.empty(1, 3, size, size, device="meta"))
    return counter.get_total_flops() // 2


def batch_norms(*widths):
    return 2 * sum(widths)


def test_the_32x32_encoder_has_the_size_of_the_paper():
    encoder = on_meta(PaperEncoder, 32)
    convolutions = [3 * 16 * 64, 64 * 16 * 128, 128 * 16 * 256]
    linear = [256 * 16 * 1024, 1024 * 64]
    parameters = sum(convolutions) + sum(linear) + batch_norms(64, 128, 256, 1024) + 64
    assert sum(p.numel() for p in encoder.parameters()) == parameters == 4_921_280
    places = [16 * 16, 8 * 8, 4 * 4]
    cost = sum(c * p for c, p in zip(convolutions, places, strict=True)) + sum(linear)
    assert multiply_adds(encoder, 32) == cost == 21_823_488


def test_the_64x64_encoder_has_the_size_of_the_paper():
    encoder = on_meta(PaperEncoder64, 64)
    channels = (3, 96, 192, 384, 384, 192)
    convolutions = [9 * a * b for a, b in pairwise(channels)]
    linear = [192 * 7 * 7 * 4096, 4096 * 4096, 4096 * 64]
    norms = batch_norms(*channels[1:], 4096, 4096)
    parameters = sum(convolutions) + sum(linear) + norms + 64
    assert sum(p.numel() for p in encoder.parameters()) == parameters == 58_416_160
    places = [64**2, 31**2, 15**2, 15**2, 15**2]
    cost = sum(c * p for c, p in zip(convolutions, places, strict=True)) + sum(linear)
    assert multiply_adds(encoder, 64) == cost == 822_806_528


@pytest.mark.parametrize(
    ("cls", "size", "shape", "conv", "fc"),
    [
        (PaperEncoder, 32, (128, 8, 8), 256 * 4 * 4, 1024),
        (PaperEncoder64, 64, (384, 15, 15), 192 * 7 * 7, 4096),
    ],
)
def test_the_feature_map_and_the_layers_of_the_paper(cls, size, shape, conv, fc):
    encoder = on_meta(cls, size)
    features = encoder(torch.empty(2, 3, size, size, device="meta"))
    assert encoder.feature_shape == features.feature_map.shape[1:] == shape
    layers = {name: layer.shape for name, layer in features.layers.items()}
    assert layers == {"conv": (2, conv), "fc": (2, fc), "y": (2, 64)}
    assert list(layers)[-1] == "y"
    assert features.layers["y"] is features.mean
    assert not encoder.is_gaussian
    assert features.log_variance is None


def test_the_32x32_encoder_is_its_formula():
    torch.manual_seed(0)
    encoder = PaperEncoder(16, **SMALL).double()
    images = torch.rand(5, 3, 16, 16, dtype=torch.double)
    features = encoder(images)
    x, maps = 2 * images - 1, []
    for convolution, norm, _ in (*encoder.local_trunk, encoder.last):
        x = norm(torch.nn.functional.conv2d(x, convolution.weight, stride=2, padding=1)).relu()
        maps.append(x)
    torch.testing.assert_close(features.feature_map, maps[1])
    torch.testing.assert_close(features.layers["conv"], maps[2].flatten(1))
    linear, norm, _ = encoder.head.hidden
    hidden = norm(maps[2].flatten(1) @ linear.weight.T).relu()
    torch.testing.assert_close(features.layers["fc"], hidden)
    mean = encoder.head.mean
    torch.testing.assert_close(features.mean, hidden @ mean.weight.T + mean.bias)


def test_the_64x64_encoder_pools_after_the_relu():
    """Our order, pooling first, gives the same numbers."""
    torch.manual_seed(0)
    encoder = PaperEncoder64(24, **SMALL_64).double()
    images = torch.rand(3, 3, 24, 24, dtype=torch.double)
    x, maps = 2 * images - 1, []
    for block in (*encoder.local_trunk, *encoder.rest):
        x = block[1](block[0](x)).relu()
        if len(block) == 4:
            x = torch.nn.functional.max_pool2d(x, 3, 2)
        maps.append(x)
    features = encoder(images)
    torch.testing.assert_close(features.feature_map, maps[2])
    torch.testing.assert_close(features.layers["conv"], maps[4].flatten(1))


@pytest.mark.parametrize(("cls", "settings"), [(PaperEncoder, SMALL), (PaperEncoder64, SMALL_64)])
def test_a_gaussian_one_starts_as_the_deterministic_one(cls, settings):
    features = []
    for gaussian in (False, True):
        torch.manual_seed(0)
        encoder = cls(24, **settings, gaussian=gaussian)
        assert encoder.is_gaussian == gaussian
        features.append(encoder(torch.rand(4, 3, 24, 24, generator=torch.Generator())))
    plain, gaussian = features
    assert torch.equal(plain.mean, gaussian.mean)
    assert gaussian.log_variance.shape == (4, 6)
    assert not torch.equal(gaussian.log_variance, gaussian.mean)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: PaperEncoder(7, **SMALL), "expected at least 8 pixels"),
        (lambda: PaperEncoder64(14, **SMALL_64), "expected at least 15 pixels"),
        (lambda: PaperEncoder(32, widths=(8,)), "at least 4 sizes"),
        (lambda: PaperEncoder(32, embedding_dim=0), r"model\.encoder\.init_args"),
        (lambda: PaperEncoder64(64, pixel_range=(1.0, 0.0)), "from low to high"),
    ],
)
def test_what_cannot_be_is_refused(make, said):
    with pytest.raises(InputError, match=said):
        make()


@pytest.mark.parametrize(("cls", "settings"), [(PaperEncoder, SMALL), (PaperEncoder64, SMALL_64)])
def test_images_of_another_size_are_refused(cls, settings):
    with pytest.raises(InputError, match=r"data\.view_sizes"):
        cls(32, **settings)(torch.rand(2, 3, 24, 24))


def test_the_smallest_images():
    assert PaperEncoder(8, **SMALL).feature_shape == (8, 2, 2)
    assert PaperEncoder64(15, **SMALL_64).feature_shape == (8, 3, 3)
