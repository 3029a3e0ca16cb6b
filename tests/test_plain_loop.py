import runpy
from pathlib import Path

import pytest
import torch

from dim_lightning.data import Batch
from dim_lightning.infomax.deep_infomax import DeepInfoMax
from dim_lightning.seeding import generator_for

SCRIPT = Path(__file__).parent.parent / "experiments" / "benchmarks" / "plain_loop.py"


def test_the_plain_loop_trains_the_same_networks_by_the_same_loss():
    torch.manual_seed(0)
    plain, ours = runpy.run_path(str(SCRIPT))["PlainDIM"](), DeepInfoMax(image_size=32)
    sizes = [sorted(p.numel() for p in model.parameters()) for model in (plain, ours)]
    assert sizes[0] == sizes[1]
    images = torch.rand(16, 3, 32, 32)
    batch = Batch(images, torch.zeros(16, dtype=torch.int64), torch.arange(16))
    _, terms = ours.code_and_terms(batch, generator_for(0))
    assert plain(images).item() == pytest.approx(terms["loss"].item(), abs=0.02)
