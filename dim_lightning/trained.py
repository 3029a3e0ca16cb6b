"""How far the weights of an encoder are."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Trained(NamedTuple):
    """How far the weights are: epochs, the one under way included, and steps."""

    epochs: int
    steps: int


def trained_in(checkpoint: Mapping[str, Any]) -> Trained:
    """How far those of a checkpoint are; Lightning restores its counts in `fit` alone."""
    epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["ready"]
    return Trained(epochs, checkpoint["global_step"])
