"""Signals that training holds back."""

import os
import signal

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
