"""Signals that training holds back."""

import os
import shlex
import signal
import subprocess
import sys

import pytest

from dim_lightning.run.signals import HeldSignals


def test_a_signal_is_held_once():
    """The training after the one that it ended hears nothing of it."""
    held = HeldSignals()
    before = signal.getsignal(signal.SIGTERM)
    for sends in (True, False):
        held.hold()
        if sends:
            os.kill(os.getpid(), signal.SIGTERM)
        assert held.received == (signal.SIGTERM if sends else 0)
        held.release()
        assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("number", ["SIGINT", "SIGHUP", "SIGUSR1"])
def test_signals_do_their_work_where_outputs_are_closed(number):
    code = (
        "import os, signal; from dim_lightning.run.signals import terminable\n"
        "try:\n"
        "    with terminable():\n"
        f"        os.kill(os.getpid(), signal.{number}); signal.pause()\n"
        "except KeyboardInterrupt as stop:\n"
        "    os._exit(7 if type(stop).__name__ == 'Terminated' else 8)\n"
    )
    words = shlex.join([sys.executable, "-c", code])
    done = subprocess.run(
        ["sh", "-c", f"exec {words} >&- 2>&-"],
        timeout=60,
        # a shell's background jobs ignore SIGINT, and so would what they start
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert done.returncode == (8 if number == "SIGINT" else 7)
