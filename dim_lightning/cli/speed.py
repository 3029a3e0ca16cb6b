"""How long a small convolution takes in each precision."""

import time
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn import functional as F

from dim_lightning.processor import imitates_bfloat16

_SECONDS = 1.8
_TYPES = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def seconds_by_precision(device: str, seconds: float = _SECONDS) -> dict[str, float]:
    """Precision, as trainer.precision has it -> seconds of one forward and backward, the fastest.

    float16 is left out on a CPU, where one step could take a minute, and bfloat16 on a GPU that
    imitates it.

    Args:
        device: cpu, cuda or mps.
        seconds: how long all are tried together.
    """
    names = [name for name in _TYPES if device != "cpu" or name != "16-mixed"]
    if imitates_bfloat16(torch.device(device)):
        names.remove("bf16-mixed")
    generator = torch.Generator().manual_seed(0)
    # a processor that imitates bfloat16 takes long enough; a GPU would only be waited for with few
    number = 16 if device == "cpu" else 2048
    images = torch.randn(number, 64, 16, 16, generator=generator).to(device)
    images = images.contiguous(memory_format=torch.channels_last)
    weight = torch.randn(128, 64, 3, 3, generator=generator).to(device).requires_grad_()
    fastest = {name: _timed(images, weight, device, _TYPES[name]) for name in names}  # prepares
    begin = time.perf_counter()
    while True:  # in turns, so that other programs disturb all alike
        again = {name: _timed(images, weight, device, _TYPES[name]) for name in names}
        fastest = {name: min(fastest[name], again[name]) for name in names}
        if time.perf_counter() - begin > seconds:
            return fastest


def _timed(images: Tensor, weight: Tensor, device: str, dtype: torch.dtype | None) -> float:
    start = time.perf_counter()
    _step(images, weight, device, dtype)
    return time.perf_counter() - start


def _step(images: Tensor, weight: Tensor, device: str, dtype: torch.dtype | None) -> None:
    mixed: AbstractContextManager = nullcontext()
    if dtype is not None:
        mixed = torch.autocast(device, dtype)
    images = images.detach().requires_grad_()
    with mixed:
        scores = F.leaky_relu(F.conv2d(images, weight, padding=1), 0.2)
    scores.float().square().mean().backward()
    weight.grad = None
    if device != "cpu":
        torch.accelerator.synchronize()
