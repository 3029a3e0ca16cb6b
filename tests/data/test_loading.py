"""Processes that fetch outlive a SIGTERM that is not the first process's."""

import multiprocessing
import signal
import subprocess
import sys
import time
from threading import Thread

import pytest

from dim_lightning.data.loading import leave_signals


def _fetch(ready, with_thread):
    if with_thread:  # as libraries start some, to which signals may go
        Thread(target=time.sleep, args=(60,), daemon=True).start()
    leave_signals(0)
    ready.set()
    while True:
        time.sleep(0.1)


@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="the sender is not told there")
@pytest.mark.parametrize("with_thread", [False, True])
def test_sigterm_is_obeyed_if_it_comes_from_the_first_process(with_thread):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=_fetch, args=(ready, with_thread), daemon=True)
    process.start()
    assert ready.wait(30)
    for name in ("SIGINT", "SIGHUP", "SIGTERM"):
        code = f"import os, signal; os.kill({process.pid}, signal.{name})"
        subprocess.run([sys.executable, "-c", code], check=True)
    process.join(0.5)
    assert process.is_alive()
    process.terminate()
    process.join(30)
    at_once, later = 0, -signal.SIGALRM
    assert process.exitcode == at_once or (with_thread and process.exitcode == later)
