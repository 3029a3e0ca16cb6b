"""Convolutions' rates under those of matrix products and copies; where_time_goes.py draws them."""

import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn

from dim_lightning.encoders import BlogEncoder, PaperEncoder, ResidualEncoder, StridedEncoder
from dim_lightning.run.curves import figure_png
from dim_lightning.writing import write_atomically

BATCH = 64
PRODUCTS = (1024, 2048, 4096)  # rows and columns of the matrices that are multiplied
TYPES = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16}
WIDTHS = {
    BlogEncoder: [64, 128, 256],
    PaperEncoder: [64, 128, 256],
    ResidualEncoder: [64, 128, 256, 512],
    StridedEncoder: [64, 128, 256, 512],
}


def roofline(dtype: torch.dtype) -> dict[str, Any]:
    """Rates in one type: of matrix products, of copies, and of each encoder's convolutions."""
    block = torch.randn(2**25)
    copy = torch.empty_like(block)  # fresh memory would be timed with it
    copying = 2 * 4 * len(block) / _seconds(lambda: copy.copy_(block)) / 1e9
    rates = {
        encoder.__name__: [
            _rates(layer, size, dtype) for layer, size in _convolutions(encoder(32, widths=widths))
        ]
        for encoder, widths in WIDTHS.items()
    }
    return {"product_gflops": _peak(dtype), "copy_gbytes": copying, "convolutions": rates}


def _peak(dtype: torch.dtype) -> float:
    """The largest rate of a matrix product, of several sizes and both layouts, in Gflop/s."""
    rates = []
    for size in PRODUCTS:
        a, b = torch.randn(2, size, size, dtype=dtype).unbind()
        for other in (b, b.T):
            seconds = min(_times(partial(torch.mm, a, other), repeats=8))
            rates.append(2 * size**3 / seconds / 1e9)
    return max(rates)


def _convolutions(encoder: nn.Module) -> list[tuple[nn.Conv2d, torch.Size]]:
    """Each convolution and the shape of what it is given."""
    seen: list[tuple[nn.Conv2d, torch.Size]] = []
    for layer in encoder.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_pre_hook(
                lambda part, inputs: seen.append((part, inputs[0].shape))  # type: ignore
            )
    with torch.no_grad():
        encoder(torch.rand(BATCH, 3, 32, 32))
    return seen


def _rates(layer: nn.Conv2d, shape: torch.Size, dtype: torch.dtype) -> dict[str, float]:
    """Operations a byte, and Gflop/s forward and backward."""
    layer._forward_pre_hooks.clear()
    layer = layer.to(dtype)
    x = torch.randn(shape, dtype=dtype).contiguous(memory_format=torch.channels_last)
    x.requires_grad_(shape[1] > 3)
    y = layer(x)
    gradient = torch.randn_like(y)
    needed: list[Tensor] = [layer.weight] + ([x] if x.requires_grad else [])
    operations = 2 * y.numel() * layer.weight[0].numel()
    forward = _seconds(lambda: layer(x))
    both = _seconds(lambda: torch.autograd.grad(layer(x), needed, gradient))
    read = x.element_size() * (x.numel() + y.numel() + layer.weight.numel())
    return {
        "intensity": operations / read,
        "forward_gflops": operations / forward / 1e9,
        "backward_gflops": len(needed) * operations / (both - forward) / 1e9,
    }


def _seconds(run: Callable[[], Any]) -> float:
    return statistics.median(_times(run, repeats=15))


def _times(run: Callable[[], Any], repeats: int) -> list[float]:
    times = []
    for _ in range(repeats + 3):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times[3:]


def draw_roofline(found: dict[str, Any], dtype: torch.dtype, path: Path) -> None:
    """Each convolution: operations a byte against the rate."""
    figure, axes = plt.subplots(figsize=(9, 5), dpi=110)
    peak, copying = found["product_gflops"], found["copy_gbytes"]
    left, right = 5.0, 2000.0
    bend = peak / copying
    axes.plot([left, bend, right], [left * copying, peak, peak], "k-", label="copies, products")
    for i, (name, layers) in enumerate(found["convolutions"].items()):
        x = [layer["intensity"] for layer in layers]
        for mark, way in (("o", "forward"), ("v", "backward")):
            y = [layer[f"{way}_gflops"] for layer in layers]
            axes.plot(x, y, mark, color=f"C{i}", label=f"{name}, {way}", alpha=0.7)
    name = str(dtype).removeprefix("torch.")
    axes.set(xscale="log", xlabel="operations a byte", ylabel=f"Gflop/s, {name}")
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.legend(loc="lower right", fontsize=8)
    axes.grid(alpha=0.3)
    figure.tight_layout()
    write_atomically(path, figure_png(figure))
    plt.close(figure)
