"""The convolution with a gradient of its own against torch's."""

import copy

import pytest
import torch
from torch import nn

from dim_lightning.encoders.convolution import MOST_LOCATIONS, Convolution, unfolded

CASES = [
    pytest.param(size, stride, padding, side, bias, id=f"{size}x{size}s{stride}p{padding}")
    for size, stride, padding, side, bias in [
        (3, 1, 1, 3, False),
        (4, 2, 1, 6, True),
        (4, 2, 1, 7, False),
        (1, 2, 0, 5, True),
    ]
]


def layers(size: int, stride: int, padding: int, bias: bool) -> tuple[nn.Conv2d, nn.Conv2d]:
    torch.manual_seed(0)
    own = Convolution(5, 6, size, stride, padding, bias=bias)
    plain = nn.Conv2d(5, 6, size, stride, padding, bias=bias)
    plain.load_state_dict(own.state_dict())
    return own, plain


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.bfloat16, 0.02), (torch.float32, 1e-5)], ids=str
)
@pytest.mark.parametrize(("size", "stride", "padding", "side", "bias"), CASES)
def test_values_and_gradients_are_those_of_torch(
    size: int,
    stride: int,
    padding: int,
    side: int,
    bias: bool,
    dtype: torch.dtype,
    tolerance: float,
) -> None:
    side += 2 * (dtype == torch.bfloat16)  # where larger maps count as small, too
    own, plain = layers(size, stride, padding, bias)
    own, plain = own.to(dtype), plain.double()
    plain.load_state_dict(own.state_dict())  # the same rounded weights
    images = torch.randn(3, 5, side, side).to(dtype)
    first = images.clone().requires_grad_()
    second = images.double().requires_grad_()
    found, expected = own(first), plain(second)
    assert found.shape[2] * found.shape[3] <= MOST_LOCATIONS[dtype]
    assert type(found.grad_fn).__name__ in ("_ConvolvedBackward", "AddBackward0")
    gradient = torch.randn(expected.shape).to(dtype)
    found.backward(gradient)
    expected.backward(gradient.double())
    pairs = [(found, expected), (first.grad, second.grad), (own.weight.grad, plain.weight.grad)]
    for got, wanted in pairs + ([(own.bias.grad, plain.bias.grad)] if bias else []):
        torch.testing.assert_close(
            got.double(), wanted, rtol=tolerance, atol=tolerance * wanted.std().item()
        )


def test_autocast_gives_float32_gradients() -> None:
    own, plain = layers(3, 1, 1, False)
    images = torch.randn(8, 5, 3, 3)
    for layer in (own, plain):
        with torch.autocast("cpu", torch.bfloat16):
            found = layer(images)
        assert found.dtype == torch.bfloat16
        found.float().square().sum().backward()
    assert own.weight.grad.dtype == torch.float32
    torch.testing.assert_close(own.weight.grad, plain.weight.grad, rtol=0.03, atol=0.2)


def test_large_maps_are_exactly_those_of_torch() -> None:
    own, plain = layers(3, 1, 1, True)
    for images, dtype in [
        (torch.randn(2, 5, 4, 4), torch.float32),
        (torch.randn(2, 5, 8, 8), torch.bfloat16),
    ]:
        results = []
        for layer in (copy.deepcopy(own), copy.deepcopy(plain)):
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
                found = layer(images)
            found.float().square().sum().backward()
            results.append((found, layer.weight.grad))
        for got, wanted in zip(*results, strict=True):
            assert torch.equal(got, wanted)


def test_unfolded_rows_are_windows() -> None:
    image = torch.arange(2 * 3 * 4 * 4, dtype=torch.float32).view(2, 3, 4, 4)
    rows = unfolded(image, (2, 2), (2, 2), (0, 0))
    assert rows.shape == (2 * 2 * 2, 2 * 2 * 3)
    window = image[1, :, 2:4, 0:2]  # the second image's third window
    assert torch.equal(rows[4 + 2], window.permute(1, 2, 0).flatten())


def test_frozen_weights_take_no_gradient() -> None:
    own, _ = layers(3, 1, 1, False)
    own = own.bfloat16().requires_grad_(False)
    images = torch.randn(2, 5, 3, 3).bfloat16().requires_grad_()
    own(images).sum().backward()
    assert own.weight.grad is None
    assert images.grad is not None
