"""The paper's own way of training and reporting its small network on frozen features."""

from collections.abc import Sequence
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from dim_lightning.evaluation.classification import Accuracies
from dim_lightning.evaluation.fitting import passes, seeded
from dim_lightning.evaluation.labelled import Labelled, checked_parts
from dim_lightning.evaluation.probes import network_accuracies, small_network

PAPER_EPOCHS = 200


class PaperResult(NamedTuple):
    """What `paper_probe` found.

    Attributes:
        averaged: accuracies of the test images, each its mean over the last epochs.
        chosen: the same after the one epoch that is best on the validation images.
        val_top1: share of the validation images classified rightly after that epoch.
        epoch: that epoch, from 1; the first of equal ones.
    """

    averaged: Accuracies
    chosen: Accuracies
    val_top1: float
    epoch: int


def paper_probe(
    train: Labelled,
    val: Labelled,
    test: Labelled,
    num_classes: int,
    *,
    epochs: int = PAPER_EPOCHS,
    milestones: Sequence[int] = (50, 100),
    averaged: int = 100,
    batch_size: int = 64,
    learning_rate: float = 1e-4,
    seed: int = 0,
) -> PaperResult:
    """Test accuracies, in [0, 1], of the paper's probe trained as the paper says.

    Linear 200 - dropout 0.1 - batch norm - ReLU - Linear on the features as they are; Adam at 1e-4,
    divided by ten after epochs 50 and 100, batches of 64; the mean test accuracy of the last 100
    epochs. Beside it the accuracy after the epoch that the validation images choose, as averaging
    hides what a single network does.

    Known, from the paper and the authors' code (rdevon/DIM, classification_eval.py): network, rate,
    milestones, batch size, that features are not standardised, and the averaging. Adam's betas are
    0.9 and 0.999 here; their framework takes 0.5 and 0.999 where none are given. Not known: how
    many epochs there were (here 200, so that all that are averaged come after the last milestone),
    whether the encoder's batch norms were in eval mode (here they are), and whether images were set
    aside for validation (here they are, and the probe is fitted to the others).

    Every draw comes from `seed`; the global generator is left alone.

    Source: Hjelm et al., 2019, section 4.1 and appendix A.2.

    Raises:
        InputError: features or labels are not what `checked_parts` asks for, or there are fewer
            than 2 training images.
    """
    train, val, test = checked_parts(train, val, test, num_classes=num_classes)
    device = train.features.device
    scores: list[tuple[float, Accuracies]] = []
    with seeded(seed, device):
        network = small_network(train.features.shape[1], num_classes).to(device)

        def loss_of(rows: Tensor) -> Tensor:
            return F.cross_entropy(network(train.features[rows].float()), train.labels[rows])

        count = len(train.labels)
        plan = (count, epochs, batch_size, seed, "mlp_epochs", milestones)
        for _ in passes(network, learning_rate, loss_of, *plan, device=device):
            on_val, on_test = (network_accuracies(network, part) for part in (val, test))
            scores.append((on_val["top1"], on_test))
    last = [on_test for _, on_test in scores[-averaged:]]
    means = {name: sum(one[name] for one in last) / len(last) for name in last[0]}
    chosen = max(range(epochs), key=lambda epoch: scores[epoch][0])
    val_top1, of_chosen = scores[chosen]
    return PaperResult(means, of_chosen, val_top1, chosen + 1)
