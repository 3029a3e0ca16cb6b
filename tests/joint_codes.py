"""Priors on two processes, each with its own part of a batch, joined by gloo."""

import torch
from joined import joined

from dim_lightning.infomax.priors import NoiseInjection, sigreg
from dim_lightning.processes import uneven_rows

PARTS = (slice(0, 5), slice(5, 12))


def joint_codes():
    """The joint batch [12, 3] in float64."""
    return torch.randn(12, 3, generator=torch.Generator().manual_seed(0), dtype=torch.double)


def values_and_gradients(codes, seed):
    """The SIGReg statistic and the normalised codes, with a gradient of each."""
    codes = codes.clone().requires_grad_()
    statistic = sigreg(codes, torch.Generator().manual_seed(seed), num_slices=6)
    (of_statistic,) = torch.autograd.grad(statistic, codes)
    normalized = NoiseInjection(3).normalize(codes)
    (of_normalized,) = torch.autograd.grad(normalized.pow(3).sum(), codes)
    return statistic.detach(), of_statistic, normalized.detach(), of_normalized


def work(rank, folder):
    """One of two processes; both draw from equal generators, as in training."""
    codes = joint_codes()[PARTS[rank]]
    with joined(rank, len(PARTS), folder), uneven_rows(len(codes)):
        torch.save(values_and_gradients(codes, seed=0), folder / f"{rank}.pt")
