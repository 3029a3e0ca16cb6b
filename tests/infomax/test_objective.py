import pytest
import torch

from dim_lightning.encoders import BlogEncoder
from dim_lightning.errors import InputError
from dim_lightning.infomax.critics import ConcatLocalCritic, ImageGlobalCritic
from dim_lightning.infomax.estimators import jensen_shannon
from dim_lightning.infomax.negatives import derangement
from dim_lightning.infomax.objective import Objective
from dim_lightning.infomax.priors import gaussian_kl


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return BlogEncoder(16, (8, 16), embedding_dim=8)


def build(encoder, alpha=0.5, beta=1.5, gamma=0.01, estimator=jensen_shannon, prior=gaussian_kl):
    torch.manual_seed(1)
    sizes = (encoder.feature_shape, encoder.embedding_dim)
    return Objective(
        ImageGlobalCritic(*sizes) if alpha else None,
        ConcatLocalCritic(*sizes) if beta else None,
        estimator,
        prior,
        float(alpha),
        float(beta),
        float(gamma),
    )


def test_the_loss_is_the_weighted_sum_with_the_right_signs(encoder):
    images = torch.rand(6, 3, 16, 16)
    terms = build(encoder)(images, encoder(images), torch.Generator().manual_seed(0))
    assert list(terms) == ["loss", "global", "local", "prior"]
    expected = -0.5 * terms["global"] - 1.5 * terms["local"] + 0.01 * terms["prior"]
    torch.testing.assert_close(terms["loss"], expected)


def test_both_critics_see_the_same_codes_and_the_same_negatives(encoder):
    images = torch.rand(6, 3, 16, 16)
    objective, features = build(encoder), encoder(images)
    terms = objective(images, features, torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    code, negatives = features.sample(generator), derangement(6, generator)
    for name, critic in [("global", objective.global_critic), ("local", objective.local_critic)]:
        scores = critic(images, features.feature_map, code, negatives)
        torch.testing.assert_close(terms[name], jensen_shannon(scores))


@pytest.mark.parametrize(
    ("weights", "left"),
    [
        ((0.5, 0, 0.01), {"loss", "global", "prior"}),
        ((0, 1.5, 0.01), {"loss", "local", "prior"}),
        ((0.5, 1.5, 0), {"loss", "global", "local"}),
    ],
)
def test_a_term_of_weight_zero_is_not_computed(encoder, weights, left):
    calls = {"estimator": 0, "prior": 0}

    def estimator(scores):
        calls["estimator"] += 1
        return jensen_shannon(scores)

    def prior(features):
        calls["prior"] += 1
        return gaussian_kl(features)

    images = torch.rand(6, 3, 16, 16)
    objective = build(encoder, *weights, estimator, prior)
    assert set(objective(images, encoder(images))) == left
    assert calls == {"estimator": len(left & {"global", "local"}), "prior": len(left & {"prior"})}


@pytest.mark.parametrize(
    "weights", [(0, 0, 1), (-1, 1, 1), (1, float("nan"), 1), (1, 1, float("inf"))]
)
def test_weights_that_cannot_work_are_refused(encoder, weights):
    with pytest.raises(InputError, match="weight"):
        build(encoder, *weights)


@pytest.mark.parametrize("weights", [(1, 0, 0), (0, 1, 0), (0.5, 1.5, 0.01)])
def test_descending_the_loss_raises_the_information_above_chance(encoder, weights):
    generator = torch.Generator().manual_seed(0)
    images = (
        torch.rand(32, 3, 4, 4, generator=generator).repeat_interleave(4, 2).repeat_interleave(4, 3)
    )
    objective = build(encoder, *weights)
    optimizer = torch.optim.Adam([*encoder.parameters(), *objective.parameters()], lr=3e-3)
    for _ in range(150):
        terms = objective(images, encoder(images), generator)
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
    for name in {"global", "local"} & set(terms):
        assert terms[name] > -0.7  # chance is -1.386, the ceiling 0


def test_every_parameter_gets_a_finite_gradient(encoder):
    images = torch.rand(3, 3, 16, 16)
    objective = build(encoder)
    features = encoder(images)
    loss = objective(images, features, torch.Generator().manual_seed(0))["loss"]
    loss.backward()
    for name, parameter in [*encoder.named_parameters(), *objective.named_parameters()]:
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
