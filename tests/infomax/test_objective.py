from functools import partial

import pytest
import torch

from dim_lightning.encoders import BlogEncoder
from dim_lightning.errors import InputError
from dim_lightning.infomax.aspects import ImageCode, Locations, WholeImage
from dim_lightning.infomax.contrasts import Contrast, PatchContrast, score_penalty
from dim_lightning.infomax.coordinates import Coordinates
from dim_lightning.infomax.critics import ConcatCritic, DotCritic
from dim_lightning.infomax.estimators import info_nce, jensen_shannon, nwj, smile
from dim_lightning.infomax.negatives import shuffled
from dim_lightning.infomax.objective import Objective
from dim_lightning.infomax.priors import AdversarialPrior, GaussianKL
from dim_lightning.infomax.priors.gaussian_kl import gaussian_kl
from dim_lightning.infomax.view import View

WEIGHTS = {"global": 0.5, "local": 1.5, "prior": 0.01}
ONE_VIEW = [(0, 0)]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return BlogEncoder(16, widths=(8, 16), embedding_dim=8)


def build(encoder, weights=WEIGHTS, estimator=jensen_shannon, prior=GaussianKL, **settings):
    torch.manual_seed(1)
    shape, code_dim = encoder.feature_shape, encoder.embedding_dim
    contrasts = {}
    if weights.get("global"):
        aspect = WholeImage(shape, code_dim)
        contrasts["global"] = [Contrast(aspect, ConcatCritic(aspect.dim, code_dim))]
    if weights.get("local"):
        contrasts["local"] = [Contrast(Locations(shape), ConcatCritic(shape.channels, code_dim))]
    if weights.get("patches"):
        critic = DotCritic(shape.channels, shape.channels, width=16)
        contrasts["patches"] = [PatchContrast(shape, critic)]
    return Objective(
        {name: float(weight) for name, weight in weights.items()},
        contrasts,
        estimator,
        prior(code_dim) if weights.get("prior") else None,
        Coordinates(shape, code_dim, width=16) if weights.get("coordinates") else None,
        **settings,
    )


def view_of(encoder, images, draws):
    features = encoder(images)
    return View(images, features, features.sample(draws))


@pytest.fixture
def view(encoder):
    draws = generator()
    return view_of(encoder, torch.rand(6, 3, 16, 16, generator=draws), draws)


def test_the_loss_is_the_weighted_sum_with_the_right_signs(encoder, view):
    terms = build(encoder)([view], ONE_VIEW, generator())
    assert list(terms) == ["loss", "global", "local", "prior"]
    expected = -0.5 * terms["global"] - 1.5 * terms["local"] + 0.01 * terms["prior"]
    torch.testing.assert_close(terms["loss"], expected)


def test_every_term_there_is_with_the_right_sign(encoder, view):
    weights = {
        **WEIGHTS,
        "patches": 0.3,
        "coordinates": 0.2,
        "penalty": 0.1,
    }
    objective = build(encoder, weights, prior=AdversarialPrior, report=[nwj, smile])
    terms = objective([view], ONE_VIEW, generator())
    expected = (
        -0.5 * terms["global"]
        - 1.5 * terms["local"]
        - 0.3 * terms["patches"]
        + 0.01 * terms["prior"]
        + terms["discriminator"]
        + 0.2 * (terms["coordinates"] + terms["relative_coordinates"])
        + 0.1 * terms["penalty"]
    )
    torch.testing.assert_close(terms["loss"], expected)
    reported = {f"{a}_{b}" for a in ("global", "local", "patches") for b in ("nwj", "smile")}
    assert reported == {name for name in terms if not terms[name].requires_grad}


def test_a_term_without_a_weight_trains_nothing(encoder, view):
    parts = build(encoder, {**WEIGHTS, "coordinates": 0.2})
    contrasts = {name: list(each) for name, each in parts.contrasts.items()}
    objective = Objective({"local": 1.5}, contrasts, jensen_shannon, parts.prior, parts.coordinates)
    terms = objective([view], ONE_VIEW, generator())
    assert {"global", "prior", "coordinates"} < set(terms)
    torch.testing.assert_close(terms["loss"], -1.5 * terms["local"])


def test_both_critics_see_the_same_codes_and_the_same_negatives(encoder, view):
    objective = build(encoder)
    terms = objective([view], ONE_VIEW, generator(3))
    negatives = shuffled(6, 1, generator(3))
    for name in ("global", "local"):
        scores = objective.contrasts[name][0](view, view, negatives, generator())
        torch.testing.assert_close(terms[name], jensen_shannon(scores))


def test_reported_estimators_see_the_scores_that_are_trained(encoder, view):
    objective = build(encoder, report=[nwj, jensen_shannon], num_negatives="all")
    terms = objective([view], ONE_VIEW, generator())
    for name in ("global", "local"):
        torch.testing.assert_close(terms[f"{name}_jensen_shannon"], terms[name].detach())
        scores = objective.contrasts[name][0](view, view, None, generator())
        torch.testing.assert_close(terms[f"{name}_nwj"], nwj(scores).detach())


def test_the_penalty_is_that_of_all_contrasts(encoder, view):
    objective = build(encoder, {**WEIGHTS, "penalty": 1.0})
    terms = objective([view], ONE_VIEW, generator(3))
    negatives = shuffled(6, 1, generator(3))
    each = [c[0](view, view, negatives, generator()) for c in objective.contrasts.values()]
    expected = torch.stack([score_penalty(scores) for scores in each]).mean()
    torch.testing.assert_close(terms["penalty"], expected)


def test_terms_are_means_over_the_pairs_of_views(encoder):
    draws = generator()
    images = torch.rand(2, 6, 3, 16, 16, generator=draws)
    one, other = (view_of(encoder, x, draws) for x in images)
    objective = build(encoder, num_negatives="all", estimator=info_nce)
    both = objective([one, other], [(0, 1), (1, 0)], draws)
    forth, back = (objective([one, other], [pair], draws) for pair in [(0, 1), (1, 0)])
    for name in ("global", "local", "prior"):
        torch.testing.assert_close(both[name], (forth[name] + back[name]) / 2)
    swapped = objective([other, one], [(1, 0)], draws)
    torch.testing.assert_close(swapped["local"], forth["local"])
    (local,) = objective.contrasts["local"]
    # the locations of one, the codes of the other
    expected = info_nce(local(one, other, None, draws))
    torch.testing.assert_close(forth["local"], expected)


@pytest.mark.parametrize(
    ("weights", "left"),
    [
        ((0.5, 0, 0.01), {"loss", "global", "prior"}),
        ((0, 1.5, 0.01), {"loss", "local", "prior"}),
        ((0.5, 1.5, 0), {"loss", "global", "local"}),
    ],
)
def test_a_term_of_weight_zero_is_not_computed(encoder, view, weights, left):
    calls = {"estimator": 0, "prior": 0}

    def estimator(scores):
        calls["estimator"] += 1
        return jensen_shannon(scores)

    class CountedKL(GaussianKL):
        def forward(self, *arguments):
            calls["prior"] += 1
            return super().forward(*arguments)

    names = ("global", "local", "prior")
    objective = build(encoder, dict(zip(names, weights, strict=True)), estimator, CountedKL)
    assert set(objective([view], ONE_VIEW, generator())) == left
    assert calls == {"estimator": len(left & {"global", "local"}), "prior": len(left & {"prior"})}


@pytest.mark.parametrize(
    "weights", [(0, 0, 1), (-1, 1, 1), (1, float("nan"), 1), (1, 1, float("inf"))]
)
def test_weights_that_cannot_work_are_refused(encoder, weights):
    with pytest.raises(InputError, match="weight"):
        build(encoder, dict(zip(("global", "local", "prior"), weights, strict=True)))


def test_an_estimator_that_only_reports_is_refused(encoder):
    with pytest.raises(InputError, match="smile"):
        build(encoder, estimator=smile)


def test_two_reports_of_one_name_are_refused(encoder):
    with pytest.raises(InputError, match=r"model\.report has smile twice"):
        build(encoder, report=[smile, nwj, partial(smile, clip=3.0)])


@pytest.mark.parametrize(
    "weights",
    [
        {"global": 1},
        {"local": 1},
        {"patches": 1},
        WEIGHTS,
    ],
)
def test_descending_the_loss_raises_the_information_above_chance(encoder, weights):
    draws = generator()
    images = (
        torch.rand(32, 3, 4, 4, generator=draws).repeat_interleave(4, 2).repeat_interleave(4, 3)
    )
    objective = build(encoder, weights)
    optimizer = torch.optim.Adam([*encoder.parameters(), *objective.parameters()], lr=3e-3)
    for _ in range(150):
        terms = objective([view_of(encoder, images, draws)], ONE_VIEW, draws)
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
    for name in {"global", "local", "patches"} & set(terms):
        # chance is -1.386, the ceiling 0; the cells of these images share nothing but the image
        assert terms[name] > (-1.3 if name == "patches" else -0.7)


def test_every_parameter_gets_a_finite_gradient(encoder):
    weights = {**WEIGHTS, "patches": 0.3, "coordinates": 0.2, "penalty": 0.1}
    objective = build(encoder, weights, prior=AdversarialPrior)
    encoder.log_variance.requires_grad_(False)
    view = view_of(encoder, torch.rand(3, 3, 16, 16), generator())
    objective([view], ONE_VIEW, generator())["loss"].backward()
    for name, parameter in [*encoder.named_parameters(), *objective.named_parameters()]:
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def test_the_scripts_global_pair_never_sees_the_image(encoder, view):
    """The known flaw of the article's script: with [z, z'] the pixels play no part."""
    torch.manual_seed(0)
    contrast = Contrast(ImageCode(encoder.feature_shape, 8), ConcatCritic(8, 8))
    moved = view._replace(images=1 - view.images)
    negatives = shuffled(6, 1, generator())
    scores, after = (contrast(v, v, negatives, generator()) for v in (view, moved))
    assert torch.equal(scores.joint, after.joint)


def test_each_view_that_gives_codes_counts_once_for_the_prior(encoder):
    draws = generator()
    views = [view_of(encoder, torch.rand(6, 3, 16, 16, generator=draws), draws) for _ in range(3)]
    terms = build(encoder)(views, [(0, 1), (0, 2), (1, 2)], draws)
    expected = torch.stack([gaussian_kl(views[b].features) for b in (1, 2)]).mean()
    torch.testing.assert_close(terms["prior"], expected)


class OwnPrior(GaussianKL):
    """A prior of one's own that gives something else."""

    def __init__(self, given):
        super().__init__(8)
        self.given = given

    def forward(self, features, code, generator):
        return self.given


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"vicreg": torch.zeros(())}, r"OwnPrior gives \['vicreg'\]; expected a dict of terms"),
        (torch.zeros(()), "OwnPrior gives Tensor; expected a dict of terms"),
        ({"prior": torch.zeros(()), "penalty": torch.ones(())}, "OwnPrior gives a term 'penalty'"),
        ({"prior": torch.zeros(()), "loss": torch.ones(())}, "OwnPrior gives a term 'loss'"),
        ({"prior": torch.zeros(()), "local": torch.ones(())}, "OwnPrior gives a term 'local'"),
        ({"prior": torch.zeros(8)}, r"term 'prior' gives \[8\]; expected a scalar"),
    ],
)
def test_a_prior_that_gives_no_term_of_its_weight_is_refused(encoder, view, given, said):
    objective = build(encoder, prior=lambda *_: OwnPrior(given))
    with pytest.raises(InputError, match=said):
        objective([view], ONE_VIEW, generator())


def test_an_estimator_that_gives_no_scalar_is_refused(encoder, view):
    objective = build(encoder, estimator=lambda scores: scores.joint)
    with pytest.raises(InputError, match=r"term 'global' gives \[.*\]; expected a scalar"):
        objective([view], ONE_VIEW, generator())
