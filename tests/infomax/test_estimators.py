import math
from functools import cache, partial
from itertools import product

import pytest
import torch
from every_estimator import ALL
from hypothesis import given
from hypothesis import strategies as st

from dim_lightning.errors import InputError
from dim_lightning.infomax import estimators
from dim_lightning.infomax.estimators import (
    check_trains,
    donsker_varadhan,
    info_nce,
    jensen_shannon,
    log_ratio_nwj,
    n_way_nce,
    name_of,
    nwj,
    pearson_chi2,
    reverse_kl,
    smile,
    squared_hellinger,
)
from dim_lightning.infomax.scores import Scores

SHIFT_FREE = [donsker_varadhan, info_nce, n_way_nce]


def one_location(joint, marginal):
    joint, marginal = torch.as_tensor(joint), torch.as_tensor(marginal)
    return Scores(joint.reshape(-1, 1), marginal.reshape(len(joint.reshape(-1)), -1, 1))


def random_scores(n=5, k=3, m=4, seed=0, dtype=torch.double, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    joint = scale * torch.randn(n, m, generator=generator, dtype=dtype)
    return Scores(joint, scale * torch.randn(n, k, m, generator=generator, dtype=dtype))


def log_set_size(estimator, scores):
    k, m = scores.marginal.shape[1:]
    return math.log(1 + (k * m if estimator is info_nce else k))


# The formulas again, in Python floats, one pair at a time, in their unsafe textbook form.


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def slow(estimator, scores):
    joint, marginal = scores.joint.tolist(), scores.marginal.tolist()
    real = [t for row in joint for t in row]
    other = [t for row in marginal for image in row for t in image]
    sigmoid = lambda t: 1 / (1 + math.exp(-t))  # noqa: E731
    exp = math.exp
    if estimator is jensen_shannon:
        return mean(math.log(sigmoid(t)) for t in real) + mean(
            math.log(1 - sigmoid(t)) for t in other
        )
    if estimator is donsker_varadhan:
        return mean(real) - math.log(mean(exp(t) for t in other))
    if estimator is nwj:
        return mean(real) - mean(exp(t - 1) for t in other)
    if estimator is log_ratio_nwj:
        return 1 + mean(real) - mean(exp(t) for t in other)
    if estimator is reverse_kl:
        return mean(-exp(-t) for t in real) - mean(-1 - math.log(exp(-t)) for t in other)
    if estimator is pearson_chi2:
        return mean(real) - mean(t * t / 4 + t for t in other)
    if estimator is squared_hellinger:
        g = lambda t: 1 - exp(-t)  # noqa: E731
        return mean(g(t) for t in real) - mean(g(t) / (1 - g(t)) for t in other)
    if estimator is smile:
        return mean(real) - math.log(mean(exp(min(max(t, -5), 5)) for t in other))
    if estimator is info_nce:
        total = []
        for row, images in zip(joint, marginal, strict=True):
            others = [t for image in images for t in image]
            for t in row:
                chosen = [t, *others]
                total.append(math.log(exp(t) / mean(exp(u) for u in chosen)))
        return mean(total)
    assert estimator is n_way_nce
    total = []
    for row, images in zip(joint, marginal, strict=True):
        for place, t in enumerate(row):
            chosen = [t, *(image[place] for image in images)]
            total.append(math.log(exp(t) / mean(exp(u) for u in chosen)))
    return mean(total)


@pytest.mark.parametrize("estimator", ALL, ids=name_of)
@pytest.mark.parametrize("sizes", [(5, 3, 4), (2, 1, 1), (4, 3, 1)])
def test_equals_the_formula_written_out(estimator, sizes):
    scores = random_scores(*sizes, scale=3.0)
    assert estimator(scores).item() == pytest.approx(slow(estimator, scores), rel=1e-10)


# Truth: two correlated standard Gaussians, where the log density ratio is known.


def gaussian_pairs(rho, num_pairs, num_negatives=1, seed=0):
    """Exact log density ratio of correlated Gaussians at joint and at independent pairs."""
    generator = torch.Generator().manual_seed(seed)
    x, noise = torch.randn(2, num_pairs, generator=generator, dtype=torch.double)
    y = rho * x + math.sqrt(1 - rho**2) * noise
    other = torch.randn(num_pairs, num_negatives, generator=generator, dtype=torch.double)

    def log_ratio(x, y):
        quadratic = (rho**2 * (x**2 + y**2) - 2 * rho * x * y) / (2 * (1 - rho**2))
        return -0.5 * math.log(1 - rho**2) - quadratic

    return log_ratio(x, y), log_ratio(x[:, None], other)


def integral(rho, function):
    """The integral of function(J, M) over the plane, on a fine grid."""
    axis = torch.linspace(-9, 9, 1201, dtype=torch.double)
    x, y = axis[:, None], axis[None, :]
    independent = torch.exp(-(x**2 + y**2) / 2) / (2 * math.pi)
    joint = torch.exp(-(x**2 + y**2 - 2 * rho * x * y) / (2 * (1 - rho**2)))
    joint = joint / (2 * math.pi * math.sqrt(1 - rho**2))
    return function(joint, independent).sum().item() * (axis[1] - axis[0]).item() ** 2


def kl(p, q):
    return torch.where(p > 0, p * (p.clamp_min(1e-300) / q.clamp_min(1e-300)).log(), 0.0)


DIVERGENCES = {  # estimator -> (best critic as a function of log J/M, divergence, constant)
    jensen_shannon: (
        lambda r: r,
        lambda j, m: kl(j, (j + m) / 2) + kl(m, (j + m) / 2),
        -2 * math.log(2),
    ),
    nwj: (lambda r: 1 + r, kl, 0.0),
    reverse_kl: (lambda r: r, lambda j, m: kl(m, j), 0.0),
    pearson_chi2: (lambda r: 2 * (r.exp() - 1), lambda j, m: (j - m) ** 2 / m, 0.0),
    squared_hellinger: (lambda r: r / 2, lambda j, m: (j.sqrt() - m.sqrt()) ** 2, 0.0),
}


@pytest.mark.parametrize("rho", [0.0, 0.4, 0.6])
@pytest.mark.parametrize("estimator", DIVERGENCES, ids=name_of)
def test_the_best_critic_reaches_the_divergence(estimator, rho):
    best, divergence, constant = DIVERGENCES[estimator]
    values = []
    for seed in range(20):
        joint, marginal = gaussian_pairs(rho, 20_000, seed=seed)
        values.append(estimator(one_location(best(joint), best(marginal))).item())
    values = torch.tensor(values, dtype=torch.double)
    error = values.std().item() / math.sqrt(len(values))
    assert abs(values.mean().item() - integral(rho, divergence) - constant) < 4 * error + 1e-6


@pytest.mark.parametrize("estimator", DIVERGENCES, ids=name_of)
def test_another_critic_stays_below(estimator):
    best, _, _ = DIVERGENCES[estimator]
    joint, marginal = gaussian_pairs(0.5, 200_000)
    joint, marginal = best(joint), best(marginal)
    top = estimator(one_location(joint, marginal))
    for scale, shift in [(0.5, 0), (1.5, 0), (1, 0.5), (1, -0.5), (-1, 0)]:
        other = one_location(scale * joint + shift, scale * marginal + shift)
        assert estimator(other) < top


@cache
def gaussian_pairs_of_one_nat(num_dims, seed):
    """Log density ratios of d independent pairs of correlation rho: I = -d/2 log(1 - rho^2) = 1."""
    rho = math.sqrt(1 - math.exp(-2 / num_dims))
    parts = [gaussian_pairs(rho, 300, 300, seed=100 * seed + d) for d in range(num_dims)]
    return torch.stack([j for j, _ in parts]).sum(0), torch.stack([m for _, m in parts]).sum(0)


@pytest.mark.parametrize("num_dims", [2, 5, 10, 20])
@pytest.mark.parametrize(
    "estimator", [donsker_varadhan, nwj, log_ratio_nwj, info_nce, smile], ids=name_of
)
def test_bounds_of_the_mutual_information_in_many_dimensions(estimator, num_dims):
    truth = 1.0
    values = []
    for seed in range(8):
        joint, marginal = gaussian_pairs_of_one_nat(num_dims, seed)
        best = 1.0 if estimator is nwj else 0.0  # the best critic of NWJ is 1 + log ratio
        values.append(estimator(one_location(joint + best, marginal + best)).item())
    values = torch.tensor(values, dtype=torch.double)
    error = values.std().item() / math.sqrt(len(values))
    # InfoNCE with 300 others falls a little short even at its best critic
    slack = 0.05 if estimator in (info_nce, smile) else 0.0
    assert truth - slack - 4 * error < values.mean().item() < truth + 4 * error


# Properties.


def score_lists(width):
    return st.lists(st.floats(-50, 50), min_size=width, max_size=width)


@pytest.mark.usefixtures("as_in_a_script")
@pytest.mark.parametrize(
    ("joint", "marginal"),
    [
        ((3, 2), (3, 2, 4)),  # axes swapped
        ((2, 4), (6, 3, 4)),
        ((3,), (3, 4)),
        ((3,), (3, 4, 1)),
        ((3, 1), (3, 4)),
        ((3, 4, 1), (3, 4, 1)),
        ((3, 1), (3, 4, 1, 1)),
    ],
)
def test_scores_of_other_shapes_are_refused(joint, marginal):
    with pytest.raises(
        InputError, match=r"joint scores are \[.*\]; expected \[n, m\] and \[n, k, m\]"
    ):
        Scores(torch.zeros(joint), torch.zeros(marginal))


@st.composite
def any_scores(draw):
    n, k, m = draw(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3)))
    values = torch.tensor(draw(score_lists(n * (k + 1) * m)), dtype=torch.double)
    values = values.reshape(n, k + 1, m)
    return Scores(values[:, 0], values[:, 1:])


@given(any_scores())
def test_bounded_estimators_keep_their_bounds(scores):
    rounding = 1e-9
    assert jensen_shannon(scores) <= rounding
    assert squared_hellinger(scores) <= 2 + rounding
    for estimator in (info_nce, n_way_nce):
        assert estimator(scores) <= log_set_size(estimator, scores) + rounding


@given(any_scores())
def test_nwj_is_never_above_donsker_varadhan(scores):
    assert nwj(scores) <= donsker_varadhan(scores) + 1e-9


def test_the_shifted_form_is_nwj_of_scores_raised_by_one():
    scores = random_scores()
    raised = Scores(scores.joint + 1, scores.marginal + 1)
    torch.testing.assert_close(log_ratio_nwj(scores), nwj(raised))


@given(any_scores(), st.floats(-20, 20))
def test_adding_a_constant_to_all_scores_changes_nothing(scores, shift):
    shifted = Scores(scores.joint + shift, scores.marginal + shift)
    for estimator in SHIFT_FREE:
        assert estimator(shifted).item() == pytest.approx(estimator(scores).item(), abs=1e-9)


@pytest.mark.parametrize("estimator", ALL, ids=name_of)
def test_a_function_of_the_code_is_nothing_to_the_infonce_forms_alone(estimator):
    scores = random_scores(n=64, k=63, m=2)
    of_code = torch.linspace(-3, 3, 64, dtype=torch.double)[:, None]
    moved = Scores(scores.joint + of_code, scores.marginal + of_code[:, :, None])
    before, after = estimator(scores).item(), estimator(moved).item()
    if estimator in (info_nce, n_way_nce):
        assert after == pytest.approx(before, abs=1e-9)
    else:
        assert after < before - 0.1


@given(any_scores(), st.randoms(use_true_random=False))
def test_the_order_of_images_negatives_and_locations_is_nothing(scores, random):
    n, k, m = scores.marginal.shape
    rows, others, places = (random.sample(range(size), size) for size in (n, k, m))
    mixed = Scores(scores.joint[rows][:, places], scores.marginal[rows][:, others][:, :, places])
    for estimator in ALL:
        assert estimator(mixed).item() == pytest.approx(estimator(scores).item(), rel=1e-9)


@pytest.mark.parametrize("estimator", ALL, ids=name_of)
def test_at_equal_scores_nothing_was_learned(estimator):
    value = estimator(Scores(torch.zeros(3, 2), torch.zeros(3, 4, 2))).item()
    chance = {jensen_shannon: -2 * math.log(2), nwj: -math.exp(-1)}
    assert value == pytest.approx(chance.get(estimator, 0.0), abs=1e-6)


def test_one_location_makes_both_forms_of_nce_one():
    scores = random_scores(n=4, k=3, m=1)
    torch.testing.assert_close(info_nce(scores), n_way_nce(scores))


def test_locations_that_depend_on_one_another_raise_info_nce_above_the_information():
    """Image and code are one of two classes, each location shows it: I = log 2, k = 1, m = 16."""
    same, other = torch.full((1, 16), 50.0).double(), torch.zeros(1, 16).double()
    joint = same.expand(2, 16)
    scores = Scores(joint, torch.stack([same, other]))  # the negative: in half of the cases alike
    assert n_way_nce(scores) < math.log(2) < info_nce(scores)
    assert info_nce(scores).item() == pytest.approx(math.log(17) / 2)


@given(st.integers(0, 99), st.sampled_from([0.1, 1.0, 10.0]), st.sampled_from([0.0, 50.0]))
def test_info_nce_exceeds_a_bound_by_no_more_than_the_set_outgrows_the_images(seed, scale, apart):
    """Below log((1 + k m)/(1 + k)) + infoNCE with one location drawn of each negative image, mean
    over all draws: that is a bound of the information, as its 1 + k members are exchangeable.
    Equal where the joint scores are far `apart` from the others."""
    scores = random_scores(n=4, k=2, m=3, seed=seed, scale=scale)
    scores = Scores(scores.joint + apart, scores.marginal)
    drawn = [
        n_way_nce(Scores(scores.joint, scores.marginal[:, [0, 1], draw, None].expand(-1, -1, 3)))
        for draw in product(range(3), repeat=2)
    ]
    most = torch.stack(drawn).mean() + math.log((1 + 2 * 3) / (1 + 2))
    assert info_nce(scores) <= most + 1e-9


def test_info_nce_leaves_out_the_other_locations_of_the_same_image():
    """With negatives far below, the set is the location alone: T - log(exp T / size) = log size."""
    joint = torch.tensor([[0.0, 30.0]], dtype=torch.double)
    scores = Scores(joint, torch.full((1, 3, 2), -1e6, dtype=torch.double))
    assert info_nce(scores).item() == pytest.approx(math.log(7))


def test_smile_within_its_clamp_is_donsker_varadhan():
    scores = random_scores(scale=1.0)
    torch.testing.assert_close(smile(scores), donsker_varadhan(scores))
    torch.testing.assert_close(
        smile(scores, clip=0.5),
        donsker_varadhan(Scores(scores.joint, scores.marginal.clamp(-0.5, 0.5))),
    )


@pytest.mark.parametrize("estimator", ALL, ids=name_of)
def test_gradients_against_finite_differences(estimator):
    scores = random_scores(n=3, k=2, m=2)
    inputs = (scores.joint.requires_grad_(), scores.marginal.requires_grad_())
    assert torch.autograd.gradcheck(lambda j, m: estimator(Scores(j, m)), inputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("joint", "marginal"), [(1e4, -1e4), (-1e4, 1e4), (1e4, 1e4), (-1e4,) * 2])
@pytest.mark.parametrize("estimator", ALL, ids=name_of)
def test_extreme_scores_keep_value_and_gradient_finite(estimator, joint, marginal, dtype):
    real = torch.full((4, 2), joint, dtype=dtype, requires_grad=True)
    other = torch.full((4, 3, 2), marginal, dtype=dtype, requires_grad=True)
    value = estimator(Scores(real, other))
    value.backward()
    assert value.isfinite()
    assert real.grad.isfinite().all()
    assert other.grad.isfinite().all()


@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize("estimator", [nwj, reverse_kl, squared_hellinger])
def test_extreme_scores_leave_weights_that_can_move(estimator, clip):
    """Adam and clipping square gradients, which are those of scores times the activations."""
    weight = torch.full((256,), 1.0, requires_grad=True)
    inputs = 40 * torch.randn(64, 4, 256, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam([weight])
    before = weight.detach().clone()
    for _ in range(2):
        scores = inputs @ weight  # to about 2,000 in size
        optimizer.zero_grad()
        (-estimator(Scores(scores[:, :1], scores[:, 1:, None]))).backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_([weight], clip, error_if_nonfinite=True)
        optimizer.step()
    assert optimizer.state[weight]["exp_avg_sq"].isfinite().all()
    assert (weight != before).all()


@pytest.mark.parametrize("estimator", [nwj, log_ratio_nwj, squared_hellinger])
def test_beyond_where_exp_would_overflow_it_is_its_tangent(estimator):
    above, zero = 3.0, torch.zeros(1, 1).double()
    shift = 1 if estimator is nwj else 0
    others = torch.full((1, 1, 1), 25 + shift + above).double().requires_grad_()
    value = estimator(Scores(zero, others))
    value.backward()
    constant = 0 if estimator is nwj else 1
    assert value.item() == pytest.approx(constant - math.exp(25) * (1 + above), rel=1e-12)
    assert others.grad.item() == pytest.approx(-math.exp(25), rel=1e-12)


def test_bfloat16_scores_are_reduced_in_float32():
    scores = random_scores(n=64, k=63, m=16, dtype=torch.float32)
    rounded = Scores(scores.joint.bfloat16(), scores.marginal.bfloat16())
    exact = Scores(rounded.joint.double(), rounded.marginal.double())
    for estimator in ALL:
        assert estimator(rounded).dtype == torch.float32
        assert estimator(rounded).item() == pytest.approx(estimator(exact).item(), rel=1e-5)


@pytest.mark.parametrize("estimator", [smile, partial(smile, clip=3.0)])
def test_training_with_an_estimator_that_only_reports_is_refused(estimator):
    with pytest.raises(InputError, match="smile"):
        check_trains(estimator)


def test_every_estimator_of_the_module_is_tested_here():
    public = {
        name
        for name, value in vars(estimators).items()
        if callable(value)
        and getattr(value, "__module__", "") == estimators.__name__
        and not name.startswith("_")
    }
    assert public - {"check_trains", "name_of"} == {name_of(f) for f in ALL}
