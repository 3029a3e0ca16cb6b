"""An encoder as the start of supervised training: the whole of it learns on, with labels."""

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Int64, UInt8
from torch import Tensor, nn

from dim_lightning.encoders import Encoder
from dim_lightning.evaluation.classification import Accuracies, accuracies
from dim_lightning.evaluation.features import as_floats
from dim_lightning.evaluation.fitting import passes, seeded

_AT_ONCE = 256


class LabelledImages(NamedTuple):
    """Images of a split and their classes, wherever they lie."""

    images: UInt8[Tensor, "n 3 h w"]
    labels: Int64[Tensor, " n"]


def fine_tuned(
    encoder: Encoder,
    train: LabelledImages,
    test: LabelledImages,
    num_classes: int,
    *,
    epochs: int = 10,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    seed: int = 0,
    context: Callable[[], AbstractContextManager] = nullcontext,
) -> Accuracies:
    """Test accuracies, in [0, 1], of a copy of `encoder` trained on with the labels.

    A linear layer on the code, drawn from `seed`; encoder and layer are trained together by Adam
    on the cross-entropy, whose rate is divided by ten for the last third and again for the last
    sixth of the epochs. No augmentation. The accuracies are those after the last epoch: neither
    validation nor test images choose anything. `encoder` and the global generators stay as they
    are.

    Source: so are the semi-supervised results of Hjelm et al., 2019, on STL-10; the settings here
    are our own.

    Args:
        encoder: where training starts.
        train: what is fitted, all labelled.
        test: what is reported, all labelled.
        num_classes: c.
        epochs: how often each training image is met.
        batch_size: images a step.
        learning_rate: of Adam.
        seed: of the linear layer, the order, and what the encoder draws.
        context: of each forward pass, for the precision.

    Raises:
        InputError: there are fewer than 2 training images.
    """
    device = next(encoder.parameters()).device
    with seeded(seed, device):
        network = _Classifier(copy.deepcopy(encoder).float(), num_classes).to(device)
        network.requires_grad_(True).train()

        def loss_of(rows: Tensor) -> Tensor:
            with context():
                logits = network(as_floats(train.images[rows].to(device)))
            return F.cross_entropy(logits.float(), train.labels[rows].to(device))

        count = len(train.labels)
        with context():
            is_half = torch.get_autocast_dtype(device.type) == torch.float16
            scaler = torch.amp.GradScaler(
                device.type, enabled=is_half and torch.is_autocast_enabled(device.type)
            )
        plan = (count, epochs, batch_size, seed, "fine_tune_epochs")
        for _ in passes(network, learning_rate, loss_of, *plan, scaler=scaler):
            pass
        return _accuracies(network.eval(), test, context)


class _Classifier(nn.Module):
    def __init__(self, encoder: Encoder, num_classes: int):
        super().__init__()
        self.encoder = encoder
        self.last = nn.Linear(encoder.embedding_dim, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.encoder(images).mean)


@torch.no_grad()
def _accuracies(
    network: nn.Module, part: LabelledImages, context: Callable[[], AbstractContextManager]
) -> Accuracies:
    device = next(network.parameters()).device

    def scores() -> Iterator[Tensor]:
        for images in part.images.split(_AT_ONCE):
            with context():
                logits = network(as_floats(images.to(device)))
            yield logits

    return accuracies(scores(), part.labels)
