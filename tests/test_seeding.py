import torch

from dim_lightning.seeding import generator_for


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
