"""Tries, before hours of training, what comes late in it: views of other sizes, the validation."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from dim_lightning.data import Batch, CropColour, ImageDataModule
from dim_lightning.encoders.encoder import evaluating
from dim_lightning.errors import InputError
from dim_lightning.processes import alone

Step = Callable[[Batch, torch.Generator], tuple[Any, Any]]  # code_and_terms of a method


class OneViewError(InputError):
    """A step that several views of an image do not fail, and one does."""


def of_one_view(
    method: str, step: Step, batch: Batch, generator: torch.Generator, data: object
) -> Any:
    """What a step gives of the images themselves, as validation and test have them.

    Where it fails, and training has further views, it is tried with as many: only what then works
    has failed for the lack of them.

    Args:
        method: its name.
        step: its code_and_terms.
        batch: without further views.
        generator: of the draws.
        data: of the training, where it is known.

    Raises:
        OneViewError: it needs several views.
    """
    try:
        return step(batch, generator)
    except Exception as error:
        if not (isinstance(data, ImageDataModule) and _takes(step, batch, generator, data)):
            raise
        raise OneViewError(
            f"{method}.code_and_terms needs batch.more_views, and fails where it is empty "
            f"({type(error).__name__}: {error}); validation and test give one view, the image "
            "itself; expected codes of batch.images there, and {} as terms if there can be none"
        ) from error


def check_views_fit(encoder: nn.Module, image_size: int, data: ImageDataModule) -> None:
    """Tries the encoder with two black images of each size that views will have.

    It keeps its mode and its statistics, and PyTorch's generator of the CPU stays as it is. Of
    an augmentation of one's own, whose size nobody knows, nothing is tried.

    Args:
        encoder: of a method, compiled or not.
        image_size: which was tried before.
        data: of the training.

    Raises:
        InputError: it cannot take images of some size; names the setting.
    """
    parameter = next(encoder.parameters(), torch.empty(0))
    for key, size in _sizes(data):
        if size == image_size:
            continue
        images = parameter.new_zeros(2, 3, size, size)
        try:
            with evaluating(encoder), torch.random.fork_rng(devices=[]):
                encoder.forward(images)  # not called, which would compile it for these images
        except Exception as error:
            reason = str(error).partition("\n")[0]
            raise InputError(
                f"{key} asks for views of {size} pixels, which {type(encoder).__name__} cannot "
                f"take ({reason}); expected sizes that the encoder takes; change {key}, or "
                "choose another model.encoder, such as StridedEncoder"
            ) from error


def _sizes(data: ImageDataModule) -> Iterator[tuple[str, int]]:
    """The setting that asks for it and the size, of all views whose size is known, each once."""
    for size in dict.fromkeys(size for _, size in data.view_sizes):
        yield "data.view_sizes", size
    settings = {"small_augmentation": data.small_augmentation} if data.num_small_views else {}
    if not data.view_sizes:
        settings["augmentation"] = data.augmentation
    for name, augmentation in settings.items():
        if isinstance(augmentation, CropColour) and augmentation.size is not None:
            yield f"data.{name}", augmentation.size


def _takes(step: Step, batch: Batch, generator: torch.Generator, data: ImageDataModule) -> bool:
    """Whether a step works with as many views as training has, if that has further ones."""
    count = data.num_views - 1 + data.num_small_views
    if count < 1:
        return False
    more = (batch.images,) * count
    views = batch._replace(more_views=more, small_views=more[count - data.num_small_views :])
    try:
        with alone():  # the other processes may have no error, and would not take part
            step(views, generator)
    except Exception:
        return False
    return True
