"""Random draws that depend on where training stands, and on nothing else."""

from enum import IntEnum, unique
from numbers import Integral

import numpy as np
import torch

from dim_lightning.errors import InputError, check_least


@unique
class Draws(IntEnum):
    """What training draws; as the second number of a key, after the seed, it sets them apart.

    The numbers stay: with others a run would not go on as it began.
    """

    TRAIN = 0  # by the method, in the steps of a stage
    VAL = 1
    TEST = 2
    VIEWS = 3
    SHARD_ORDER = 4
    ORDER = 5
    TARGETS = 10


def check_seed(key: str, seed: object) -> None:
    """Looks at a seed before something is drawn by it.

    Args:
        key: of the setting.
        seed: what was given.

    Raises:
        InputError: it is no whole number, or a negative one.
    """
    if not isinstance(seed, Integral):
        raise InputError(f"{key} is {seed!r}; expected a whole number (a seed); set {key}")
    check_least(key, int(seed), 0, "a seed")


def generator_for(*key: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator for `key`, say (seed, epoch, step, rank): equal keys, equal draws.

    Up to four numbers, zeros at the end do not count: (seed, 3) is (seed, 3, 0). So what is to be
    drawn apart differs in a number before them, or has more than four.

    Every draw of the training path comes from such a generator. So nothing has to be stored to
    resume a run exactly, and what an observer draws elsewhere cannot move the training.
    """
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    # manual_seed takes 63 bits, of which PyTorch's generator on a CPU uses the low 32
    return torch.Generator(device).manual_seed(int(state) >> 1)
