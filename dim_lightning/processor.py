"""What processors and GPUs can be used for, and what they are quick at."""

from typing import Any

import torch

# the others change the type of the weights, and images are float32
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
CUDA_ADVICE = (
    "update the driver, or install a build of torch for its CUDA (pytorch.org); to train on the "
    'CPU, hide the GPU: export CUDA_VISIBLE_DEVICES=""'
)
APPLE_GPU_UNTRIED = "dim_lightning was never tried on Apple's GPUs"
APPLE_GPU_ADVICE = (
    "update torch and torchvision, to PyTorch 2.14 or newer, or set trainer.accelerator to cpu"
)
_SHORT_PRECISIONS = {"None": "32-true", "32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
_AMPERE = (8, 0)  # compute capability


def is_trained_in(precision: str | int | None) -> bool:
    """Whether this package trains in a precision of the Trainer's, on some device."""
    return full_precision(precision) in PRECISIONS


def full_precision(precision: str | int | None) -> str:
    """The Trainer's own name of a precision that it is given."""
    return _SHORT_PRECISIONS.get(str(precision), str(precision))


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether it is a processor with instructions for products of bfloat16."""
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # as of PyTorch 2.6
    known = [getattr(torch.cpu, name) for name in names if hasattr(torch.cpu, name)]
    return device.type == "cpu" and any(has() for has in known)


def imitates_bfloat16(device: torch.device) -> bool:
    """Whether it is an NVIDIA GPU from before Ampere, which computes bfloat16 by other means."""
    return _nvidia(device) and torch.cuda.get_device_capability(device) < _AMPERE


def has_tf32(device: torch.device) -> bool:
    """Whether it is an NVIDIA GPU, from Ampere on, that can round factors of float32 to 10 bits."""
    return _nvidia(device) and torch.cuda.get_device_capability(device) >= _AMPERE


def _nvidia(device: torch.device) -> bool:
    return device.type == "cuda" and not torch.version.hip


def cuda_error() -> str | None:
    """Why CUDA cannot use the GPUs of this machine; None if it can, or if there are none."""
    if not torch.cuda.device_count():  # as the driver counts, however old it is
        return None
    try:
        torch.cuda.init()
    except RuntimeError as error:
        return str(error).partition(". ")[0]
    return None


def has_apple_gpu() -> bool:
    """Whether this is a Mac whose GPU PyTorch can use."""
    return torch.backends.mps.is_available()


def takes_apple_gpu(accelerator: Any) -> bool:
    """Whether a command computes on Apple's GPU, which has to be asked for.

    Args:
        accelerator: trainer.accelerator.
    """
    return accelerator in ("gpu", "mps") and has_apple_gpu()


def apple_gpu_error() -> str | None:
    """Why no network should learn on Apple's GPU; None if nothing is known against it."""
    if torch.__version__ >= "2.14":  # compared as versions
        return None
    return (
        f"PyTorch {torch.__version__} computes wrong gradients on Apple's GPUs, without a word, in "
        "the memory layout of the encoders here (pytorch#175189)"
    )
