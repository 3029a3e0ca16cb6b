"""A linear encoder that descends one prior and nothing else, and how far its codes then are."""

import torch
from torch import nn

from dim_lightning.encoders import Features
from dim_lightning.seeding import generator_for


def features(mean, log_variance=None):
    """Features of which only the code matters."""
    return Features(torch.zeros(len(mean), 1, 1, 1), {}, mean, log_variance)


def normal(num, dim, generator):
    """Points of N(0, I): right for a Gaussian prior."""
    return torch.randn(num, dim, generator=generator)


def logistic(num, dim, generator):
    """Points whose sigmoid is uniform on [0, 1]: right for a uniform prior."""
    return torch.rand(num, dim, generator=generator).clamp(1e-6, 1 - 1e-6).logit()


class LinearEncoder(nn.Module):
    """Points to features; right for right points as it begins, or shifted, scaled and sheared."""

    def __init__(self, dim, wrong, log_variance=None):
        super().__init__()
        sheared = 0.5 * torch.eye(dim) + 0.4 * torch.ones(dim, dim).triu()
        self.weight = nn.Parameter(sheared if wrong else torch.eye(dim))
        self.bias = nn.Parameter(torch.full((dim,), 0.8 if wrong else 0.0))
        self.log_variance = None
        if log_variance is not None:
            self.log_variance = nn.Parameter(torch.full((dim,), log_variance))

    def forward(self, points):
        mean = points @ self.weight + self.bias
        spread = None if self.log_variance is None else self.log_variance.expand_as(mean)
        return features(mean, spread)


def descend(prior, encoder, points, steps, lr, information=None):
    """Trains encoder and prior with one optimiser and one backward a step."""
    groups = [
        {"params": list(encoder.parameters()), "lr": lr},
        {"params": list(prior.parameters()), "lr": 1e-2},
    ]
    optimizer = torch.optim.Adam([group for group in groups if group["params"]], betas=(0.5, 0.9))
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, steps)
    dim = len(encoder.bias)
    for step in range(steps):
        generator = generator_for(0, step)
        seen = encoder(points(256, dim, generator))
        code = prior.draw(seen, generator)
        terms = list(prior(seen, code, generator).values())
        if information is not None:
            terms.append(-information(prior, seen.mean, code))
        optimizer.zero_grad()
        torch.stack(terms).sum().backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def codes_of(encoder, points, num=4000):
    """Codes drawn by the encoder for points it was not trained on."""
    generator = generator_for(1)
    return encoder(points(num, len(encoder.bias), generator)).sample(generator)


def kolmogorov_smirnov(codes, target):
    """Largest distance of a dimension's distribution function to the target's."""
    ordered = codes.double().sort(dim=0).values
    exact = ordered.clamp(0, 1) if target == "uniform" else torch.special.ndtr(ordered)
    ranks = torch.arange(len(codes) + 1, dtype=torch.double)[:, None] / len(codes)
    return torch.maximum((exact - ranks[:-1]).abs(), (exact - ranks[1:]).abs()).max().item()


def correlation(codes):
    """Largest correlation of two dimensions."""
    return torch.corrcoef(codes.T).fill_diagonal_(0).abs().max().item()
