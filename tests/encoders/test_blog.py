import pytest
import torch
from torch import nn

from dim_lightning.encoders import BlogEncoder
from dim_lightning.errors import InputError


def num_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def convolution_parameters(inputs, outputs):
    return (
        9 * inputs * outputs + outputs + 2 * outputs
    )  # weight, bias, batch norm's scale and shift


@pytest.mark.parametrize(
    ("image_size", "widths", "expected"),
    [(32, (64, 128, 256), 1_684_480), (64, (32, 64, 128, 256), 1_702_144)],
)
def test_parameter_counts_of_the_script(image_size, widths, expected):
    encoder = BlogEncoder(image_size, widths=widths)
    channels = (3, *widths)
    by_hand = sum(convolution_parameters(*pair) for pair in zip(channels, widths, strict=False))
    by_hand += 2 * convolution_parameters(256, 256) + 2 * (256 * 256 + 256)
    assert num_parameters(encoder) == by_hand == expected


@pytest.mark.parametrize(("image_size", "widths"), [(32, (64, 128, 256)), (64, (32, 64, 128, 256))])
def test_feature_map_is_4x4x256(image_size, widths):
    encoder = BlogEncoder(image_size, widths=widths)
    features = encoder(torch.rand(2, 3, image_size, image_size))
    assert encoder.feature_shape == (256, 4, 4)
    assert features.feature_map.shape == (2, 256, 4, 4)
    assert features.mean.shape == features.log_variance.shape == (2, 256)
    assert {name: x.shape[1] for name, x in features.layers.items()} == {
        "conv": 4096,
        "pool": 256,
        "embedding": 256,
    }
    assert features.layers["embedding"] is features.mean


def test_equals_the_layers_as_the_article_orders_them():
    """Convolution, batch norm, LeakyReLU, then pooling: our order must give the same numbers."""
    torch.manual_seed(0)
    encoder = BlogEncoder(16, widths=(8, 16), embedding_dim=8, pixel_range=(-1.0, 1.0)).double()
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):  # scales of both signs are what could break it
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    images = torch.rand(5, 3, 16, 16, dtype=torch.double)

    def block(x, convolution, norm):
        return torch.nn.functional.leaky_relu(norm(convolution(x)), 0.2)

    local, glob = encoder.local_trunk, encoder.global_trunk
    x = 2 * images - 1
    for i in (0, 4):
        x = torch.nn.functional.max_pool2d(block(x, local[i], local[i + 1]), 2)
    features = encoder(images)
    torch.testing.assert_close(features.feature_map, x)
    for i in (0, 3):
        x = block(x, glob[i], glob[i + 1])
    pooled = x.amax(dim=(2, 3))
    torch.testing.assert_close(features.layers["pool"], pooled)
    torch.testing.assert_close(features.mean, encoder.mean(pooled))
    torch.testing.assert_close(features.log_variance, encoder.log_variance(pooled))


def test_image_too_small_is_refused():
    with pytest.raises(InputError, match=r"image size 8 is too small .* at least 16 pixels"):
        BlogEncoder(8, widths=(64, 128, 256))
    assert BlogEncoder(16, widths=(8, 8, 8)).feature_shape == (8, 2, 2)


def test_the_smallest_encoder():
    encoder = BlogEncoder(4, widths=(1,), embedding_dim=1, attention_heads=1)
    assert encoder.feature_shape == (1, 2, 2)
    assert encoder(torch.rand(2, 3, 4, 4)).mean.shape == (2, 1)


@pytest.mark.parametrize(
    "settings",
    [{"widths": ()}, {"widths": (8, 0)}, {"embedding_dim": 0}, {"pixel_range": (1.0, -1.0)}],
)
def test_sizes_that_cannot_be_are_refused(settings):
    with pytest.raises(InputError, match=r"BlogEncoder got .*; expected .*; set model\.encoder"):
        BlogEncoder(32, **settings)


def with_and_without_attention():
    encoders = []
    for heads in (0, 4):
        torch.manual_seed(0)
        encoders.append(BlogEncoder(16, widths=(8, 16), embedding_dim=8, attention_heads=heads))
    return encoders


def test_with_attention_an_encoder_starts_as_without():
    plain, attentive = with_and_without_attention()
    images = torch.rand(4, 3, 16, 16)
    without, features = plain(images), attentive(images)
    assert torch.equal(features.mean, without.mean)
    assert torch.equal(features.log_variance, without.log_variance)
    assert torch.equal(features.feature_map, without.feature_map)
    assert num_parameters(attentive) - num_parameters(plain) == 2 * 16 + 4 * (16 * 16 + 16) + 1


def test_without_attention_there_is_nothing_of_it_in_a_checkpoint():
    assert not any(name.startswith("attention") for name in BlogEncoder(32).state_dict())


def test_attention_moves_the_code_and_leaves_the_local_features_local():
    plain, attentive = (encoder.eval() for encoder in with_and_without_attention())
    torch.nn.init.ones_(attentive.attention.gate)
    images = torch.rand(2, 3, 16, 16)
    without, features = plain(images), attentive(images)
    assert torch.equal(features.feature_map, without.feature_map)
    assert not torch.isclose(features.mean, without.mean).any()
    features.mean.sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in attentive.attention.parameters())


@pytest.mark.parametrize("heads", [-1, 5])
def test_heads_that_cannot_be_are_refused(heads):
    with pytest.raises(InputError, match="attention_heads"):
        BlogEncoder(16, widths=(8, 16), attention_heads=heads)


@pytest.mark.parametrize("scales", [0, 1, 2])
def test_scales_are_the_maps_of_the_blocks_before_the_last(scales):
    encoder = BlogEncoder(20, widths=(4, 8, 16), embedding_dim=8, scales=scales)
    images = torch.rand(3, 3, 20, 20)
    features = encoder(images)
    first = encoder.local_trunk[:4](images - 0.5)
    second = encoder.local_trunk[4:8](first)
    expected = [first, second][2 - scales :]
    assert len(features.scales) == len(expected) == scales
    assert all(torch.equal(*pair) for pair in zip(features.scales, expected, strict=True))
    assert encoder.scale_shapes == tuple(x.shape[1:] for x in expected)
    assert encoder.scale_shapes == ((4, 10, 10), (8, 5, 5))[2 - scales :]
    assert torch.equal(features.feature_map, encoder.local_trunk[8:](second))


def test_scales_change_nothing_else():
    encoders = []
    for scales in (0, 2):
        torch.manual_seed(0)
        encoders.append(BlogEncoder(16, widths=(4, 8, 16), embedding_dim=8, scales=scales))
    images = torch.rand(3, 3, 16, 16)
    without, features = (encoder(images) for encoder in encoders)
    assert torch.equal(features.mean, without.mean)
    assert list(features.layers) == list(without.layers)
    assert num_parameters(encoders[0]) == num_parameters(encoders[1])


@pytest.mark.parametrize("scales", [-1, 3])
def test_more_scales_than_blocks_are_refused(scales):
    with pytest.raises(InputError, match=rf"scales {scales} with 3 widths; expected 0 to 2"):
        BlogEncoder(32, scales=scales)
