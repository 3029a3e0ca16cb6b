"""Weights & Biases without network or login: offline, and nothing left behind."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest
import wandb
from wandb.sdk.wandb_setup import singleton

from dim_lightning.cli.doctor.asked import Asked
from dim_lightning.cli.doctor.service import service
from dim_lightning.errors import InputError
from dim_lightning.run import wandb_logger
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


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_a_run_stays_where_it_is_and_as_it_is_called_there(alone, monkeypatch, mode):
    """A sweep's agent, or the environment, may have chosen its project; people rename runs."""
    run = SimpleNamespace(id="r1", entity="lab", project="theirs", url="https://w/r1")
    monkeypatch.setattr(WandbLogger, "_opened", lambda self: run)
    begins = WandbLogger(mode=mode, tags=["a"], notes="b")
    begins.place_in(alone, {})
    keys = ("name", "tags", "notes", "entity", "project", "id")
    expected = ["digits/1", ["a"], "b", None, "dim_lightning", None]
    assert [begins._wandb_init.get(key) for key in keys] == expected
    goes_on = WandbLogger(mode=mode, tags=["a"], notes="b")
    goes_on.place_in(alone, {})
    known = [None, None, None, "lab", "theirs"] if mode == "online" else expected[:-1]
    assert [goes_on._wandb_init.get(key) for key in keys] == [*known, "r1"]
    assert json.loads((alone / "wandb.json").read_text()).get("url") == (
        run.url if mode == "online" else None
    )


def test_a_time_without_network_takes_a_run_to_no_other_place(alone, monkeypatch):
    run = SimpleNamespace(id="r1", entity="lab", project="theirs", url="https://w/r1")
    monkeypatch.setattr(WandbLogger, "_opened", lambda self: run)
    for mode in ("online", "offline", "online"):
        logger = WandbLogger(mode=mode)
        logger.place_in(alone, {})
    assert logger._wandb_init["project"] == "theirs"
    assert logger._wandb_init["name"] is None


def test_the_environment_names_run_and_project(alone, monkeypatch):
    monkeypatch.setenv("WANDB_NAME", "mine")
    monkeypatch.setenv("WANDB_PROJECT", "pictures")
    monkeypatch.setattr(WandbLogger, "_opened", lambda self: SimpleNamespace(id="r1"))
    for given, found in (({}, ("mine", "pictures")), ({"name": "a", "project": "b"}, ("a", "b"))):
        logger = WandbLogger(mode="offline", **given)
        logger.place_in(alone, {})
        assert (logger._wandb_init["name"], logger._wandb_init["project"]) == found


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
        ("api.wandb.ai", "https://api.forge.coreweave.com", True),  # what it is called today
        ("wandb.lab", "https://api.forge.coreweave.com", False),
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


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.parametrize(
    ("said", "asked", "mode"),
    [
        ("offline", None, "offline"),  # as `wandb offline` writes it
        ("disabled", None, "disabled"),
        ("online", None, "online"),
        ("disabled", "offline", "offline"),  # the environment comes first, as in wandb
        ("offline", "online", "online"),
    ],
)
def test_what_is_not_to_be_sent_is_not(alone, monkeypatch, caplog, said, asked, mode):
    home = alone.parents[1]
    monkeypatch.chdir(home)
    (home / "wandb").mkdir()
    (home / "wandb" / "settings").write_text(f"[default]\nmode = {said}\n")
    monkeypatch.setenv("WANDB_API_KEY", 40 * "x")
    if asked:
        monkeypatch.setenv("WANDB_MODE", asked)
    monkeypatch.setattr(wandb_logger, "_answers", lambda server: True)
    run = SimpleNamespace(id="r1", entity="lab", project="dim_lightning", url="https://w/r1")
    monkeypatch.setattr(WandbLogger, "_opened", lambda self: run)
    monkeypatch.setattr(wandb, "setup", singleton)  # without wandb's own process
    wandb.teardown()  # it reads its settings once
    with caplog.at_level("INFO", "lightning"):
        WandbLogger().place_in(alone, {})
    found = list(service(Asked(trainer={"logger": "WandbLogger"})))
    wandb.teardown()
    assert json.loads((alone / "wandb.json").read_text())["mode"] == mode
    assert (str(home / "wandb" / "settings") in caplog.text) == (asked is None and mode != "online")
    assert [finding.grade for finding in found] == ["ok" if mode == "online" else "hint"]
    if mode != "online":
        source = f"WANDB_MODE is {mode}" if asked else f"wandb's settings say {mode}"
        assert source in found[0].found
