import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dim_lightning.errors import InputError
from dim_lightning.infomax.negatives import shuffled

sizes = st.integers(2, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n - 1)))


@given(sizes, st.integers(0, 2**31))
def test_k_different_other_images_each_used_k_times(size, seed):
    num_images, num_negatives = size
    negatives = shuffled(num_images, num_negatives, torch.Generator().manual_seed(seed))
    assert negatives.shape == size
    own = torch.arange(num_images)[:, None]
    ordered = torch.cat([own, negatives], dim=1).sort(dim=1).values
    assert (ordered.diff(dim=1) > 0).all()  # all different, the image itself included
    assert torch.equal(negatives.flatten().bincount(), torch.full((num_images,), num_negatives))


@pytest.mark.parametrize("num_negatives", [1, 3])
def test_every_other_image_is_equally_likely(num_negatives):
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([shuffled(5, num_negatives, generator) for _ in range(8000)])
    counts = torch.stack([(draws == j).sum((0, 2)) for j in range(5)], dim=1)
    assert torch.equal(counts.diag(), torch.zeros(5, dtype=torch.long))
    others = counts[~torch.eye(5, dtype=torch.bool)]
    prob = num_negatives / 4
    assert (others - 8000 * prob).abs().max() < 4.5 * (8000 * prob * (1 - prob)) ** 0.5


def test_they_are_those_before_in_a_random_cycle():
    """A run that was begun before goes on with the same draws."""
    order = torch.randperm(9, generator=torch.Generator().manual_seed(5))
    found = shuffled(9, 4, torch.Generator().manual_seed(5))
    for place, image in enumerate(order.tolist()):
        before = [order[place - step].item() for step in range(1, 5)]
        assert found[image].tolist() == before


@pytest.mark.parametrize("num_images", [0, 1])
def test_too_few_images_are_refused(num_images):
    with pytest.raises(InputError, match="at least 2 images"):
        shuffled(num_images, 1, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("num_negatives", [0, -1, 5, 6])
def test_numbers_that_a_batch_cannot_give_are_refused(num_negatives):
    with pytest.raises(InputError, match="num_negatives is"):
        shuffled(5, num_negatives, torch.Generator().manual_seed(0))
