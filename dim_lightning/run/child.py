"""A command in a process of its own, which outlives the one that started it."""

import fcntl
import itertools
import os
import signal
import socket
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import torch

from dim_lightning.errors import InputError
from dim_lightning.run.limits import usable_cores

OUTPUT = "output.txt"
_LOCK = ".lock"
_GPUS = "CUDA_VISIBLE_DEVICES"
_LAST_LINES = 5
_PATIENCE = 600.0  # the step under way, and the validation if one is, come before the checkpoint


class Child:
    """The process of a command, started here or found at work.

    It holds a lock on a file of its folder, in which its id, its place and its host stand. So
    whoever goes on after kill -9 knows whether what was started before is still running, and waits
    for it.

    Args:
        folder: where the lock lies, and what the process says (output.txt).
        taken: the places of those that it runs at once with.
        patience: seconds it has to end when it is asked to; then it is killed.

    Attributes:
        pid: the id of the process; None before there is one.
        place: of the process among those that run at once, from 0: its own where it was found at
            work, else the first that is free.
        asked_to_end: whether it was.

    Raises:
        InputError: it is at work on another host, where an id is that of another process.
    """

    def __init__(self, folder: Path, taken: Collection[int] = (), patience: float = _PATIENCE):
        self.folder = folder
        self.patience = patience
        # which its starter may not have written yet
        words = (folder / _LOCK).read_text("utf-8").split() if is_at_work(folder) else []
        if words[2:] and words[2] != _host():
            name, here = (each.partition("/")[0] for each in (words[2], _host()))
            raise InputError(
                f"what was started for {folder} is still at work on {name}, and this is {here}; "
                "go on there, wait for its end, or end it there"
            )
        free = next(place for place in itertools.count() if place not in taken)
        self.pid = int(words[0]) if words else None
        self.place = int(words[1]) if words else free
        self._asked: float | None = None
        self._process: subprocess.Popen | None = None

    def start(self, command: Sequence[str], at_once: int = 1) -> None:
        """Starts the command; what it says goes to the end of output.txt.

        Args:
            command: program and arguments.
            at_once: how many run at the same time, among whom cores and GPUs are shared.

        Raises:
            InputError: there is no such program, or the disk has no locks.
        """
        path = self.folder / _LOCK
        lock = os.open(path, os.O_CREAT | os.O_RDWR)
        try:
            _lock(lock, fcntl.LOCK_EX, self.folder)
            os.ftruncate(lock, 0)  # the process holds the lock from its start on
            with (self.folder / OUTPUT).open("ab") as output:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=_environment(at_once, self.place),
                    pass_fds=(lock,),
                    start_new_session=True,  # Ctrl-C reaches its starter alone, which ends it
                )
            self.pid = self._process.pid
            os.pwrite(lock, f"{self.pid} {self.place} {_host()}".encode(), 0)
        except InputError:  # without locks; the file would stop whoever looks what is at work
            path.unlink()
            raise
        except (FileNotFoundError, PermissionError) as error:
            raise InputError(f"the command {command} cannot be started: {error}") from error
        finally:
            os.close(lock)  # the process has it now

    def running(self) -> bool:
        """Whether it is at work; one that does not end when asked to is killed."""
        if self._asked and time.monotonic() - self._asked > self.patience:
            self._signal(signal.SIGKILL)
        if self._process is not None:
            return self._process.poll() is None
        return is_at_work(self.folder)

    def end(self) -> None:
        """Asks it to end; a training saves its state first."""
        if self._asked is None:
            self._asked = time.monotonic()
            self._signal(signal.SIGTERM)

    @property
    def asked_to_end(self) -> bool:
        """Whether `end` was called."""
        return self._asked is not None

    @property
    def code(self) -> int | None:
        """The exit code; None of a process that was found at work, or still is."""
        return None if self._process is None else self._process.returncode

    def last_lines(self) -> str:
        """The last of what it said, or that it said nothing."""
        path = self.folder / OUTPUT
        text = path.read_text("utf-8", errors="replace") if path.is_file() else ""
        lines = [line for line in text.splitlines() if line.strip()]
        return "\n".join(lines[-_LAST_LINES:]) or f"it ended with code {self.code}, saying nothing"

    def _signal(self, number: int) -> None:
        if self.pid is not None:
            # macOS forbids to signal a group of which all have ended and nobody was told
            with suppress(ProcessLookupError, PermissionError):
                # its helpers die with it; all together only when it does not listen
                kill = os.killpg if number == signal.SIGKILL else os.kill
                kill(self.pid, number)


def _host() -> str:
    """A name of this host, and of what its processes are counted in, without spaces."""
    numbers = Path("/proc/self/ns/pid")  # a container counts its own
    counted = os.readlink(numbers) if numbers.is_symlink() else ""  # noqa: PTH115
    return f"{socket.gethostname()}/{counted}".replace(" ", "_")


def is_at_work(folder: Path) -> bool:
    """Whether a process that was started for the folder is running, whoever started it."""
    path = folder / _LOCK
    if not path.is_file():
        return False
    with path.open("rb") as file:
        try:
            _lock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB, folder)
        except BlockingIOError:
            return True
    return False


def _lock(file: int, kind: int, folder: Path) -> None:
    """Takes a lock on an open file.

    Raises:
        BlockingIOError: another process has it.
        InputError: the disk has no locks.
    """
    try:
        fcntl.flock(file, kind)
    except BlockingIOError:
        raise
    except OSError as error:
        raise InputError(
            f"{folder} lies on a disk without locks ({error.strerror}), by which tables and sweeps "
            "know what is at work; expected one that has them; choose another place for the runs"
        ) from error


def own_gpus(
    environment: Mapping[str, str], num_gpus: int, at_once: int, place: int
) -> dict[str, str]:
    """The variable that shows a process its own of several GPUs; nothing where there is one.

    Args:
        environment: the variables of its starter.
        num_gpus: that its starter sees.
        at_once: how many run at the same time; with more of them than GPUs some have the same one.
        place: of the process among these.
    """
    if num_gpus < 2:
        return {}
    seen = environment[_GPUS].split(",") if _GPUS in environment else range(num_gpus)
    count = max(1, num_gpus // at_once)
    first = place % (num_gpus // count) * count
    return {_GPUS: ",".join(str(seen[number]).strip() for number in range(first, first + count))}


def _environment(at_once: int, place: int) -> dict[str, str]:
    """Several processes share cores and GPUs; each would take all cores, and the first GPU."""
    if at_once == 1:
        return dict(os.environ)
    threads = {"OMP_NUM_THREADS": str(max(1, int(usable_cores() / at_once)))}
    gpus = own_gpus(os.environ, torch.cuda.device_count(), at_once, place)
    return {**threads, **os.environ, **gpus}
