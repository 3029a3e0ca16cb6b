"""Batches that a split is enough for, whatever the number of processes."""

from dim_lightning.errors import InputError


def check_training_batches(count: int, processes: int, batch_size: int) -> None:
    """Look at whether each process has a batch of training images.

    Raises:
        InputError: there are too few images.
    """
    share = count // processes
    if share < batch_size:
        among = f" for each of {processes} processes" if processes > 1 else ""
        raise InputError(
            f"{share} training images{among} are fewer than a batch of {batch_size}; "
            f"expected at least one batch; set data.batch_size to at most {share}, or add "
            "pictures"
        )


def shared_batch_size(count: int, processes: int, most: int, split: str) -> int:
    """`most`, or the next smaller size with a last joint batch that is no trouble.

    A single image has no negatives, and each process needs an image.

    Args:
        count: images of the split.
        processes: how many share it.
        most: data.batch_size.
        split: its name.

    Raises:
        InputError: with no size every process has one.
    """
    for size in range(most, 1, -1):
        rest = count % (processes * size)
        if rest == 0 or rest >= max(2, processes):
            return size
    if processes == 1:
        return most
    raise InputError(
        f"the {count} images of the split {split} cannot be shared among {processes} processes "
        f"in batches of at most {most}; expected an image for each in every "
        "batch; set data.batch_size higher, or use fewer processes"
    )
