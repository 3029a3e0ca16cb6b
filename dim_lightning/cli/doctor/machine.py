"""Device, precision, threads and memory."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from dim_lightning.cli.doctor.asked import Asked
from dim_lightning.cli.doctor.finding import Finding
from dim_lightning.cli.speed import seconds_by_precision
from dim_lightning.processor import (
    APPLE_GPU_ADVICE,
    APPLE_GPU_UNTRIED,
    CUDA_ADVICE,
    apple_gpu_error,
    cuda_error,
    has_apple_gpu,
    is_trained_in,
    takes_apple_gpu,
)
from dim_lightning.run.environment import cpu_model
from dim_lightning.run.limits import available_memory, usable_cores

SHARED = Path("/dev/shm")
_BATCHES_AHEAD = 2  # of each worker: the DataLoader's default
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_THREAD_LIMIT")
_LITTLE = 2e9  # bytes of memory: PyTorch and a small run take about one
_BUSY = 1.5  # programs a core
_CLEARLY = 1.1  # how much quicker counts as quicker


def device(asked: Asked) -> Iterator[Finding]:
    """What computes, and whether it is what the configuration asks for."""
    names, error, taken = _gpus(), cuda_error(), _taken(asked)
    if error is not None:
        found = f"there is a GPU, but CUDA cannot use it: {error}"
        yield Finding("device", found, CUDA_ADVICE, "FIX")
    elif taken == "cuda":
        total = torch.cuda.get_device_properties(0).total_memory
        yield Finding("device", f"{len(names)} x {names[0]}, {total / 1e9:.0f} GB")
    elif taken == "mps":
        yield _apple_gpu()
    elif not names and (any(Path("/dev").glob("nvidia[0-9]*")) or shutil.which("nvidia-smi")):
        why = "cannot use it" if torch.version.cuda else "is a build for CPUs"
        advice = "update the driver, or install a build of torch for its CUDA: pytorch.org"
        yield Finding("device", f"there is an NVIDIA GPU, but this torch {why}", advice, "hint")
    else:
        found = f"CPU, {cpu_model()}"
        if has_apple_gpu():
            found += f"; {APPLE_GPU_UNTRIED}; --trainer.accelerator mps takes this one"
        yield Finding("device", found)
    yield from _devices_asked(asked, len(names))


def _taken(asked: Asked) -> str:
    """The device that `fit` takes: cpu, cuda or mps."""
    accelerator = asked.trainer.get("accelerator", "auto")
    if takes_apple_gpu(accelerator):
        return "mps"
    return "cuda" if _gpus() and accelerator != "cpu" else "cpu"


def _apple_gpu() -> Finding:
    error = apple_gpu_error()
    if error is not None:
        return Finding("device", f"Apple GPU (mps), but {error}", APPLE_GPU_ADVICE, "FIX")
    return Finding("device", f"Apple GPU (mps); {APPLE_GPU_UNTRIED}")


def _gpus() -> list[str]:
    """The names of the GPUs that CUDA can use."""
    if cuda_error() is not None:
        return []
    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


def _devices_asked(asked: Asked, num_gpus: int) -> Iterator[Finding]:
    accelerator = asked.trainer.get("accelerator", "auto")
    count = asked.trainer.get("devices", 1)
    wanted = count if isinstance(count, int) and not isinstance(count, bool) else 0
    kind = "GPUs"
    if accelerator == "mps" or takes_apple_gpu(accelerator):
        kind, num_gpus = "Apple GPUs", int(has_apple_gpu())
    if accelerator in ("gpu", "cuda", "mps") and num_gpus < max(wanted, 1):
        found = f"the configuration asks for {max(wanted, 1)} {kind}, here are {num_gpus}"
        advice = "set trainer.accelerator to cpu" if not num_gpus else f"set it to {num_gpus}"
        yield Finding("trainer.devices", found, advice, "FIX")


def precision(asked: Asked) -> Iterator[Finding]:
    """The quickest precision, by two seconds of measurement."""
    name = _taken(asked)
    measured = seconds_by_precision(name)
    base = measured["32-true"]
    quickest = min(measured, key=lambda key: measured[key])
    if measured[quickest] * _CLEARLY > base:
        quickest = "32-true"
    times = ", ".join(f"{key} {1000 * value:.1f} ms" for key, value in measured.items())
    wanted = str(asked.trainer.get("precision") or "32-true")
    advice = f"--trainer.precision {quickest}"
    if not is_trained_in(wanted):
        found = f"the configuration asks for {wanted}, which fit refuses"
        yield Finding("precision", found, advice, "FIX")
    elif name == "cpu" and wanted.startswith("16"):
        found = f"the configuration asks for {wanted}, which fit refuses on a CPU"
        yield Finding("precision", found, advice, "FIX")
    elif wanted.startswith("bf16") and "bf16-mixed" not in measured:
        found = f"the configuration asks for {wanted}, which this GPU only imitates"
        yield Finding("precision", found, advice, "hint")
    slower = measured.get(wanted, base) / measured[quickest]
    yield Finding(
        "precision",
        f"{quickest} is the one to take here ({times}, forward and backward)",
        advice if slower > _CLEARLY else "",
        "hint" if slower > _CLEARLY else "ok",
    )


def threads(_: Asked) -> Iterator[Finding]:
    """How many cores this process may use, and how many threads PyTorch takes."""
    cores, taken = usable_cores(), torch.get_num_threads()
    found = f"PyTorch takes {taken}, this process may use {_plain(cores)} of {os.cpu_count()} cores"
    variables = {name: os.environ[name] for name in _THREAD_VARIABLES if name in os.environ}
    said = ", ".join(f"{name}={value}" for name, value in variables.items())
    if said:
        found += f" ({said})"
    load = os.getloadavg()[0]
    if load > _BUSY * cores:
        others = (
            f"{load:.1f} programs compute here at once, so a run and what was measured are slow"
        )
        yield Finding("load", others, "wait for the others, or end them", "hint")
    if taken > max(1.0, cores):
        advice = f"they get in each other's way: export OMP_NUM_THREADS={max(1, int(cores))}"
        yield Finding("threads", found, advice, "hint")
    elif variables and taken < int(cores):
        advice = f"for one run alone: export OMP_NUM_THREADS={int(cores)}"
        yield Finding("threads", found, advice, "hint")
    else:
        yield Finding("threads", found)


def memory(_: Asked) -> Iterator[Finding]:
    """Memory that is free for this process."""
    free = available_memory()
    if free is None:
        return
    found = f"{free / 1e9:.1f} GB free"
    if free < _LITTLE:
        advice = "end other programs, or set data.batch_size lower if a run is killed"
        yield Finding("memory", found, advice, "hint")
    else:
        yield Finding("memory", found)


def shared_memory(asked: Asked) -> Iterator[Finding]:
    """The memory through which data workers send batches."""
    workers = asked.whole("num_workers", 0)
    if not SHARED.is_dir():
        found = "no /dev/shm on this system"
        if workers and sys.platform == "linux":  # where it is what they need
            yield Finding("shared memory", found, "set data.num_workers to 0", "FIX")
        else:
            yield Finding("shared memory", found)
        return
    free = shutil.disk_usage(SHARED).free
    batch = 3 * asked.whole("image_size", 32) ** 2 * asked.whole("batch_size", 64)
    needed = workers * (_BATCHES_AHEAD + 1) * batch
    found = f"{free / 1e9:.2f} GB free in {SHARED}; data.num_workers {workers} needs "
    found += f"{needed / 1e9:.2f} GB" if workers else "none"
    if needed > free:
        advice = "set data.num_workers to 0, or in a container: docker run --shm-size=2g"
        yield Finding("shared memory", found, advice, "FIX")
    else:
        yield Finding("shared memory", found)


def _plain(cores: float) -> str:
    return f"{cores:.0f}" if cores == int(cores) else f"{cores:.1f}"
