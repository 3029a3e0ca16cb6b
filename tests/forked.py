"""Functions in processes of their own that need load nothing: they are forked from one that has.

That one loaded the packages as a command does, without the tests' checks of shapes and types.
"""

import importlib.util
import multiprocessing
import os
import signal
import subprocess
import sys
from contextlib import suppress

from dim_lightning.cli import main

# What macOS's libraries have begun does not bear a fork: there each process loads them
CONTEXT = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")


class Forked:
    """A process that calls a function; with the context it ends, and whatever it has started.

    Args:
        folder: for what it says, which goes to the files `out` and `err`.
        function: of a module; what it returns is the exit code, None is 0.
        arguments: of the function.
        variables: of the environment, beside those of this process.
    """

    def __init__(self, folder, function, *arguments, **variables):
        folder.mkdir(parents=True, exist_ok=True)
        self._logs = [folder / "out", folder / "err"]
        for log in self._logs:
            log.touch()
        given = (function, arguments, self._logs, {**os.environ, **variables})
        self._process = CONTEXT.Process(target=_call, args=given)

    def __enter__(self):
        self._process.start()
        return self

    def __exit__(self, *_):
        self._process.kill()
        with suppress(ProcessLookupError, PermissionError):  # macOS's word for a group that ended
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.join()

    def running(self):
        return self._process.is_alive()

    def send(self, number):
        os.kill(self._process.pid, number)

    def ended(self, timeout=600):
        """Waits until it has ended: how, and what it said."""
        self._process.join(timeout)
        code, (out, err) = self._process.exitcode, (log.read_text() for log in self._logs)
        assert code is not None, f"it goes on after {timeout} s; it said:\n{out}{err}"
        return subprocess.CompletedProcess([], code, out, err)


def run(folder, function, *arguments, **variables):
    """Calls a function in a process of its own, see `Forked`, to its end."""
    with Forked(folder, function, *arguments, **variables) as process:
        return process.ended()


def command(*words):
    """What `python -m dim_lightning` does, also for the processes that Lightning starts."""
    sys.modules["__main__"].__spec__ = importlib.util.find_spec("dim_lightning.__main__")
    sys.argv = ["dim_lightning", *words]
    return main(words)


def _call(function, arguments, logs, variables):
    os.setsid()
    for number, log in enumerate(logs, 1):
        with log.open("ab") as file:
            os.dup2(file.fileno(), number)
    os.environ.clear()
    os.environ.update(variables)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    sys.exit(function(*arguments))
