"""The folder of a run with an encoder of random weights, as fit leaves it."""

import pytest
import torch
import yaml

from dim_lightning.encoders import BlogEncoder
from dim_lightning.run.result import update_result


def _encoder():
    """Small, with statistics of batch norm that differ from the fresh ones."""
    torch.manual_seed(0)
    encoder = BlogEncoder(8, widths=(4,), embedding_dim=6)
    with torch.no_grad():
        encoder(torch.rand(16, 3, 8, 8))
    return encoder.eval()


def _make_run(folder, encoder, recipe):
    (folder / "checkpoints").mkdir(parents=True)
    config = {
        "seed_everything": 3,
        "experiment": "small",
        "model": {"encoder": recipe, "local_weight": 1.5},
        "data": {"image_size": 8},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    weights = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    weights["objective.local_critic.weight"] = torch.zeros(2)
    checkpoint = {"state_dict": weights, "global_step": 5}
    torch.save(checkpoint, folder / "checkpoints" / "last.ckpt")
    update_result(folder, "test", {"probe/linear/embedding/top1": 0.75})
    return folder


BLOG = {
    "class_path": "dim_lightning.BlogEncoder",
    "init_args": {"widths": [4], "embedding_dim": 6},
}


@pytest.fixture(scope="session")
def encoder():
    return _encoder()


@pytest.fixture(scope="session")
def make_run(encoder):
    return lambda folder, recipe=BLOG: _make_run(folder, encoder, recipe)


@pytest.fixture
def run(tmp_path, make_run):
    return make_run(tmp_path / "small" / "1")
