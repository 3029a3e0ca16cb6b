"""Every test checks the package's shape annotations at run time."""

import gc
import multiprocessing
import os
import subprocess
from types import SimpleNamespace

import plain
import pytest
from hypothesis import settings
from jaxtyping import config, install_import_hook

# Whatever is loaded until the tests are collected stays: there is no garbage to look for in it.
gc.disable()

# The tests' networks are too small to share: one thread each, a worker process a core.
os.environ.setdefault("OMP_NUM_THREADS", "1")

install_import_hook("dim_lightning", "beartype.beartype")

settings.register_profile("patient", deadline=None)  # a busy machine is no failure
settings.load_profile("patient")

# What processes of tests are forked from, so that the modules are loaded once; among them what a
# run loads when it reads the digits and draws
multiprocessing.set_forkserver_preload(
    [
        "dim_lightning.infomax.deep_infomax",
        "dim_lightning.cli.command_line",
        "matplotlib.backends.backend_agg",
        "matplotlib.figure",
        "sklearn.datasets",
    ]
)


@pytest.fixture
def plain_figures(monkeypatch):
    """Runs in this process draw no figures but their pictures."""
    plain.draw_no_curves(monkeypatch.setattr)
    plain.draw_no_statistics(monkeypatch.setattr)


@pytest.fixture
def forked_commands(monkeypatch):
    """What a table or a sweep in this process starts is forked, as it then need load nothing."""
    from forked import Popen  # after the hook is there

    names = {"Popen": Popen, "DEVNULL": subprocess.DEVNULL, "STDOUT": subprocess.STDOUT}
    monkeypatch.setattr("dim_lightning.run.child.subprocess", SimpleNamespace(**names))


@pytest.fixture
def as_in_a_script(monkeypatch):
    """Types and shapes are not looked at, as only tests do."""
    monkeypatch.setattr(config, "jaxtyping_disable", True)


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Files with slow tests come first, so that no worker is left alone with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
