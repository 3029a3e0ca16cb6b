import pytest
import torch

from dim_lightning.baselines import Decoder
from dim_lightning.errors import InputError


@pytest.mark.parametrize(("size", "first"), [(32, (512, 4, 4)), (64, (512, 8, 8))])
def test_the_network_of_the_authors_code(size, first):
    with torch.device("meta"):
        decoder = Decoder(64, size).eval()
    assert decoder.first_map == first
    assert decoder(torch.empty(2, 64, device="meta")).shape == (2, 3, size, size)
    units = 512 * first[1] * first[2]
    weights = 64 * units + 16 * (512 * 256 + 256 * 128 + 128 * 64) + 9 * 64 * 3 + 3
    norms = 2 * (units + 256 + 128 + 64)
    assert sum(p.numel() for p in decoder.parameters()) == weights + norms


def test_images_lie_in_the_unit_range():
    images = Decoder(3, 8, (6, 5, 4))(100 * torch.randn(7, 3))
    assert images.shape == (7, 3, 8, 8)
    assert 0 <= images.min() < images.max() <= 1


def test_the_smallest_decoder():
    assert Decoder(3, 5, (1,))(torch.randn(2, 3)).shape == (2, 3, 5, 5)


@pytest.mark.parametrize(("size", "widths"), [(28, (8, 8, 8, 8)), (8, ()), (8, (4, 0))])
def test_sizes_that_cannot_be_are_refused(size, widths):
    with pytest.raises(InputError, match=r"Decoder got .*; expected .*; set model\.decoder"):
        Decoder(3, size, widths)
