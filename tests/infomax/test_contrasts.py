import pytest
import torch

from dim_lightning.encoders import Features, FeatureShape
from dim_lightning.errors import InputError
from dim_lightning.infomax.aspects import ImageCode, WholeMap
from dim_lightning.infomax.contrasts import Contrast, PatchContrast, score_penalty
from dim_lightning.infomax.critics import BilinearCritic, DotCritic
from dim_lightning.infomax.negatives import shuffled
from dim_lightning.infomax.scores import Scores
from dim_lightning.infomax.view import View

SHAPE = FeatureShape(4, 2, 3)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def view(seed, n=6):
    draws = generator(seed)
    feature_map = torch.randn(n, *SHAPE, generator=draws)
    code = torch.randn(n, 5, generator=draws)
    images = torch.rand(n, 3, 4, 4, generator=draws)
    return View(images, Features(feature_map, {"code": code}, code, None), code)


def test_a_contrast_pairs_the_images_of_one_view_with_the_codes_of_another():
    one, other, negatives = view(0), view(1), shuffled(6, 1, generator())
    torch.manual_seed(0)
    contrast = Contrast(WholeMap(SHAPE, 5), BilinearCritic(24, 5))
    scores = contrast(one, other, negatives, generator())
    expected = contrast.critic(one.features.feature_map.flatten(1)[:, None], other.code, negatives)
    torch.testing.assert_close(scores.joint, expected.joint)
    torch.testing.assert_close(scores.marginal, expected.marginal)


def test_codes_of_two_views_are_paired_with_each_other():
    one, other = view(0), view(1)
    contrast = Contrast(ImageCode(SHAPE, 5), BilinearCritic(5, 5, scale=False))
    torch.nn.init.eye_(contrast.critic.weight.weight)
    expected = (one.code * other.code).sum(1, keepdim=True)
    scores = contrast(one, other, shuffled(6, 1, generator()), generator())
    torch.testing.assert_close(scores.joint, expected)


def test_a_patch_meets_the_other_locations_of_its_own_image_and_those_of_others():
    one, negatives = view(0), shuffled(6, 2, generator())
    contrast = PatchContrast(SHAPE, BilinearCritic(4, 4, scale=False))
    torch.nn.init.eye_(contrast.critic.weight.weight)
    places = one.features.feature_map.flatten(2).transpose(1, 2)
    products = torch.einsum("amc,bnc->abmn", places, places)  # codes a at m, images b at n
    seen, draws = set(), generator()
    for _ in range(30):
        scores = contrast(one, one, negatives, draws)
        assert scores.joint.shape == (6, 5)
        step = set()
        for i in range(6):
            found = [
                m
                for m in range(6)
                if torch.allclose(
                    scores.joint[i].sort().values,
                    torch.cat([products[i, i, m, :m], products[i, i, m, m + 1 :]]).sort().values,
                    atol=1e-5,
                )
            ]
            assert len(found) == 1  # the one place that takes the part of the code
            step.add(found[0])
            for k, j in enumerate(negatives[i]):
                for score in scores.marginal[i, k]:
                    assert (products[i, j, found[0]] - score).abs().min() < 1e-5
        assert len(step) == 1  # and is the same in all images
        seen |= step
    assert seen == set(range(6))


@pytest.mark.parametrize("num_negatives", [1, 3, "all"])
def test_no_pair_of_patches_is_at_equal_places(num_negatives):
    """Else features that show their place and nothing of the image would tell pairs apart."""
    place = torch.eye(6).reshape(1, 6, 2, 3).expand(8, -1, -1, -1)
    code = torch.zeros(8, 1)
    alike = View(torch.rand(8, 3, 4, 4), Features(place, {"code": code}, code, None), code)
    contrast = PatchContrast(FeatureShape(6, 2, 3), BilinearCritic(6, 6, scale=False))
    torch.nn.init.eye_(contrast.critic.weight.weight)  # 1 at equal places, 0 at others
    draws = generator()
    for _ in range(10):
        negatives = None if num_negatives == "all" else shuffled(8, num_negatives, draws)
        scores = contrast(alike, alike, negatives, draws)
        assert scores.joint_mean(torch.abs) == 0
        assert scores.marginal_mean(torch.abs) == 0


@pytest.mark.parametrize("columns", [1, 2, 5])
def test_the_patch_of_a_view_of_another_size_is_one_of_its_own(columns):
    one, other, negatives = view(0), view(1), shuffled(6, 1, generator())
    cut = torch.randn(6, 4, 1, columns, generator=generator(2))
    other = other._replace(features=other.features._replace(feature_map=cut))
    contrast = PatchContrast(SHAPE, BilinearCritic(4, 4, scale=False))
    torch.nn.init.eye_(contrast.critic.weight.weight)
    places = one.features.feature_map.flatten(2)
    products = torch.einsum("ncm,ncp->npm", places, cut.flatten(2))
    seen, draws = set(), generator()
    for _ in range(20):
        joint = contrast(one, other, negatives, draws).joint
        assert joint.shape == (6, 5)
        near = (joint[:, None, :, None] - products[:, :, None, :]).abs().amin(3).amax(2)
        assert near.amin(1).max() < 1e-5
        seen |= set(near.argmin(1).tolist())
    assert seen == set(range(columns))


def test_a_map_of_one_location_has_no_patches():
    with pytest.raises(InputError, match="patch_weight"):
        PatchContrast(FeatureShape(4, 1, 1), BilinearCritic(4, 4))
    one = view(0)
    small = one._replace(features=one.features._replace(feature_map=torch.ones(6, 4, 1, 1)))
    contrast, negatives = PatchContrast(SHAPE, BilinearCritic(4, 4)), shuffled(6, 1, generator())
    with pytest.raises(InputError, match="patch_weight"):  # of views that grow later
        contrast(small, one, negatives, generator())


def test_of_two_locations_each_meets_the_other():
    pair = view(0)
    two = pair.features.feature_map[:, :, :1, :2]
    pair = pair._replace(features=pair.features._replace(feature_map=two))
    contrast = PatchContrast(FeatureShape(4, 1, 2), BilinearCritic(4, 4, scale=False))
    torch.nn.init.eye_(contrast.critic.weight.weight)
    expected = two.prod(dim=3).sum(dim=(1, 2))[:, None]
    scores = contrast(pair, pair, shuffled(6, 1, generator()), generator())
    torch.testing.assert_close(scores.joint, expected)


def test_the_penalty_is_the_mean_square_of_real_and_other_scores():
    scores = Scores(torch.tensor([[1.0, 3.0]]), torch.tensor([[[2.0, 4.0]]]))
    assert score_penalty(scores).item() == pytest.approx((5 + 10) / 2)


def test_an_aspect_of_another_shape_than_it_says_is_refused():
    class Flat(ImageCode):
        def forward(self, view, generator):
            return view.code

    contrast = Contrast(Flat(SHAPE, 5), DotCritic(5, 5, width=2))
    with pytest.raises(InputError, match=r"Flat gives sources \[6, 5\]; expected \[6, m, 5\]"):
        contrast(view(0), view(0), None, generator())
