"""Whether the settings of the data can be meant, images are enough, and batches can be taken."""

from collections.abc import Sequence
from typing import get_args

from dim_lightning.data.augmentation import Augmentation, CropColour
from dim_lightning.data.batch import Batch
from dim_lightning.data.shards import Stream
from dim_lightning.data.sources import Source
from dim_lightning.data.splits import PREDICTED, SplitName
from dim_lightning.errors import InputError, check_least, cut

_LONGEST = 60


def check_source(source: object) -> None:
    """Look at what the pictures are to come from.

    Raises:
        InputError: it is no object of a source's class.
    """
    if isinstance(source, Source | Stream):
        return
    raise InputError(
        f"data.source is {_found(source)}; expected an object of a class of "
        "dim_lightning.data, such as Digits(), PictureFolder(path) or Stream(path), or of a Source "
        "of your own"
    )


def check_views(name: str, number: int, least: int, augmentation: object) -> None:
    """Look at a number of views; without an augmentation, one is the image.

    Raises:
        InputError: it is too small, there is nothing that makes the views, or it is no
            augmentation.
    """
    check_least(f"data.num_{name}", number, least, "a number of views")
    key = "augmentation" if name == "views" else "small_augmentation"
    if augmentation is not None and not isinstance(augmentation, Augmentation):
        raise InputError(
            f"data.{key} is {_found(augmentation)}; expected a "
            "dim_lightning.data.Augmentation, called with images and a generator, from which it "
            "takes every draw; CropColour and CropAndFlip are such"
        )
    if augmentation is None and number > least:
        raise InputError(
            f"data.num_{name} is {number} and data.{key} is null; expected something that makes "
            f"the views differ; set data.{key}, e.g. to CropColour, or data.num_{name} to {least}"
        )


def check_fraction(name: str, value: float, zero: bool = False) -> None:
    """Look at a share.

    Args:
        name: of the setting.
        value: what was given.
        zero: whether it may be none.

    Raises:
        InputError: it is none, or all.
    """
    if not 0 < value < 1 and not (zero and value == 0):
        expected = f"{'0 or ' if zero else ''}a share between 0 and 1"
        raise InputError(f"data.{name} is {value}; expected {expected}; set data.{name}")


def check_predicted(predicted: object) -> None:
    """Look at which images `predict` takes.

    Raises:
        InputError: there are none of that name.
    """
    if predicted is not None and predicted not in PREDICTED:
        raise InputError(
            f"data.predicted is {predicted!r}; expected {', '.join(PREDICTED)} or null; set "
            "data.predicted"
        )


def check_split(name: object) -> None:
    """Look at the name of a split.

    Raises:
        InputError: there is none of that name.
    """
    if name not in get_args(SplitName):
        raise InputError(
            f"the split is {name!r}; expected {', '.join(get_args(SplitName))}; name one of these"
        )


def check_workers(streamed: bool, num_workers: int) -> None:
    """Look at the number of processes that fetch batches.

    Raises:
        InputError: it is negative, or there are some and the pictures are streamed.
    """
    check_least("data.num_workers", num_workers, 0, "a number of processes")
    if streamed and num_workers:
        raise InputError(
            f"data.num_workers is {num_workers}; expected 0 with a stream, which reads ahead in "
            "threads, while processes would each read every shard; set data.num_workers to 0"
        )


def check_view_sizes(
    view_sizes: Sequence[tuple[int, int]], augmentation: Augmentation | None
) -> None:
    """Look at the sizes of the views.

    Raises:
        InputError: an epoch has none, or there is nothing that makes views of a size.
    """
    if not view_sizes:
        return
    epochs = [epoch for epoch, _ in view_sizes]
    smallest = min(size for _, size in view_sizes)
    if epochs[0] != 0 or epochs != sorted(set(epochs)) or smallest < 1 or augmentation is None:
        raise InputError(
            f"data.view_sizes is {[list(each) for each in view_sizes]} with data.augmentation "
            f"{type(augmentation).__name__}; expected [epoch, pixels] with rising epochs from 0 "
            "on, e.g. [[0, 16], [5, 32]], and an augmentation that resizes, e.g. CropColour"
        )
    for _, size in view_sizes:
        augmentation.resized(size)


def check_one_size(
    method: str,
    image_size: int,
    view_sizes: Sequence[tuple[int, int]],
    augmentation: Augmentation | None,
) -> None:
    """Look at whether views keep the size of the images, as a method with a decoder needs.

    Raises:
        InputError: some have another.
    """
    key, sizes = "data.view_sizes", [size for _, size in view_sizes]
    if not sizes and isinstance(augmentation, CropColour):
        key, sizes = "data.augmentation.size", [augmentation.size or image_size]
    others = [size for size in sizes if size != image_size]
    if others:
        raise InputError(
            f"{key} asks for views of {others[0]} pixels, and the decoder of {method} makes images "
            f"of {image_size}; set data.view_sizes to [] and the size of data.augmentation to null"
        )


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


def as_batch(batch: object) -> Batch:
    """What a loader gives, after a look at its type.

    Raises:
        InputError: it is no batch.
    """
    if isinstance(batch, Batch):
        return batch
    raise InputError(
        f"the data loader gives {type(batch).__name__}; expected dim_lightning.data.Batch (images, "
        "labels, indices), as those of ImageDataModule do; give it a Source of your own for other "
        "pictures"
    )


def checked_batch(batch: object) -> Batch:
    """What a step of a module is given, after a look at it.

    Raises:
        InputError: it is no batch of images as floats.
    """
    batch = as_batch(batch)
    if not batch.images.is_floating_point():
        raise InputError(
            f"the images are {str(batch.images.dtype).removeprefix('torch.')}; expected floats "
            "in [0, 1]; pass the ImageDataModule itself, datamodule=data, which scales and "
            "augments what its loaders give"
        )
    return batch


def _found(given: object) -> str:
    """What was given in place of an object of some class."""
    return f"the class {given.__name__}" if isinstance(given, type) else cut(repr(given), _LONGEST)
