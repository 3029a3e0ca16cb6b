from functools import partial

import pytest
import torch
from every_estimator import ALL

from dim_lightning.errors import InputError
from dim_lightning.infomax.all_pairs import AllPairs, encoded_in_pieces
from dim_lightning.infomax.contrasts import score_penalty
from dim_lightning.infomax.critics import BilinearCritic, ConcatCritic, CosineCritic, DotCritic
from dim_lightning.infomax.estimators import info_nce, jensen_shannon, name_of, nwj
from dim_lightning.infomax.negatives import shuffled

CRITICS = {
    "dot": lambda: DotCritic(6, 5, width=8),
    "bilinear": lambda: BilinearCritic(6, 5),
    "cosine": lambda: CosineCritic(6, 5, width=8),
    "concat": lambda: ConcatCritic(6, 5, widths=(8, 8)),
}
N, M = 11, 3


def sides(critic, seed=0):
    generator = torch.Generator().manual_seed(seed)
    source = torch.randn(N, M, 6, generator=generator, dtype=torch.double, requires_grad=True)
    code = torch.randn(N, 5, generator=generator, dtype=torch.double, requires_grad=True)
    return source, code


@pytest.fixture(params=CRITICS)
def critic(request):
    torch.manual_seed(0)
    return CRITICS[request.param]().double()


def cut(scores, tile_scores, tile_codes=1024):
    scores.tile_scores, scores.tile_codes = tile_scores, tile_codes
    return scores


def whole(critic, source, code, pair=None, most=None):
    sides = critic.encode_source(source), critic.encode_code(code)
    made_of = critic.pair_parameters(), critic.is_product, most
    return AllPairs(pair or critic.pair, *sides, *made_of)


def tiled(critic, source, code, *tile):
    return cut(whole(critic, source, code, most=0), *tile)


def test_an_estimator_that_reads_all_scores_is_told_why_it_cannot(critic):
    scores = tiled(critic, *sides(critic), 10**6)
    with pytest.raises(InputError, match=r"never in memory .* set model\.num_negatives"):
        scores.marginal.mean()


@pytest.mark.parametrize("tile_codes", [4, 1024])
@pytest.mark.parametrize("tile_scores", [1, 2 * M * 4, 10**6])
@pytest.mark.parametrize("estimator", ALL, ids=name_of)
def test_value_and_every_gradient_equal_those_of_all_scores_in_memory(
    critic, estimator, tile_scores, tile_codes
):
    source, code = sides(critic)
    inputs = [source, code, *critic.parameters()]
    negatives = shuffled(N, N - 1, torch.Generator().manual_seed(0))
    plain = estimator(critic(source, code, negatives))
    expected = torch.autograd.grad(plain, inputs, allow_unused=True)
    value = estimator(tiled(critic, source, code, tile_scores, tile_codes))
    torch.testing.assert_close(value, plain)
    found = torch.autograd.grad(value, inputs, allow_unused=True)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("estimator", ALL, ids=name_of)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extreme_scores_keep_value_and_gradient_finite(estimator, dtype):
    def pair(source, code):
        return source[..., 0] * code[..., :1]

    source = torch.tensor([1e4, -1e4, 1e4, 0.0]).reshape(4, 1, 1).to(dtype).requires_grad_()
    code = torch.tensor([1.0, 1.0, -1.0, 1.0]).reshape(4, 1).to(dtype).requires_grad_()
    value = estimator(cut(AllPairs(pair, source, code, whole_scores=0), tile_scores=2))
    value.backward()
    assert value.isfinite()
    assert source.grad.isfinite().all()
    assert code.grad.isfinite().all()


def test_no_score_tensor_is_ever_larger_than_a_tile():
    """Neither forward nor backward: counted in the only place where scores are computed."""
    critic = DotCritic(6, 5, width=8).double()
    sizes = []

    def pair(source, code):
        scores = critic.pair(source, code)
        sizes.append(scores.numel())
        return scores

    source, code = sides(critic)
    pairs = cut(whole(critic, source, code, pair, most=0), 2 * M * 4, 4)
    forward = len(sizes)
    info_nce(pairs).backward()
    assert max(sizes) <= max(2 * M * 4, N * M)  # N * M are the real pairs
    assert len(sizes) - forward == 2 * 3 * 6  # each tile once forward and once backward


def test_pairs_that_are_not_cut_are_scored_once_for_all_that_is_made_of_them(critic):
    """As each by itself gives it."""
    calls = []

    def pair(source, code):
        calls.append(source.ndim)
        return critic.pair(source, code)

    source, code = sides(critic)
    inputs = [source, code, *critic.parameters()]
    pairs = whole(critic, source, code, pair)
    loss = jensen_shannon(pairs)
    with torch.no_grad():
        reported = [info_nce(pairs), nwj(pairs)]
    loss = loss + score_penalty(pairs)
    assert calls.count(4) == 1  # that of all pairs
    assert calls.count(3) == (not critic.is_product)  # the real ones, if these are not among them

    def each(function):
        return function(whole(critic, source, code))

    expected = each(jensen_shannon) + each(score_penalty)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(reported, [each(info_nce).detach(), each(nwj).detach()])
    for one, other in zip(
        torch.autograd.grad(loss, inputs, allow_unused=True),
        torch.autograd.grad(expected, inputs, allow_unused=True),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_pairs_that_were_first_reported_have_their_gradient(critic):
    source, code = sides(critic)
    pairs = whole(critic, source, code)
    with torch.no_grad():
        nwj(pairs)
    (found,) = torch.autograd.grad(info_nce(pairs), code)
    (expected,) = torch.autograd.grad(info_nce(whole(critic, source, code)), code)
    torch.testing.assert_close(found, expected)


def test_a_tile_holds_no_more_than_it_may_of_the_layers_before_the_scores():
    critic = ConcatCritic(6, 5, widths=(8, 8)).double()
    held = []
    for layer in critic.modules():
        if isinstance(layer, torch.nn.ReLU):
            layer.register_forward_hook(lambda *each: held.append(each[-1].numel()))
    pairs = tiled(critic, *sides(critic), 4 * M * 8)
    held.clear()
    info_nce(pairs)
    assert max(held) == 4 * M * 8


class Distance(DotCritic):
    """What `pair` holds has no parameters, and is as wide as both sides all the same."""

    is_product = False

    def pair(self, source, code):
        difference = source - code.unsqueeze(-2)
        self.held.append(difference.numel())
        return -difference.square().sum(-1)


def test_nor_do_layers_without_parameters():
    critic = Distance(6, 5, width=8).double()
    critic.held = []
    pairs = tiled(critic, *sides(critic), 4 * M * 8)
    critic.held.clear()
    info_nce(pairs).backward()
    assert max(critic.held) == 4 * M * 8


def test_a_second_derivative_is_refused(critic):
    """It would lack what the tiles do not keep."""
    source, code = sides(critic)
    value = info_nce(tiled(critic, source, code, 4 * M))
    (first,) = torch.autograd.grad(value, code, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.square().sum().backward()


def test_a_function_that_is_trained_is_refused(critic):
    """Its gradient would depend on whether the batch is large enough to be cut."""
    baseline = torch.zeros((), requires_grad=True)
    scores = critic(*sides(critic), None)
    for reduce in (scores.marginal_mean, partial(scores.marginal_logsumexp, "all")):
        with pytest.raises(InputError, match="expected a fixed one"):
            reduce(lambda t: t - baseline)


def test_a_single_image_is_refused(critic):
    source, code = sides(critic)
    with pytest.raises(InputError, match="a batch of 1 image has no negatives"):
        critic(source[:1], code[:1], None)


def test_elsewhere_than_on_a_cpu_tiles_are_few(monkeypatch):
    """Each costs a launch of all its kernels; counted on the device without values."""
    # of which that device knows nothing
    monkeypatch.setattr(torch, "get_autocast_dtype", lambda _: torch.float16)
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda _: False)
    calls = []

    def pair(source, code):
        calls.append(1)
        return (source + code.unsqueeze(-2)).sum(-1)

    source, code = torch.empty(256, 64, 512, device="meta"), torch.empty(256, 512, device="meta")
    AllPairs(pair, source, code).marginal_mean(torch.square)
    assert len(calls) <= 70


def test_reporting_keeps_no_graph():
    critic = DotCritic(6, 5, width=8).double()
    with torch.no_grad():
        assert not nwj(critic(*sides(critic), None)).requires_grad


def test_encoding_in_pieces_changes_no_value_and_no_gradient(monkeypatch):
    monkeypatch.setattr("dim_lightning.infomax.all_pairs._PIECE_SOURCES", 4 * M)
    critic = DotCritic(6, 5, width=8).double()
    source, _ = sides(critic)
    found = encoded_in_pieces(critic.encode_source, source)
    expected = critic.encode_source(source)
    torch.testing.assert_close(found, expected)
    weights = torch.randn_like(expected)
    inputs = [source, *critic.source_side.parameters()]
    for one, other in zip(
        torch.autograd.grad(found, inputs, weights),
        torch.autograd.grad(expected, inputs, weights),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_under_autocast_the_sides_are_kept_in_the_type_they_are_multiplied_in():
    critic = DotCritic(6, 5, width=8)
    source, code = (x.detach().float() for x in sides(critic))
    with torch.autocast("cpu", torch.bfloat16):
        pairs = critic(source, code, None)
    assert pairs.source.dtype == pairs.all_codes.dtype == torch.bfloat16
    exact = info_nce(critic(source, code, None)).item()
    assert info_nce(pairs).item() == pytest.approx(exact, abs=0.02)
