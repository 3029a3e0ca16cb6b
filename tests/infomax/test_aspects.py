import pytest
import torch

from dim_lightning.encoders import Features, FeatureShape
from dim_lightning.errors import InputError
from dim_lightning.infomax.aspects import ImageCode, Locations, WholeImage, WholeMap
from dim_lightning.infomax.view import View

SHAPE = FeatureShape(6, 3, 2)
CODE_DIM = 5


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def view():
    draws = generator()
    images = torch.rand(7, 3, 16, 16, generator=draws)
    feature_map = torch.randn(7, *SHAPE, generator=draws)
    earlier = torch.randn(7, 4, 6, 4, generator=draws)
    code = torch.randn(7, CODE_DIM, generator=draws)
    return View(images, Features(feature_map, {"code": code}, code, None, (earlier,)), code)


def test_locations_are_the_columns_of_the_feature_map(view):
    sources = Locations(SHAPE)(view, generator())
    assert sources.shape == (7, 6, 6)
    for place, (i, j) in enumerate((i, j) for i in range(3) for j in range(2)):
        assert torch.equal(sources[:, place], view.features.feature_map[:, :, i, j])


def test_a_scale_is_another_map(view):
    aspect = Locations(FeatureShape(4, 6, 4), scale=1)
    assert aspect.dim == 4
    assert torch.equal(aspect(view, generator())[:, 5], view.features.scales[0][:, :, 1, 1])


def test_scales_are_counted_from_the_earliest(view):
    earliest = torch.randn(7, 2, 12, 8, generator=generator(1))
    scales = (earliest, *view.features.scales)
    view = view._replace(features=view.features._replace(scales=scales))
    for scale, channels in ((0, 6), (1, 2), (2, 4)):
        aspect = Locations(FeatureShape(channels, 12, 8), scale)
        assert aspect(view, generator()).shape[2] == channels


def test_sampled_locations_are_different_ones_of_each_image_and_all_equally_likely(view):
    everything = Locations(SHAPE)(view, generator())
    aspect = Locations(SHAPE, num_locations=2)
    draws = generator()
    counts = torch.zeros(7, 6)
    for _ in range(600):
        chosen = aspect(view, draws)
        assert chosen.shape == (7, 2, 6)
        found = (chosen[:, :, None] == everything[:, None]).all(3)  # [n, chosen, all]
        assert (found.sum(2) == 1).all()
        assert (found.sum(1) <= 1).all()
        counts += found.sum(1)
    assert (counts - 200).abs().max() < 4.5 * (600 * (1 / 3) * (2 / 3)) ** 0.5


def test_sampling_all_locations_is_not_sampling(view):
    everything = Locations(SHAPE)(view, generator())
    assert torch.equal(Locations(SHAPE, num_locations=6)(view, generator()), everything)


@pytest.mark.parametrize("num_locations", [0, -1, 7])
def test_locations_that_the_map_has_not_are_refused(num_locations):
    with pytest.raises(InputError, match="num_locations is"):
        Locations(SHAPE, num_locations=num_locations)


def test_the_whole_map_is_the_flat_feature_map(view):
    aspect = WholeMap(SHAPE, CODE_DIM)
    assert aspect.dim == 36
    assert torch.equal(aspect(view, generator())[:, 0], view.features.feature_map.flatten(1))


def test_a_whole_map_of_another_size_is_refused(view):
    with pytest.raises(InputError, match=r"data\.view_sizes"):
        WholeMap(FeatureShape(6, 3, 3), CODE_DIM)(view, generator())


def test_the_whole_image_is_seen_through_pixels_alone(view):
    torch.manual_seed(0)
    aspect = WholeImage(SHAPE, CODE_DIM, widths=(4, 8))
    sources = aspect(view, generator())
    assert sources.shape == (7, 1, aspect.dim) == (7, 1, 8)
    expected = aspect.trunk(2 * view.images - 1).mean(dim=(2, 3))
    torch.testing.assert_close(sources[:, 0], expected)
    moved = view.images.clone()
    moved[3] = 1 - moved[3]
    after = aspect(view._replace(images=moved), generator())
    changed = (after != sources).any(2)[:, 0]
    assert torch.equal(changed, torch.arange(7) == 3)


def test_the_images_own_code_is_the_scripts_pair(view):
    aspect = ImageCode(SHAPE, CODE_DIM)
    assert aspect.dim == CODE_DIM
    assert torch.equal(aspect(view, generator())[:, 0], view.code)


def test_an_image_trunk_without_layers_is_refused():
    with pytest.raises(InputError, match="widths are"):
        WholeImage(SHAPE, CODE_DIM, widths=())
