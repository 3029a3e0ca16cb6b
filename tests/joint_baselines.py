"""Every baseline on one joint batch, in one process or in several: what a test starts in each."""

from pathlib import Path

import torch
from joined import averaged, joined
from joint_batch import NUM_IMAGES, SmallEncoder, joint_images
from small_methods import BASELINES, SETTINGS

from dim_lightning import processes
from dim_lightning.baselines import NAT
from dim_lightning.data import Batch


def losses_and_gradients(own_rows=processes.own_rows):
    """For each method the terms and the gradient of every parameter, of this process's images."""
    found = {}
    indices = torch.arange(NUM_IMAGES)
    batch = Batch(*map(own_rows, (joint_images(), indices % 3, indices)))
    for method in BASELINES:
        torch.manual_seed(0)
        module = method(**(SETTINGS[method] | {"encoder": SmallEncoder}), image_size=8).double()
        for part in module.modules():
            if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
                part.eval()  # it would see the batch of a process only
                if part.running_mean is None:
                    part.running_mean = torch.zeros(part.num_features).double()
                    part.running_var = torch.ones(part.num_features).double()
        if method is NAT:
            module.draw_targets(NUM_IMAGES)
            module.targets = module.targets.double()
        _, terms = module.code_and_terms(batch, torch.Generator().manual_seed(1))
        terms["loss"].backward()
        gradients = {k: p.grad for k, p in module.named_parameters() if p.grad is not None}
        kept = {k: v.detach().double() for k, v in terms.items()}
        if method is NAT:
            kept["assignment"] = module.assignment.double()
        found[method.__name__] = (kept, gradients)
    return found


def run_process(rank, num_processes, folder):
    """Computes this process's rows and averages as data-parallel training does."""
    with joined(rank, num_processes, folder):
        found = averaged(losses_and_gradients())
        if rank == 0:
            torch.save(found, Path(folder) / "found.pt")
