import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from dim_lightning.encoders import StridedEncoder
from dim_lightning.encoders.residual import ResidualBlock
from dim_lightning.errors import InputError


def test_shapes_and_the_code_is_the_mean_of_the_map():
    encoder = StridedEncoder(32)
    features = encoder(torch.rand(2, 3, 32, 32))
    assert features.feature_map.shape[1:] == encoder.feature_shape == (512, 4, 4)
    assert {name: layer.shape[1] for name, layer in features.layers.items()} == {
        "conv": 512 * 16,
        "quarters": 512 * 4,
        "embedding": 512,
    }
    quarter = features.feature_map[:, :, :2, 2:].mean(dim=(2, 3))  # above, on the right
    found = features.layers["quarters"].view(2, 512, 2, 2)[:, :, 0, 1]
    torch.testing.assert_close(found, quarter)
    torch.testing.assert_close(features.mean, features.feature_map.mean(dim=(2, 3)))
    assert features.log_variance is None
    assert encoder.embedding_dim == 512


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("side", range(3, 9))
def test_quarters_are_means_of_windows_that_every_device_takes(monkeypatch, side, layout):
    def refuse(*_):
        raise RuntimeError("Adaptive pool MPS: input sizes must be divisible by output sizes")

    adaptive = F.adaptive_avg_pool2d
    monkeypatch.setattr(F, "adaptive_avg_pool2d", refuse)
    encoder = StridedEncoder(32, widths=(4, 6))
    images = torch.rand(3, 3, 2 * side, 2 * side + 2).to(memory_format=layout)
    features = encoder(images)
    assert features.feature_map.shape[2:] == (side, side + 1)
    expected = adaptive(features.feature_map, 2).flatten(1)
    torch.testing.assert_close(features.layers["quarters"], expected)


def test_its_arithmetic_is_what_the_docstring_says():
    with torch.device("meta"):
        encoder = StridedEncoder(32).eval()
    with FlopCounterMode(display=False) as counter:
        encoder(torch.empty(1, 3, 32, 32, device="meta"))
    assert round(counter.get_total_flops() / 2e6, 1) == 36.4


def test_residual_blocks_follow_the_convolutions_that_halve():
    encoder = StridedEncoder(32, widths=(4, 6, 8, 10), blocks=(0, 1, 2))
    blocks = [part for part in encoder.trunk if isinstance(part, ResidualBlock)]
    assert [block.convolutions[0][0].in_channels for block in blocks] == [6, 8, 8]
    for block in blocks:  # a block whose last convolution gives nothing changes nothing
        torch.nn.init.zeros_(block.convolutions[-1][0].weight)
    plain = StridedEncoder(32, widths=(4, 6, 8, 10))
    kept = [part for part in encoder.trunk if not isinstance(part, ResidualBlock)]
    plain.trunk.load_state_dict(torch.nn.Sequential(*kept).state_dict())
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(encoder(images).feature_map, plain(images).feature_map)


@pytest.mark.parametrize("size", [8, 16, 24])
def test_smaller_images_are_encoded_too(size):
    features = StridedEncoder(32, widths=(4, 4, 4, 6))(torch.rand(2, 3, size, size))
    assert features.mean.shape == (2, 6)
    assert features.feature_map.shape[2:] == (size // 8, size // 8)
    assert ("quarters" in features.layers) == (size > 16)


@pytest.mark.parametrize(
    ("size", "settings"),
    [
        (4, {}),
        (32, {"widths": (4,)}),
        (32, {"widths": (4, 0)}),
        (32, {"pixel_range": (1.0, 0.0)}),
        (32, {"blocks": (1, 1)}),
        (32, {"blocks": (0, 0, -1)}),
    ],
)
def test_sizes_that_cannot_be_are_refused(size, settings):
    with pytest.raises(InputError, match=r"model\.encoder"):
        StridedEncoder(size, **settings)


def test_the_smallest_encoder():
    encoder = StridedEncoder(2, widths=(4, 6))
    assert encoder.feature_shape == (6, 1, 1)
    assert encoder(torch.rand(2, 3, 2, 2)).mean.shape == (2, 6)
