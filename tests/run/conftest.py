"""A run folder as fit leaves it, written by the functions that fit uses."""

import numpy as np
import pytest
from PIL import Image

from dim_lightning.run.environment import describe_environment, write_environment
from dim_lightning.run.metrics import MetricsFile
from dim_lightning.run.report import final_figures
from dim_lightning.run.result import update_result


def _make_run(folder, top=0.9, config="data: {split_seed: 0}\nmodel: {local_weight: 1.5}\n"):
    """Three epochs of ten steps, and what `test` found."""
    (folder / "pictures").mkdir(parents=True)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "last.ckpt").touch()
    (folder / "config.yaml").write_text(config)
    log = MetricsFile(folder)
    for epoch in range(3):
        step = 10 * epoch + 9
        log.log_metrics({"train/loss": 3.0 - epoch, "train/local": -1.0, "epoch": epoch}, step)
        accuracies = {"probe/online/top1": top - 0.1 * (epoch == 2), "val/local": -1.1}
        log.log_metrics({**accuracies, "geometry/effective_rank": 5.0, "epoch": epoch}, step)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "pictures" / "neighbours_cosine.png")
    figures = {"status": "completed", "epochs": 3, "seconds": 75.0, "images_seen": 1000}
    figures["steps"] = 30
    update_result(folder, "fit", {**figures, "images_per_second": 99.0, **final_figures(folder)})
    update_result(
        folder,
        "test",
        {
            "probe/linear/conv/top1": 0.8,
            "probe/linear/embedding/top1": 0.75,
            "knn/cosine/k20_t0.07/embedding/top1": 0.7,
            "knn/cosine/k20_t0.07/pixels/top1": 0.3,
            "random/probe/linear/embedding/top1": 0.2,
        },
    )
    write_environment(folder, describe_environment(["fit"]))
    return folder


@pytest.fixture
def make_run():
    return _make_run


@pytest.fixture
def run(tmp_path):
    return _make_run(tmp_path / "digits" / "1")
