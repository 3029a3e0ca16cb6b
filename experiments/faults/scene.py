"""A training of seconds on the digits, in a process of its own, and how it ended."""

import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
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


def run(
    words: list[str], prepare: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end, on Linux: forked from this process, which loads packages once.

    Args:
        words: what comes after `python -m dim_lightning`.
        prepare: called in the new process first.
    """
    os.environ.update(environment())
    import dim_lightning.cli.command_line  # noqa: F401  here, as `in_own_mounts` begins anew

    with tempfile.NamedTemporaryFile() as said:
        given = (words, Path(said.name), prepare)
        process = multiprocessing.get_context("fork").Process(target=_run, args=given)
        process.start()
        process.join(1800)
        process.kill()
        process.join()
        error = said.read().decode()
    return subprocess.CompletedProcess(words, process.exitcode, stderr=error)


def _run(words: list[str], said: Path, prepare: Callable[[], None] | None) -> None:
    from dim_lightning.cli import main

    for number, path in ((1, Path(os.devnull)), (2, said)):
        with path.open("ab") as file:
            os.dup2(file.fileno(), number)
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
    if os.environ.get("FAULT_MOUNTS"):
        return
    if os.geteuid() != 0 or not shutil.which("unshare"):
        skip("mounting needs root and unshare (Linux)")
    words = ["unshare", "--mount", sys.executable, *sys.argv]
    probe = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    if probe.returncode:
        skip("this system lets nobody make a mount namespace")
    os.execvpe("unshare", words, {**os.environ, "FAULT_MOUNTS": "1"})


def mount(kind: str, place: Path, *options: str) -> None:
    """Mounts over `place`; for processes after `in_own_mounts` only."""
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", *options, kind, str(place)], check=True)
    _MOUNTED.append(place)


def skip(why: str) -> None:
    """Ends the script: it cannot be tried here."""
    print(f"skipped: {why}")
    sys.exit(0)
