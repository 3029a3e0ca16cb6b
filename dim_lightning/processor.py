"""What a processor is quick at."""

import torch


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether it is a processor with instructions for products of bfloat16."""
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # as of PyTorch 2.6
    known = [getattr(torch.cpu, name) for name in names if hasattr(torch.cpu, name)]
    return device.type == "cpu" and any(has() for has in known)
