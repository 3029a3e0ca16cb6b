import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dim_lightning.errors import InputError
from dim_lightning.infomax.negatives import derangement


@given(st.integers(2, 300), st.integers(0, 2**31))
def test_a_permutation_without_fixed_points(num_images, seed):
    negatives = derangement(num_images, torch.Generator().manual_seed(seed))
    assert negatives.shape == (num_images, 1)
    assert torch.equal(negatives[:, 0].sort().values, torch.arange(num_images))
    assert not (negatives[:, 0] == torch.arange(num_images)).any()


def test_every_other_image_is_equally_likely():
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([derangement(5, generator)[:, 0] for _ in range(8000)])
    counts = torch.stack([(draws == j).sum(0) for j in range(5)], dim=1)
    assert torch.equal(counts.diag(), torch.zeros(5, dtype=torch.long))
    others = counts[~torch.eye(5, dtype=torch.bool)]
    assert (others - 2000).abs().max() < 4.5 * (8000 * 0.25 * 0.75) ** 0.5  # standard deviations


@pytest.mark.parametrize("num_images", [0, 1])
def test_too_few_images_are_refused(num_images):
    with pytest.raises(InputError, match="at least 2 images"):
        derangement(num_images)
