"""An uneven joint batch, for each of three processes: the part that a test starts in each."""

from pathlib import Path
from types import SimpleNamespace

import torch
from joined import joined

from dim_lightning import processes
from dim_lightning.callbacks.joint_start import JointStart
from dim_lightning.data import ImageDataModule
from dim_lightning.data.augmentation import CropAndFlip, CropColour
from dim_lightning.data.contents import Contents
from dim_lightning.errors import InputError
from dim_lightning.seeding import generator_for

COUNTS = (3, 2, 2)
AUGMENTATIONS = {
    "crop and flip": CropAndFlip(shift=2),
    "crop and colour": CropColour(blur_prob=0.5, gray_prob=0.5),
}


def joint_rows():
    return torch.rand(sum(COUNTS), 3, 12, 12, generator=torch.Generator().manual_seed(3))


def augmented(images):
    return {name: change(images, generator_for(4)) for name, change in AUGMENTATIONS.items()}


def weights():
    """Of what each process makes its loss from the joint batch, [3, 7]."""
    return torch.rand(len(COUNTS), sum(COUNTS), generator=torch.Generator().manual_seed(5)).double()


def refusal(step, pictures="a" * 16):
    """What is said where this process would start so; nothing if that is all right."""
    data = ImageDataModule()
    data._splits = SimpleNamespace(contents=lambda: Contents({"train": 9}, pictures))
    trainer = SimpleNamespace(global_step=step, datamodule=data)
    module = SimpleNamespace(device="cpu")
    try:
        JointStart().on_train_start(trainer, module)
    except InputError as error:
        return str(error)
    return ""


def found(rank):
    """Name -> what this process has."""
    rows = joint_rows().split(COUNTS)[rank].double()
    codes = rows.flatten(1).mean(1).requires_grad_()
    gathered = processes.gather(codes)
    (of_gathered,) = torch.autograd.grad((gathered.square() * weights()[rank]).sum(), codes)
    joint = (weights()[rank] * joint_rows().double().mean((1, 2, 3))).requires_grad_()
    shares = processes.to_owners(joint)
    (of_joint,) = torch.autograd.grad((shares.square() * (1 + rank)).sum(), joint)
    value = torch.tensor(1.0 + rank).requires_grad_()
    (of_each,) = torch.autograd.grad(processes.of_each(value)[2] * (1 + rank), value)
    with processes.alone():
        drawn_alone = processes.uniform(4, 2, generator=generator_for(1))
    return {
        "drawn alone": drawn_alone,
        "gathered": gathered.detach(),
        "gradient of gathered": of_gathered,
        "shares": shares.detach(),
        "gradient of joint": of_joint,
        "gradient of each": of_each,
        "joint mean": processes.joint_terms({"mean": codes.mean()}, len(codes))["mean"],
        "first": torch.tensor(processes.first_own_row(len(codes))),
        "size": torch.tensor(processes.joint_size(len(codes))),
        "total": processes.total(torch.tensor([1, rank])),
        "refusals": [refusal(7), refusal(7 * (rank < 2)), refusal(7, f"{rank // 2:<016}")],
        "drawn": processes.uniform(len(codes), 2, generator=generator_for(1)),
        **augmented(rows.float().contiguous(memory_format=torch.channels_last)),
    }


def run_process(rank, folder):
    """Writes what this process finds."""
    with joined(rank, len(COUNTS), folder), processes.uneven_rows(COUNTS[rank]):
        torch.save(found(rank), Path(folder) / f"{rank}.pt")
