import math
import runpy
from pathlib import Path

import pytest
import torch
from torch import nn

from dim_lightning.data import Batch
from dim_lightning.infomax.deep_infomax import DeepInfoMax
from dim_lightning.seeding import generator_for

SCRIPT = Path(__file__).parent.parent / "experiments" / "benchmarks" / "plain_loop.py"


def fixed(layer, bias):
    """Lets a layer give `bias`, whatever it sees."""
    nn.init.zeros_(layer.weight)
    nn.init.constant_(layer.bias, bias)


def test_the_plain_loop_trains_the_same_networks_by_the_same_loss():
    torch.manual_seed(0)
    plain, ours = runpy.run_path(str(SCRIPT))["PlainDIM"](), DeepInfoMax(image_size=32)
    sizes = [sorted(p.numel() for p in model.parameters()) for model in (plain, ours)]
    assert sizes[0] == sizes[1]
    contrasts = ours.objective.contrasts
    for gaussian, global_critic, local_critic in (
        (plain, plain.global_critic, plain.local_critic),
        (ours.encoder, contrasts["global"][0].critic.rest, contrasts["local"][0].critic.rest),
    ):
        fixed(gaussian.mean, 1)
        fixed(gaussian.log_variance, 1)
        fixed(global_critic[-1], 0)
        fixed(local_critic[-1], 1)
    softplus = [math.log1p(math.exp(score)) for score in (0, 1, -1)]
    information = 0.5 * 2 * softplus[0] + 1.5 * (softplus[1] + softplus[2])
    expected = information + 0.01 * (math.e - 1) / 2
    images = torch.rand(16, 3, 32, 32)
    batch = Batch(images, torch.zeros(16, dtype=torch.int64), torch.arange(16))
    _, terms = ours.code_and_terms(batch, generator_for(0))
    assert plain(images).item() == pytest.approx(expected, abs=1e-5)
    assert terms["loss"].item() == pytest.approx(expected, abs=1e-5)
