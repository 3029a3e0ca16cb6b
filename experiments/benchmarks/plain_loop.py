"""The blog's method as one would write it in an afternoon: what a training is compared with.

The same networks, objective and optimiser as `experiments/cifar10/blog.yaml`, in float32, by
PyTorch's layers in their usual order and memory format, with none of this project's parts but the
pictures. A batch is fetched by two workers, which bring each picture through torchvision.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from dim_lightning.data import ImageDataModule
from dim_lightning.data.sources import CIFAR10

BATCH = 64


class PlainDIM(nn.Module):
    """Encoder and critics of Su Jianlin, 2018, for pictures of 32 x 32."""

    def __init__(self) -> None:
        super().__init__()
        self.local_trunk = nn.Sequential(
            *_block(3, 64), nn.MaxPool2d(2), *_block(64, 128), nn.MaxPool2d(2),
            *_block(128, 256), nn.MaxPool2d(2),
        )  # fmt: skip
        self.global_trunk = nn.Sequential(
            *_block(256, 256), *_block(256, 256), nn.AdaptiveMaxPool2d(1), nn.Flatten()
        )
        self.mean, self.log_variance = nn.Linear(256, 256), nn.Linear(256, 256)
        self.image_trunk = nn.Sequential(
            nn.Conv2d(3, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 4, 2, 1), nn.ReLU(),
            nn.Conv2d(64, 128, 4, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )  # fmt: skip
        self.global_critic = nn.Sequential(
            nn.Linear(256 + 128, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(),
            nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 1),
        )  # fmt: skip
        self.local_critic = nn.Sequential(
            nn.Conv2d(256 + 256, 256, 1), nn.ReLU(), nn.Conv2d(256, 256, 1), nn.ReLU(),
            nn.Conv2d(256, 256, 1), nn.ReLU(), nn.Conv2d(256, 1, 1),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        """The loss, -0.5 I_global - 1.5 I_local + 0.01 KL."""
        feature_map = self.local_trunk(images - 0.5)
        pooled = self.global_trunk(feature_map)
        mean, log_variance = self.mean(pooled), self.log_variance(pooled)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        order = torch.randperm(len(z))
        other = torch.empty_like(order)
        other[order] = order.roll(1)  # one cycle: each image gets another one
        x = self.image_trunk(2 * images - 1)
        of_real = self.global_critic(torch.cat([z, x], dim=1))
        of_other = self.global_critic(torch.cat([z, x[other]], dim=1))
        everywhere = z[:, :, None, None].expand(-1, -1, *feature_map.shape[2:])
        local_real = self.local_critic(torch.cat([everywhere, feature_map], dim=1))
        local_other = self.local_critic(torch.cat([everywhere, feature_map[other]], dim=1))
        kl = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).mean()
        told = 0.5 * _cross_entropy(of_real, of_other)
        return told + 1.5 * _cross_entropy(local_real, local_other) + 0.01 * kl


def _block(inputs: int, outputs: int) -> list[nn.Module]:
    layers = [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs)]
    return [*layers, nn.LeakyReLU(0.2)]


def _cross_entropy(of_real: Tensor, of_other: Tensor) -> Tensor:
    return (
        F.binary_cross_entropy_with_logits(of_real, torch.ones_like(of_real))
        + F.binary_cross_entropy_with_logits(of_other, torch.zeros_like(of_other))
    )  # fmt: skip


class _Pictures(Dataset[Tensor]):
    """Training pictures as one would read them: PIL images through a transform."""

    def __init__(self, root: Path):
        data = ImageDataModule(CIFAR10(), root=str(root))
        data.setup("fit")
        self.split = data.split("train")
        self.transform = transforms.Compose([transforms.ToPILImage(), transforms.ToTensor()])

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> Tensor:
        return self.transform(self.split.pictures([index])[0])


def training_steps(root: Path) -> Iterator[None]:
    """Trains for an epoch, a step each time it is asked."""
    model = PlainDIM()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    loader = DataLoader(_Pictures(root), BATCH, shuffle=True, num_workers=2, drop_last=True)
    for images in loader:
        optimizer.zero_grad()
        model(images).backward()
        optimizer.step()
        yield
