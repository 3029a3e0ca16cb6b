import pytest
import torch

from dim_lightning.encoders import FeatureShape
from dim_lightning.errors import InputError
from dim_lightning.infomax.critics import (
    CodeGlobalCritic,
    ConcatLocalCritic,
    ConcatMLP,
    ImageGlobalCritic,
)
from dim_lightning.infomax.negatives import derangement

SHAPE = FeatureShape(6, 3, 3)
CODE_DIM = 5
CRITICS = [ConcatLocalCritic, ImageGlobalCritic, CodeGlobalCritic]


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(0)
    return {
        "images": torch.rand(7, 3, 16, 16, generator=generator),
        "feature_map": torch.randn(7, *SHAPE, generator=generator),
        "code": torch.randn(7, CODE_DIM, generator=generator),
        "negatives": derangement(7, generator),
    }


def build(critic_class):
    torch.manual_seed(0)
    return critic_class(SHAPE, CODE_DIM, widths=(16, 16))


def concatenated(network, source, code):
    """The multilayer perceptron on [z, s], spelled out for one pair."""
    return network.rest(network.first(torch.cat([code, source]))).squeeze()


@pytest.mark.parametrize("critic_class", CRITICS)
def test_scores_equal_the_concatenation_pair_by_pair(critic_class, inputs):
    critic = build(critic_class)
    scores = critic(**inputs)
    if critic_class is ConcatLocalCritic:
        rows, columns = torch.meshgrid(torch.arange(3), torch.arange(3), indexing="ij")
        places = list(zip(rows.flatten(), columns.flatten(), strict=True))
        sources = torch.stack([inputs["feature_map"][:, :, i, j] for i, j in places], dim=1)
    elif critic_class is ImageGlobalCritic:
        sources = critic.trunk(2 * inputs["images"] - 1).mean(dim=(2, 3))[:, None]
    else:
        sources = inputs["code"][:, None]
    for i, j in enumerate(inputs["negatives"][:, 0]):
        for m in range(sources.shape[1]):
            code = inputs["code"][i]
            own = concatenated(critic.network, sources[i, m], code)
            other = concatenated(critic.network, sources[j, m], code)
            torch.testing.assert_close(scores.joint[i, m], own)
            torch.testing.assert_close(scores.marginal[i, 0, m], other)


@pytest.mark.parametrize("critic_class", CRITICS)
@pytest.mark.parametrize("changed", [0, 3])
def test_a_changed_code_moves_its_own_row_only(critic_class, inputs, changed):
    critic = build(critic_class)
    before = critic(**inputs)
    code = inputs["code"].clone()
    code[changed] += 1
    after = critic(**{**inputs, "code": code})
    expected = torch.arange(7) == changed
    assert torch.equal((before.joint != after.joint).any(1), expected)
    if critic_class is CodeGlobalCritic:  # there a code is also the source of another's negative
        expected = expected | (inputs["negatives"][:, 0] == changed)
    assert torch.equal((before.marginal != after.marginal).flatten(1).any(1), expected)


@pytest.mark.parametrize(
    ("critic_class", "source"),
    [(ConcatLocalCritic, "feature_map"), (ImageGlobalCritic, "images")],
)
@pytest.mark.parametrize("changed", [0, 3])
def test_a_changed_image_moves_only_scores_that_involve_it(critic_class, source, inputs, changed):
    critic = build(critic_class)
    before = critic(**inputs)
    moved = inputs[source].clone()
    moved[changed] = 1 - moved[changed]
    after = critic(**{**inputs, source: moved})
    joint = (before.joint != after.joint).any(1)
    marginal = (before.marginal != after.marginal).flatten(1).any(1)
    assert torch.equal(joint, torch.arange(7) == changed)
    assert torch.equal(marginal, inputs["negatives"][:, 0] == changed)


def test_the_blogs_widths_by_parameter_count():
    def count(critic):
        return sum(p.numel() for p in critic.parameters())

    by_hand = (512 * 256 + 256) + 2 * (256 * 256 + 256) + (256 + 1)  # 512-256-256-256-1
    assert count(ConcatLocalCritic(FeatureShape(256, 4, 4), 256)) == by_hand
    assert count(CodeGlobalCritic(FeatureShape(256, 4, 4), 256)) == by_hand


def test_several_negatives_a_code():
    network = ConcatMLP(4, 3, widths=(8,))
    source, code = torch.randn(5, 2, 4), torch.randn(5, 3)
    negatives = (torch.arange(5)[:, None] + torch.tensor([1, 2, 4])) % 5
    scores = network(source, code, negatives)
    assert scores.joint.shape == (5, 2)
    assert scores.marginal.shape == (5, 3, 2)
    expected = concatenated(network, source[(2 + 4) % 5, 1], code[2])
    torch.testing.assert_close(scores.marginal[2, 2, 1], expected)


@pytest.mark.parametrize("settings", [{"widths": ()}, {"widths": (8, 0)}])
@pytest.mark.parametrize("critic_class", CRITICS)
def test_layers_that_cannot_be_are_refused(critic_class, settings):
    with pytest.raises(InputError, match="widths are"):
        critic_class(SHAPE, CODE_DIM, **settings)


def test_an_image_trunk_without_layers_is_refused():
    with pytest.raises(InputError, match="image_widths are"):
        ImageGlobalCritic(SHAPE, CODE_DIM, image_widths=())
