"""Weights & Biases without network or login: offline, and nothing left behind."""

import json
import os

import pytest

from dim_lightning.run.wandb_logger import WandbLogger


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """No login, no settings of the person who runs the tests."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    (tmp_path / "digits" / "1").mkdir(parents=True)
    return tmp_path / "digits" / "1"


def test_offline_by_itself_nested_config_and_the_same_run_again(alone, caplog):
    with caplog.at_level("INFO", "lightning"):
        logger = WandbLogger()
        logger.place_in(alone, {"model": {"local_weight": 1.5}})
    assert "records offline" in caplog.text
    assert logger.experiment.config["model"]["local_weight"] == 1.5
    assert logger.experiment.name == "digits/1"
    assert logger.experiment.project == "dim_lightning"
    logger.log_metrics({"train/loss": 1.0}, 3)
    logger.finish()
    state = json.loads((alone / "wandb.json").read_text())
    assert state["mode"] == "offline"
    assert list((alone / "wandb").glob("offline-run-*"))
    assert "WANDB_MODE" not in os.environ

    again = WandbLogger(mode="offline")
    again.place_in(alone, {})
    assert again.experiment.id == state["id"]
    again.finish()
