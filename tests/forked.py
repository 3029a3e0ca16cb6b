"""Functions in processes of their own that need load nothing: they are forked from one that has.

That one loaded the packages as a command does, without the tests' checks of shapes and types.
"""

import gc
import importlib.util
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import time
from contextlib import suppress
from multiprocessing.reduction import DupFd

import plain

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

    def says(self, text):
        """Waits until it has said it."""
        while text not in self._logs[0].read_text():
            assert self.running(), self.ended().stderr
            time.sleep(0.05)

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
    """What `python -m dim_lightning` does, also for the processes that Lightning starts.

    A run draws no figures but its pictures.
    """
    plain.draw_no_curves(_put)
    plain.draw_no_statistics(_put)
    sys.modules["__main__"].__spec__ = importlib.util.find_spec("dim_lightning.__main__")
    sys.argv = ["dim_lightning", *words]
    return main(words)


def script(path, *words):
    """What `python path words` does; runs that are forked from it draw no curves."""
    plain.draw_no_curves(_put)
    sys.path.insert(0, str(path.parent))
    sys.argv = [str(path), *words]
    runpy.run_path(str(path), run_name="__main__")


def _put(name, value):
    module, _, attribute = name.rpartition(".")
    setattr(importlib.import_module(module), attribute, value)


class Popen:
    """What `dim_lightning.run.child` takes of subprocess.Popen, for a command of this package."""

    def __init__(self, command, *, stdout, env, pass_fds, **_):
        start = command.index(sys.executable)  # after /usr/bin/env, in a sweep
        assert command[start + 1 : start + 3] == ["-m", "dim_lightning"]
        files = [_Given(stdout.fileno()), *map(_Given, pass_fds)]
        self._process = CONTEXT.Process(target=_command, args=(command[start + 3 :], files, env))
        self._process.start()
        self.pid = self._process.pid

    def poll(self):
        return self._process.exitcode

    @property
    def returncode(self):
        return self._process.exitcode


class _Given:
    """A file descriptor, which the process that is started gets as well."""

    def __init__(self, number):
        self._number = number

    def __reduce__(self):
        return _received, (DupFd(self._number),)


def _received(given):
    return given.detach()


def _command(words, files, variables):
    _begin(files[0], files[0], variables)
    sys.exit(command(*words))


def _call(function, arguments, logs, variables):
    out, err = (os.open(log, os.O_WRONLY | os.O_APPEND) for log in logs)
    _begin(out, err, variables)
    sys.exit(function(*arguments))


def _begin(out, err, variables):
    """As a program that a shell starts."""
    gc.freeze()  # there is no garbage in what is loaded
    os.setsid()
    say_to(out, err)
    os.environ.clear()
    os.environ.update(variables)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it


def say_to(out, err):
    """Sends what this process says to these descriptors, line by line, so that it is waited for."""
    os.dup2(out, 1)
    os.dup2(err, 2)
    options = {"buffering": 1, "encoding": "utf-8", "closefd": False}
    sys.stdout, sys.stderr = (os.fdopen(number, "w", **options) for number in (1, 2))
