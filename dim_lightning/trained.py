"""How far the weights of an encoder are."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Trained(NamedTuple):
    """How far the weights are: epochs, the one under way included, and steps."""

    epochs: int
    steps: int


def trained_in(checkpoint: Mapping[str, Any]) -> Trained:
    """How far those of a checkpoint are; Lightning restores its counts in `fit` alone.

    Not at all, where it does not say, as one that a program has put together itself.
    """
    if "loops" not in checkpoint:
        return Trained(0, 0)
    epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["ready"]
    return Trained(epochs, checkpoint["global_step"])
