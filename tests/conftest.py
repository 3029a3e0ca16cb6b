"""Every test checks the package's shape annotations at run time."""

import gc
import multiprocessing
import os

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook
from PIL import Image

# Whatever is loaded until the tests are collected stays: there is no garbage to look for in it.
gc.disable()

# The tests' networks are too small to share: one thread each, a worker process a core.
os.environ.setdefault("OMP_NUM_THREADS", "1")

install_import_hook("dim_lightning", "beartype.beartype")

settings.register_profile("patient", deadline=None)  # a busy machine is no failure
settings.load_profile("patient")

# What processes of tests are forked from, so that the modules are loaded once
multiprocessing.set_forkserver_preload(
    ["dim_lightning.infomax.deep_infomax", "dim_lightning.cli.command_line"]
)


@pytest.fixture
def plain_figures(monkeypatch):
    """Runs in this process draw no curves, which takes longer than their training of seconds."""

    def statistics(path, *_):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(path)

    monkeypatch.setattr("dim_lightning.run.summary.panel_svg", lambda panel: panel.title)
    monkeypatch.setattr("dim_lightning.callbacks.geometry.write_statistics", statistics)


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Files with slow tests come first, so that no worker is left alone with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
