"""Kills runs and lets them go on: is the end the same to the bit?

    python experiments/faults/kill.py --kills 25

Trains a tiny encoder on the handwritten digits, undisturbed, on one process and on two. Then again
and again, each time killed once, at a random moment or in the middle of a write, and resumed.
Compared are weights, optimiser, probe and every other state of the last checkpoint, metrics.csv
(without the speed), the pictures and the figures of result.json (without times). Prints a table;
ends with code 1 if anything differs.
"""

import argparse
import csv
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from lightning.pytorch.utilities.rank_zero import rank_zero_only

import dim_lightning.cli.command_line  # noqa: F401  what every run forked from here would load
from dim_lightning.cli import main
from dim_lightning.run.result import read_result

EPOCHS, STEPS = 3, 7
CONFIG = {
    "experiment": "run",
    "checkpoint": {"every_n_steps": 3},
    "data": {"image_size": 8, "batch_size": 32},
    "model": {
        "encoder": {
            "class_path": "dim_lightning.encoders.BlogEncoder",
            "init_args": {"widths": [4], "embedding_dim": 8},
        }
    },
    "neighbours": {"every_n_epochs": 2, "bank_size": 100, "num_queries": 2},
    "geometry": {"every_n_epochs": 2, "num_images": 100},
    "trainer": {
        "max_epochs": EPOCHS,
        "limit_train_batches": STEPS,
        "limit_val_batches": 2,
        "log_every_n_steps": 2,
        "accelerator": "cpu",
    },
}
TWO = {"trainer.devices": "2", "trainer.strategy": "ddp", "data.batch_size": "16"}
TIMES = ("seconds", "epoch_seconds", "speeds", "images_per_second", "speed/images_per_second")


class Fault(NamedTuple):
    """What happens to a run.

    Attributes:
        name: for the table.
        number: the signal.
        share: of the undisturbed run's processor time after which it is sent; None if the run
            sends it to itself.
        prepare: called in the run before it starts.
    """

    name: str
    number: int = signal.SIGKILL
    share: float | None = None
    prepare: Callable[[], None] | None = None


def in_write(name: str, count: int) -> Callable[[], None]:
    """Kills before the `count`-th rename to `name`."""

    def prepare() -> None:
        original, seen = Path.replace, []

        def replace(path: Path, target: Any) -> Path:
            if Path(target).name == name:
                seen.append(target)
                if len(seen) == count:
                    os.kill(os.getpid(), signal.SIGKILL)
            return original(path, target)

        Path.replace = replace  # type: ignore[method-assign]

    return prepare


def in_step(step: int, number: int) -> Callable[[], None]:
    """Sends a signal in the middle of a step."""

    def prepare() -> None:
        from dim_lightning.infomax.deep_infomax import DeepInfoMax

        original = DeepInfoMax.training_step

        def training_step(module: Any, batch: Any, batch_idx: int) -> Any:
            if module.global_step == step:
                os.kill(os.getpid(), number)
            return original(module, batch, batch_idx)

        DeepInfoMax.training_step = training_step  # type: ignore[method-assign]

    return prepare


def faults(kills: int, seed: int) -> list[Fault]:
    """Four fixed ones, and random moments to make up `kills`; one in five is a SIGTERM."""
    draw = random.Random(seed)
    fixed = [
        Fault(f"kill -9 in step {STEPS + 4}", prepare=in_step(STEPS + 4, signal.SIGKILL)),
        Fault("kill -9 before last.ckpt is renamed", prepare=in_write("last.ckpt", 4)),
        Fault("kill -9 before previous.ckpt is renamed", prepare=in_write("previous.ckpt", 3)),
        Fault(f"SIGTERM in step {STEPS + 5}", signal.SIGTERM, None, in_step(STEPS + 5, 15)),
    ]
    drawn = []
    for number in range(max(0, kills - len(fixed))):
        name, signum = ("SIGTERM", 15) if number % 5 == 4 else ("kill -9", signal.SIGKILL)
        drawn.append(Fault(f"{name} at a random moment", signum, draw.random()))
    return [*fixed, *drawn][:kills]


def start(
    words: list[str], log: Path, processes: int = 1, prepare: Callable[[], None] | None = None
) -> int:
    """Forks the processes of a command, in a group of their own; the number of the first."""
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["dim_lightning", *words]
    code = 70
    try:
        rank = _be_one_of(processes) if processes > 1 else 0
        if prepare is not None and rank == 0:
            prepare()
        code = main(words)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _be_one_of(processes: int) -> int:
    """Forks the others and tells each process its place, as torchrun does; the place."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    rank = next((rank for rank in range(1, processes) if not os.fork()), 0)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port, LOCAL_RANK=str(rank))
    rank_zero_only.rank = rank  # which Lightning reads from there when it is loaded
    return rank


def processor_seconds(pid: int) -> float:
    """Time that the process has computed for."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait(pid: int, fault: Fault | None = None, after: float = 0.0) -> tuple[int, float]:
    """Exit code (minus the signal that killed it) and processor seconds; sends the fault's signal.

    SIGKILL goes to all processes of the run, as when a node dies; SIGTERM to the first.
    """
    sent, used = fault is None or fault.share is None, 0.0
    while True:
        used = max(used, processor_seconds(pid))
        if not sent and used >= after:
            sent = True
            assert fault is not None
            os.kill(pid, fault.number)
            if fault.number == signal.SIGKILL:
                _kill_group(pid)
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            break
        time.sleep(0.005)
    _kill_group(pid)
    return os.waitstatus_to_exitcode(status), used


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def difference(expected: Path, found: Path) -> str:
    """The first thing in which two finished runs differ; empty if there is none."""
    first, second = (
        torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
        for run in (expected, found)
    )
    where = _differs(first, second, "last.ckpt")
    where = where or _differs(_metrics(expected), _metrics(found), "metrics.csv")
    where = where or _differs(_pictures(expected), _pictures(found), "pictures")
    return where or _differs(read_result(expected)["fit"], read_result(found)["fit"], "result.json")


def _differs(first: Any, second: Any, where: str) -> str:
    if isinstance(first, dict) and isinstance(second, dict):
        if first.keys() != second.keys():
            return f"{where}: {sorted(map(str, first.keys() ^ second.keys()))}"
        names = [name for name in first if name not in TIMES]
        return next((w for n in names if (w := _differs(first[n], second[n], f"{where} {n}"))), "")
    if isinstance(first, list | tuple) and len(first) == len(second):
        pairs = enumerate(zip(first, second, strict=True))
        return next((w for i, (a, b) in pairs if (w := _differs(a, b, f"{where} {i}"))), "")
    same = torch.equal(first, second) if isinstance(first, torch.Tensor) else first == second
    return "" if same else where


def _metrics(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [{name: row[name] for name in row if not name.startswith("speed/")} for row in rows]


def _pictures(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((run / "pictures").iterdir())}


class Bench:
    """Runs on one or two processes, in a folder of their own."""

    def __init__(self, folder: Path, processes: int, timed: bool) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        config = folder / "tiny.yaml"
        config.write_text(yaml.safe_dump(CONFIG), "utf-8")
        self.processes = processes
        options = {"data.root": str(folder.parent / "data"), **(TWO if processes == 2 else {})}
        self._fit = ["fit", "--config", str(config)]
        self._fit += [word for key, value in options.items() for word in (f"--{key}", value)]
        for _ in range(2 if timed else 1):  # the first decodes the data and so takes longer
            code, self.seconds = wait(start(self._words("whole"), folder / "whole.txt", processes))
            if code:
                raise SystemExit((folder / "whole.txt").read_text("utf-8"))
        self.whole = folder / "whole" / "run" / "1"

    def _words(self, name: str) -> list[str]:
        return [*self._fit, "--runs_dir", str(self.folder / name)]

    def disturbed(self, number: int, fault: Fault) -> tuple[str, str, str]:
        """Kills a run and lets it go on: how it ended, where it went on, and what differs."""
        name, log = f"killed{number}", self.folder / f"killed{number}.txt"
        run, share = self.folder / name / "run" / "1", fault.share
        while True:
            pid = start(self._words(name), log, self.processes, fault.prepare)
            code, _ = wait(pid, fault, (share or 0.0) * self.seconds)
            if code or share is None:
                break
            share *= 0.7  # it was over before, so it is no test
            shutil.rmtree(run)
        if not (run / "config.yaml").is_file():  # nothing to go on with: the same command again
            shutil.rmtree(run, ignore_errors=True)
            words, place = self._words(name), "no run yet"
        else:
            words, place = ["fit", "--resume", str(run)], _place(run)
        again, _ = wait(start(words, log, self.processes))
        if again:
            last = log.read_text("utf-8").splitlines()[-1]
            return str(code), place, f"ended with {again}: {last}"
        if code not in (-signal.SIGKILL, 143, -signal.SIGTERM):
            return str(code), place, f"the stop ended with {code}"
        return str(code), place, difference(self.whole, run)


def _place(run: Path) -> str:
    path = run / "checkpoints" / "last.ckpt"
    if not path.is_file():
        return "the beginning"
    step = torch.load(path, weights_only=True)["global_step"]
    return f"epoch {step // STEPS + 1}, step {step % STEPS}"


def run(kills: list[int], processes: list[int], seed: int, folder: Path) -> bool:
    """Prints the table; whether all was the same."""
    good = True
    print(f"{'processes':<10}{'fault':<42}{'code':>5}  {'went on from':<22}difference", flush=True)
    for count, most in zip(processes, kills, strict=True):
        planned = faults(most, seed)
        bench = Bench(folder / str(count), count, any(f.share is not None for f in planned))
        for number, fault in enumerate(planned):
            code, place, differs = bench.disturbed(number, fault)
            good = good and not differs
            line = f"{count:<10}{fault.name:<42}{code:>5}  {place:<22}{differs or 'none'}"
            print(line, flush=True)
    return good


def _main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--kills",
        type=int,
        nargs="+",
        default=[25],
        help="one number for all numbers of processes, or one for each; 25",
    )
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], choices=[1, 2])
    parser.add_argument("--seed", type=int, default=0, help="of the moments; 0")
    options = parser.parse_args()
    kills = options.kills * (len(options.processes) if len(options.kills) == 1 else 1)
    if len(kills) != len(options.processes):
        parser.error(f"--kills has {len(kills)} numbers; expected {len(options.processes)}, or one")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)  # threads of this process would be missing in those it forks
    with tempfile.TemporaryDirectory() as folder:
        return 0 if run(kills, options.processes, options.seed, Path(folder)) else 1


if __name__ == "__main__":
    sys.exit(_main())
