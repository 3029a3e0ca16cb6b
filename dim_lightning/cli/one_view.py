"""A try of the step that the first validation takes, which comes after a whole epoch."""

import copy
import warnings

import torch
from lightning.pytorch.utilities.seed import isolate_rng

from dim_lightning.data import Batch, ImageDataModule
from dim_lightning.encoder_module import EncoderModule
from dim_lightning.encoders.encoder import evaluating
from dim_lightning.seeding import generator_for
from dim_lightning.view_checks import OneViewError, of_one_view

_IMAGES = 4


def check_validation(model: EncoderModule, data: ImageDataModule) -> None:
    """Takes the step on images of no content, if training has several views and validation one.

    By a copy, on the CPU, before there is a Trainer, and before anything is compiled: the model,
    its statistics and queues and the global generators stay as they are. What fails for another
    reason, such as the lack of a Trainer, says so where it is used.

    Args:
        model: as it was built, in no Trainer.
        data: of the training.

    Raises:
        OneViewError: it works with several views alone.
    """
    if data.num_views + data.num_small_views == 1:
        return
    size, numbers = data.image_size, torch.arange(min(_IMAGES, data.batch_size))
    images = torch.linspace(0, 1, len(numbers) * 3 * size**2).view(-1, 3, size, size)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.zeros_like(numbers) if data.labelled else torch.full_like(numbers, -1)
    batch, generator = Batch(images, labels, numbers), generator_for(model.seed)
    with isolate_rng(include_cuda=False):  # which ends well only without an error
        failure = _failure(model, batch, generator, data)
    if failure is not None:
        raise failure


def _failure(
    model: EncoderModule, batch: Batch, generator: torch.Generator, data: ImageDataModule
) -> OneViewError | None:
    try:
        copied = copy.deepcopy(model)
        with evaluating(copied), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of so few images
            of_one_view(type(model).__name__, copied.code_and_terms, batch, generator, data)
    except OneViewError as error:
        return error
    except Exception:
        return None
    return None
