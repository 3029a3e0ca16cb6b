"""Whole batches by PyTorch's DataLoader, and what its processes do about signals."""

import os
import signal
from multiprocessing import parent_process
from threading import Thread
from typing import Any

from lightning import Trainer
from torch.utils.data import DataLoader

from dim_lightning.data.batch import Batch, Split
from dim_lightning.seeding import generator_for

_PATIENCE = 10  # seconds


def loader(
    images: Split, batch_size: int, trainer: Trainer | None, seed: int, **options: Any
) -> DataLoader[Batch]:
    """Batches of the images, in their order unless an option says another.

    Args:
        images: of a split.
        batch_size: images of one process.
        trainer: for whose device they are.
        seed: of what the loader would draw from the global generator.
        options: of a DataLoader.
    """
    device = None if trainer is None else trainer.strategy.root_device
    return DataLoader(
        images,
        batch_size=batch_size,  # by name: Lightning calls it again with one of its own
        collate_fn=_as_it_is,
        # a training on the CPU would take memory on a GPU for it
        pin_memory=device is not None and device.type == "cuda",
        worker_init_fn=leave_signals,
        # Without one of its own, starting to read it would draw from the global generator.
        generator=generator_for(seed),
        **options,
    )


def _as_it_is(batch: Any) -> Any:
    """The batch: a `Split` gives whole ones."""
    return batch


def leave_signals(_: int) -> None:
    """Ctrl-C, a terminal's end and a job's SIGTERM reach processes that fetch, too.

    The first process waits for their batch, and ends them when its step, the validation and the
    checkpoint are done. SIGTERM is how it may do so, and is obeyed at once if it comes from there.
    Where nothing tells from where it comes, as on macOS, or in a process that was not forked and
    has threads of libraries already, to which the system may give it, it ends them after a while.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_PATIENCE))
    first = parent_process()
    if first is not None and hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        Thread(target=_obey, args=(first.pid,), daemon=True).start()


def _obey(process: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != process:
        pass
    os._exit(0)
