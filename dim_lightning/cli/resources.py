"""Memory that runs out, and data workers that are killed: what to set then."""

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_sharer
from pathlib import Path

from dim_lightning.errors import InputError

_SIGNS = (
    "out of memory",
    "can't allocate",
    "cannot allocate",
    "not enough memory",
    "bad_alloc",
    "alloc_failed",  # of cuBLAS and cuDNN
)
_GPU_LIBRARIES = ("cuda", "cublas", "cudnn", "mps backend")
_AMOUNT = re.compile(r"allocate (?P<amount>[\d.]+ ?(?:bytes|[KMGT]i?B))", re.IGNORECASE)
_WORKER = re.compile(r"DataLoader worker \(pid(?:\(s\))? [\d, ]+\) (?P<how>.*)")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says so: each library and each device has words of its own."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError | OSError) and any(
        sign in str(error).lower() for sign in _SIGNS
    )


def amount_of(error: BaseException) -> str:
    """What could not be had, for people to read."""
    match = _AMOUNT.search(str(error))
    if match is None:
        return "memory"
    number, _, unit = match["amount"].partition(" ")
    return f"{int(number) / 1e9:.2f} GB" if unit == "bytes" else match["amount"]


@contextmanager
def explained_resources(command: str, batch_size: int, eval_batch_size: int) -> Iterator[None]:
    """Says which setting makes a command fit into the machine.

    Args:
        command: fit, validate, test or predict.
        batch_size: data.batch_size.
        eval_batch_size: data.eval_batch_size.

    Raises:
        InputError: the memory ran out, or a data worker was killed.
    """
    try:
        yield
    except (MemoryError, RuntimeError, OSError, EOFError) as error:
        if is_out_of_memory(error):
            if command == "fit":
                raise InputError(_too_large(error, "batch_size", batch_size)) from error
            explained = _too_many_features if command == "test" and _on_gpu(error) else _too_large
            raise InputError(explained(error, "eval_batch_size", eval_batch_size)) from error
        worker = _WORKER.search(str(error))
        if worker is None and not _in_handing_over(error):
            raise
        how = worker["how"].rstrip(". ") if worker else "ended while it handed over a batch"
        raise InputError(
            f"a process that fetches data {how}; the system kills them when "
            "memory or shared memory (/dev/shm) is short; set data.num_workers lower, 0 needs none"
        ) from error


def _in_handing_over(error: BaseException) -> bool:
    """Whether it is of the moment in which a process gives another its memory with a batch."""
    frames = traceback.extract_tb(error.__traceback__)
    return any(Path(frame.filename) == Path(resource_sharer.__file__) for frame in frames)


def _on_gpu(error: BaseException) -> bool:
    text = str(error).lower()
    is_torchs = type(error).__name__ == "OutOfMemoryError"  # of no processor
    return is_torchs or any(library in text for library in _GPU_LIBRARIES)


def _too_large(error: BaseException, name: str, size: int) -> str:
    return (
        f"out of memory: {amount_of(error)} more could not be had, with data.{name} {size}; set "
        f"data.{name} to {max(2, size // 2)}, which takes about half as much, or lower; or choose "
        "a smaller model.encoder or data.image_size"
    )


def _too_many_features(error: BaseException, name: str, size: int) -> str:
    return (
        f"out of memory: {amount_of(error)} more could not be had; probes and neighbours have a "
        "layer's features of all labelled images on the device, 8 bytes each and the SVM up to 12, "
        f"beside batches of data.{name} {size}; set trainer.accelerator to cpu, where they lie in "
        "the machine's memory, or evaluation.svm to false, or evaluation.linear_dim lower, or "
        f"data.{name} to {max(2, size // 2)}, or lower; or choose a model.encoder with smaller "
        "layers"
    )
