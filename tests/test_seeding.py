import numpy as np
import pytest
import torch

from dim_lightning.errors import InputError
from dim_lightning.seeding import check_seed, generator_for


def draw(*key):
    return torch.randn(8, generator=generator_for(*key))


def test_equal_keys_equal_draws():
    assert torch.equal(draw(0, 3, 7), draw(0, 3, 7))


def test_every_part_of_the_key_and_its_place_counts():
    keys = [(0, 3, 7), (1, 3, 7), (0, 4, 7), (0, 3, 8), (3, 0, 7), (0, 3)]
    draws = [draw(*key) for key in keys]
    for i, one in enumerate(draws):
        for other in draws[i + 1 :]:
            assert not torch.equal(one, other)


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    draw(0, 1, 2)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("seed", "expected"), [(-1, "at least 0"), (None, "a whole number"), (0.5, "a whole number")]
)
def test_a_seed_that_nothing_can_be_drawn_from_is_refused(seed, expected):
    """Of None numpy would draw otherwise each time."""
    with pytest.raises(InputError, match=rf"^data\.seed is {seed}; expected {expected} .*a seed\)"):
        check_seed("data.seed", seed)


@pytest.mark.parametrize("seed", [0, 2**40, np.int64(3)])
def test_other_seeds_will_do(seed):
    check_seed("data.seed", seed)
    generator_for(int(seed))
