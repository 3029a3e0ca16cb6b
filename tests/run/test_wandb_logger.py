"""Weights & Biases without network or login: offline, and nothing left behind."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from dim_lightning.errors import InputError
from dim_lightning.run.wandb_logger import WandbLogger, _answers, _has_login


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


def test_a_damaged_record_of_the_run_is_named(alone):
    (alone / "wandb.json").write_text("[]")
    with pytest.raises(InputError, match=r"wandb\.json holds \[\]; expected .*; remove it"):
        WandbLogger(mode="offline").place_in(alone, {})


@pytest.mark.parametrize(
    ("machine", "server", "known"),
    [
        ("api.wandb.ai", "https://api.wandb.ai", True),
        ("wandb.lab:8080", "http://wandb.lab:8080", True),  # as wandb login writes it
        ("wandb.lab", "https://api.wandb.ai", False),
    ],
)
@pytest.mark.parametrize("name", [".netrc", "_netrc", "keys"])
def test_a_login_is_where_wandb_looks_for_it(alone, monkeypatch, machine, server, known, name):
    home = alone.parents[1]
    monkeypatch.setenv("NETRC", "~/keys") if name == "keys" else monkeypatch.delenv("NETRC")
    assert not _has_login(server)
    (home / name).write_text(f"machine {machine}\n  login user\n  password secret\n")
    (home / name).chmod(0o644)
    assert _has_login(server) == known


def test_a_server_that_speaks_no_tls_that_python_takes_is_there(monkeypatch):
    monkeypatch.setenv("no_proxy", "localhost")
    server = HTTPServer(("localhost", 0), BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"localhost:{server.server_port}"
    assert _answers(f"http://{address}")  # by an error: it has no pages
    assert _answers(f"https://{address}")
    server.shutdown()
    server.server_close()
    assert not _answers(f"http://{address}")
