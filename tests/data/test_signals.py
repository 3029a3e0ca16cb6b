"""Processes that fetch outlive a SIGTERM that is not the first process's."""

import multiprocessing
import signal
import subprocess
import sys
import time

import pytest

from dim_lightning.data.signals import leave_signals


def _fetch(ready):
    leave_signals(0)
    ready.set()
    time.sleep(60)


@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="the sender is not told there")
def test_sigterm_is_obeyed_if_it_comes_from_the_first_process():
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=_fetch, args=(ready,), daemon=True)
    process.start()
    assert ready.wait(30)
    for name in ("SIGTERM", "SIGINT"):
        code = f"import os, signal; os.kill({process.pid}, signal.{name})"
        subprocess.run([sys.executable, "-c", code], check=True)
    process.join(0.5)
    assert process.is_alive()
    process.terminate()
    process.join(30)
    assert process.exitcode == 0
