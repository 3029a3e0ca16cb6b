"""Processes that a test starts, joined by gloo as data-parallel training joins them."""

from contextlib import contextmanager

from torch import distributed


@contextmanager
def joined(rank, num_processes, folder):
    """Within, this process is one of several."""
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=num_processes
    )
    yield
    distributed.barrier()
    distributed.destroy_process_group()


def averaged(found):
    """Name -> terms and gradients, each the mean over the processes, as training takes it."""
    for parts in found.values():
        for values in parts:
            for value in values.values():
                distributed.all_reduce(value)
                value /= distributed.get_world_size()
    return found
