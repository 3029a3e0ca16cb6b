"""Ctrl-C and requests to terminate: what they raise, and how training holds them back."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_STOPS = (signal.SIGINT, signal.SIGTERM)
_SAID = b"\nstopping after this step; Ctrl-C once more leaves at once, without saving\n"


class Terminated(KeyboardInterrupt):
    """A request to terminate, handled as Ctrl-C is, with an exit code of its own."""


def stop(number: int, _: object = None) -> None:
    """The handler that ends the work at once.

    Raises:
        Terminated: for SIGTERM.
        KeyboardInterrupt: for any other signal.
    """
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


@contextmanager
def terminable() -> Iterator[None]:
    """Lets a request to terminate end what runs here in an orderly way."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class HeldSignals:
    """Notes Ctrl-C and SIGTERM instead of acting on them, until they are asked for.

    A second Ctrl-C is not held; a second SIGTERM is, for some senders send it twice.

    Attributes:
        received: the signal that was noted; 0 if none was.
    """

    def __init__(self) -> None:
        self.received = 0
        self._before: dict[int, Any] = {}

    def hold(self) -> None:
        """Starts; nothing outside of the main thread, where signals do not arrive."""
        if threading.current_thread() is not threading.main_thread() or self._before:
            return
        self.received = 0
        for number in _STOPS:
            if signal.getsignal(number) != signal.SIG_IGN:  # as for a shell's background jobs
                self._before[number] = signal.signal(number, self._note)

    def release(self) -> None:
        """Puts the handlers back that were there before."""
        for number, handler in self._before.items():
            signal.signal(number, handler or signal.SIG_DFL)
        self._before = {}

    def _note(self, number: int, _: object) -> None:
        if number == signal.SIGINT and self.received == signal.SIGINT:
            self.release()
            raise KeyboardInterrupt
        if number == signal.SIGINT:
            os.write(2, _SAID)  # print may have been interrupted half-way
        self.received = max(self.received, number)  # of the two, the request to terminate
