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
