"""A training of seconds on the digits, in a process of its own, and how it ended."""

import ctypes
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))
CONFIG = """
experiment: fault
data: {source: Digits, image_size: 16, batch_size: 64}
model:
  encoder: {class_path: BlogEncoder, init_args: {widths: [16, 32], embedding_dim: 32}}
neighbours: {every_n_epochs: 100}
evaluation: {mlp_epochs: 0, floors: false}
trainer: {max_epochs: 3, limit_train_batches: 3, accelerator: cpu}
"""


_CLONE_NEWNS = 0x00020000  # of Linux's sched.h
_MOUNTED: list[Path] = []


@contextmanager
def folder() -> Iterator[Path]:
    """A folder with `config.yaml`, which is removed in the end."""
    with tempfile.TemporaryDirectory(prefix="fault") as name:
        (Path(name) / "config.yaml").write_text(CONFIG, "utf-8")
        try:
            yield Path(name)
        finally:
            for place in reversed(_MOUNTED):
                subprocess.run(["umount", "--lazy", place], capture_output=True, check=False)


def fit(place: Path, *words: str) -> list[str]:
    """Words of a command on the digits; data and runs are in `place` unless `words` say else."""
    start = ["fit", "--config", str(place / "config.yaml"), "--data.root", str(place / "data")]
    return [*start, "--runs_dir", str(place / "runs"), *words]


def command(place: Path, *words: str) -> list[str]:
    """`fit` as a program of its own."""
    return [sys.executable, "-m", "dim_lightning", *fit(place, *words)]


def environment(**more: str) -> dict[str, str]:
    """This process's, with the project first, and one thread."""
    path = os.pathsep.join([str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {
        **os.environ,
        "PYTHONPATH": path,
        "OMP_NUM_THREADS": "1",
        "WANDB_MODE": "offline",
        **more,
    }


class Started:
    """A command that was started: forked from this process, which loads the packages once.

    Args:
        words: what comes after `python -m dim_lightning`.
        prepare: called in the new process first.

    Attributes:
        pid: the id of the process.
    """

    def __init__(self, words: list[str], prepare: Callable[[], None] | None = None) -> None:
        os.environ.update(environment())
        import dim_lightning.cli.command_line  # noqa: F401  what it would load

        self._words = words
        self._folder = tempfile.TemporaryDirectory()  # which goes with this object
        self._said = [Path(self._folder.name) / name for name in ("out", "err")]
        for path in self._said:
            path.touch()
        context = multiprocessing.get_context("fork")
        self._process = context.Process(target=_run, args=(words, self._said, prepare))
        self._process.start()
        self.pid = self._process.pid

    def lines(self) -> Iterator[str]:
        """What it says, line by line, until it has ended."""
        with self._said[0].open(encoding="utf-8") as file:
            while True:
                goes_on = self._process.is_alive()
                yield from file
                if not goes_on:
                    return
                time.sleep(0.02)

    def ended(self) -> subprocess.CompletedProcess[str]:
        """Waits until it has ended, half an hour at most: how, and what it said."""
        self._process.join(1800)
        self._process.kill()
        self._process.join()
        out, error = (path.read_text("utf-8") for path in self._said)
        return subprocess.CompletedProcess(self._words, self._process.exitcode, out, error)


def run(
    words: list[str], prepare: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end, see `Started`."""
    return Started(words, prepare).ended()


def _run(words: list[str], said: list[Path], prepare: Callable[[], None] | None) -> None:
    from dim_lightning.cli import main

    for number, path in enumerate(said, 1):
        with path.open("ab") as file:
            os.dup2(file.fileno(), number)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    if prepare is not None:
        prepare()
    sys.exit(main(words))


def judge(fault: str, code: int, expected: int, error: str, *said: str) -> None:
    """Prints how it ended, and leaves with 1 if that is not as it should be."""
    lines = [line for line in error.splitlines() if line.strip()]
    print(f"{fault}: exit code {code}; {lines[-1] if lines else 'nothing was said'}", flush=True)
    missing = [text for text in said if text not in error]
    if code != expected or "Traceback" in error or missing:
        sys.exit(
            f"FAILED {fault}: expected code {expected} and {missing or said}; it said:\n{error}"
        )


def in_own_mounts() -> None:
    """Goes on in a mount namespace of its own, so that no mount outlives this script."""
    if os.geteuid() != 0 or sys.platform != "linux":
        skip("mounting needs root, and Linux")
    if ctypes.CDLL(None).unshare(_CLONE_NEWNS):
        skip("this system lets nobody make a mount namespace")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


def mount(kind: str, place: Path, *options: str) -> None:
    """Mounts over `place`; for processes after `in_own_mounts` only."""
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", *options, kind, str(place)], check=True)
    _MOUNTED.append(place)


def skip(why: str) -> None:
    """Ends the script: it cannot be tried here."""
    print(f"skipped: {why}")
    sys.exit(0)
