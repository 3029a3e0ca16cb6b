"""Ctrl-C and requests to terminate: what they raise, and how training holds them back."""

import os
import select
import signal
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_STOPS = (signal.SIGINT, signal.SIGTERM)
_PIPES_END = 200  # milliseconds, within which the programs of a pipeline end after Ctrl-C
_SAID = b"\nstopping after this step; Ctrl-C once more leaves at once, without saving\n"


class Terminated(KeyboardInterrupt):
    """A request to terminate, handled as Ctrl-C is, with an exit code of its own."""


def stop(number: int, _: object = None) -> None:
    """The handler that ends the work at once.

    Raises:
        Terminated: for SIGTERM.
        KeyboardInterrupt: for any other signal.
    """
    if number == signal.SIGINT:
        leave_ended_pipes()
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


@contextmanager
def terminable() -> Iterator[None]:
    """Lets a request to terminate end what runs here in an orderly way.

    So does SIGHUP, which says that the terminal is gone: a connection that broke, a window that
    was closed. Under nohup it is ignored. And SIGUSR1, by which SLURM tells of the end of a job's
    time if it is asked to: Lightning would save in the midst of a step, each process in another
    one, and wait for ever.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, stop)}
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:  # else it is somebody's own
        before[signal.SIGINT] = signal.signal(signal.SIGINT, stop)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, _terminate)
    if signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL:  # which would end it at once
        before[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, _pass_on)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_ended_pipes(instead: str = "/dev/tty") -> bool:
    """Sends what a program reads that has ended, as tee does at Ctrl-C, to another place.

    To print there would be an error, by which a training would end before it saves its state.

    Args:
        instead: the place; the terminal by default.

    Returns:
        Whether there was such a program.
    """
    ended = []
    for output, kind in _outputs():
        if not stat.S_ISFIFO(kind):
            continue
        readers = select.poll()
        readers.register(output, 0)  # tells of their end alone
        if readers.poll(_PIPES_END):
            ended.append(output)
            _redirect(output, instead)
    return bool(ended)


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

    def holds(self, number: int) -> bool:
        """Whether it is held back now."""
        return number in self._before

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
            leave_ended_pipes()
            with suppress(OSError):
                os.write(2, _SAID)  # print may have been interrupted half-way
        self.received = max(self.received, number)  # of the two, the request to terminate


def _outputs() -> Iterator[tuple[int, int]]:
    """The descriptors that are printed to, but for closed ones, and of what kind each is."""
    for output in (1, 2):
        with suppress(OSError):
            yield output, os.fstat(output).st_mode


def _redirect(output: int, path: str) -> None:
    """Lets what is written to a file descriptor go to a file; nowhere if that is not there."""
    try:
        target = os.open(path, os.O_WRONLY)
    except OSError:
        target = os.open(os.devnull, os.O_WRONLY)
    os.dup2(target, output)
    os.close(target)


def _terminate(*_: object) -> None:
    """Passes the terminal's end on as a request to terminate, whoever handles that now.

    What was printed there, or to a program that ended with it, would be an error of its own.
    """
    for output, kind in _outputs():
        if not stat.S_ISREG(kind):
            _redirect(output, os.devnull)
    _pass_on()


def _pass_on(*_: object) -> None:
    """Makes another signal a request to terminate, whoever handles that now."""
    os.kill(os.getpid(), signal.SIGTERM)
