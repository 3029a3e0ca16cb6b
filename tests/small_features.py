"""Made-up features with classes, hard enough for a probe."""

import torch

from dim_lightning.evaluation import Labelled


def blobs(n, seed, d=6, classes=3, spread=1.5):
    """Overlapping classes, correlated features of very different scales, one of them constant."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (n,), generator=generator)
    centres = torch.randn(classes, d, generator=torch.Generator().manual_seed(99))
    features = centres[labels] + spread * torch.randn(n, d, generator=generator)
    features[:, 1] += features[:, 0]
    features *= torch.logspace(-2, 2, d)
    features[:, -1] = 7.0
    return Labelled(features + 3, labels)


def narrow(n, seed):
    """Two classes that the difference of two nearly equal features tells apart, and 60 of noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (n,), generator=generator)
    common = torch.randn(n, 1, generator=generator)
    told = 0.03 * (2 * labels[:, None] - 1) + 0.006 * torch.randn(n, 1, generator=generator)
    noise = torch.randn(n, 60, generator=generator)
    return Labelled(torch.cat([common + told, common, noise], dim=1), labels)
