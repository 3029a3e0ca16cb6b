"""A convolution whose weights' gradient is one matrix product where that is quicker."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

# Of an output whose weight gradient is taken as a matrix product
MOST_LOCATIONS = {torch.bfloat16: 36, torch.float32: 9}


class Convolution(nn.Conv2d):
    """`nn.Conv2d`, with a quicker backward pass for small feature maps on a CPU.

    The convolution library's gradient of the weights runs at a third of the rate of its other
    passes where the map has few locations and many channels; the same sum, written as one product
    of the unfolded input with the output's gradient, at the rate of a matrix product. Everywhere
    else, and wherever no gradient is asked for, it is `nn.Conv2d`.
    """

    def forward(self, input: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        """The convolution."""
        if not self._by_product(input):
            return super().forward(input)
        dtype = _computed_in(input)
        bias = None if self.bias is None else self.bias.to(dtype)
        found = _Convolved.apply(input.to(dtype), self.weight.to(dtype), self.stride, self.padding)
        return found if bias is None else found + bias[:, None, None]

    def _by_product(self, x: Tensor) -> bool:
        plain = self.groups == 1 and self.dilation == (1, 1) and self.padding_mode == "zeros"
        if not plain or isinstance(self.padding, str) or x.device.type != "cpu":
            return False
        if torch.compiler.is_compiling():
            return False
        locations = 1
        for side, size, stride, pad in zip(
            x.shape[2:], self.kernel_size, self.stride, self.padding, strict=True
        ):
            locations *= (side + 2 * int(pad) - size) // stride + 1
        few = locations <= MOST_LOCATIONS.get(_computed_in(x), 0)
        return few and torch.is_grad_enabled() and self.weight.requires_grad


class _Convolved(torch.autograd.Function):
    """The convolution, and its gradients."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, None, stride, padding)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        x, weight = ctx.saved_tensors
        of_input = None
        if ctx.needs_input_grad[0]:
            of_input = conv2d_input(x.shape, weight, gradient, ctx.stride, ctx.padding)
        windows = unfolded(x, weight.shape[2:], ctx.stride, ctx.padding)
        rows = gradient.permute(0, 2, 3, 1).flatten(0, 2)
        outputs, channels, height, width = weight.shape
        product = rows.mT @ windows
        of_weight = product.view(outputs, height, width, channels).permute(0, 3, 1, 2)
        return of_input, of_weight, None, None


def unfolded(
    x: Float[Tensor, "n c h w"],
    size: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
) -> Float[Tensor, "r k"]:
    """The values under each window, [n * h2 * w2, size * size * c], channels last in a row."""
    (height, width), (down, right) = size, stride
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, padding[1], padding[1], padding[0], padding[0]))
    windows = padded.unfold(1, height, down).unfold(2, width, right)  # [n, h2, w2, c, size, size]
    return windows.permute(0, 1, 2, 4, 5, 3).flatten(3).flatten(0, 2)


def _computed_in(x: Tensor) -> torch.dtype:
    if torch.is_autocast_enabled(x.device.type):
        return torch.get_autocast_dtype(x.device.type)
    return x.dtype
