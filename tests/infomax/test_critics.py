import pytest
import torch

from dim_lightning.errors import InputError
from dim_lightning.infomax.all_pairs import AllPairs
from dim_lightning.infomax.critics import (
    BilinearCritic,
    ConcatCritic,
    CosineCritic,
    DotCritic,
)
from dim_lightning.infomax.critics import critic as critic_module
from dim_lightning.infomax.critics.critic import made_critic
from dim_lightning.infomax.negatives import shuffled

SOURCE_DIM, CODE_DIM = 6, 5
CRITICS = {
    "concat": lambda: ConcatCritic(SOURCE_DIM, CODE_DIM, widths=(16, 16)),
    "dot": lambda: DotCritic(SOURCE_DIM, CODE_DIM, width=16),
    "dot, plain": lambda: DotCritic(SOURCE_DIM, CODE_DIM, width=16, scale=False),
    "dot, as the authors'": lambda: DotCritic(SOURCE_DIM, CODE_DIM, width=16, as_authors=True),
    "dot, clipped": lambda: DotCritic(SOURCE_DIM, CODE_DIM, width=16, clip=2.0),
    "bilinear": lambda: BilinearCritic(SOURCE_DIM, CODE_DIM),
    "cosine": lambda: CosineCritic(SOURCE_DIM, CODE_DIM, width=8),
    "cosine, hidden": lambda: CosineCritic(SOURCE_DIM, CODE_DIM, width=8, hidden_dim=16),
}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=CRITICS, ids=str)
def critic(request):
    torch.manual_seed(0)
    return CRITICS[request.param]().double()


@pytest.fixture
def pairs():
    draws = generator()
    source = torch.randn(7, 4, SOURCE_DIM, generator=draws, dtype=torch.double)
    code = torch.randn(7, CODE_DIM, generator=draws, dtype=torch.double)
    return source, code, shuffled(7, 2, draws)


def side(network, x):
    first, _, second = network.hidden
    hidden = torch.relu(first.weight @ x + first.bias)
    total = second.weight @ hidden + second.bias + network.shortcut.weight @ x
    if isinstance(network.norm, torch.nn.Identity):
        return total
    centred = total - total.mean()
    normed = centred / torch.sqrt(centred.square().mean() + network.norm.eps)
    return normed * network.norm.weight + network.norm.bias


def score_of_one_pair(critic, source, code):
    """The formula of the critic for two vectors, written out."""
    if isinstance(critic, ConcatCritic):
        return critic.rest(critic.first(torch.cat([code, source]))).squeeze()
    if isinstance(critic, BilinearCritic):
        return source @ critic.weight.weight @ code * critic.scale
    if isinstance(critic, CosineCritic):
        f, g = critic.source_side(source), critic.code_side(code)
        return f @ g / (f.norm() * g.norm() * critic.temperature)
    product = side(critic.source_side, source) @ side(critic.code_side, code) * critic.scale
    return product if critic.clip is None else critic.clip * torch.tanh(product / critic.clip)


@pytest.mark.parametrize("picked", [0, 32])  # products of all pairs or of copies
def test_scores_equal_the_formula_pair_by_pair(critic, pairs, picked, monkeypatch):
    monkeypatch.setattr(critic_module, "PICKED", picked)
    source, code, negatives = pairs
    scores = critic(*pairs)
    assert scores.joint.shape == (7, 4)
    assert scores.marginal.shape == (7, 2, 4)
    for i in range(7):
        for place in range(4):
            expected = score_of_one_pair(critic, source[i, place], code[i])
            torch.testing.assert_close(scores.joint[i, place], expected)
            for k, j in enumerate(negatives[i]):
                expected = score_of_one_pair(critic, source[j, place], code[i])
                torch.testing.assert_close(scores.marginal[i, k, place], expected)


@pytest.mark.parametrize("changed", [0, 3])
def test_a_changed_code_moves_its_own_row_only(critic, pairs, changed):
    source, code, negatives = pairs
    before = critic(*pairs)
    moved = code.clone()
    moved[changed] += 1
    after = critic(source, moved, negatives)
    expected = torch.arange(7) == changed
    assert torch.equal((before.joint != after.joint).any(1), expected)
    assert torch.equal((before.marginal != after.marginal).flatten(1).any(1), expected)


@pytest.mark.parametrize("changed", [0, 3])
def test_a_changed_image_moves_only_scores_that_involve_it(critic, pairs, changed):
    source, code, negatives = pairs
    before = critic(*pairs)
    moved = source.clone()
    moved[changed] -= 1
    after = critic(moved, code, negatives)
    assert torch.equal((before.joint != after.joint).any(1), torch.arange(7) == changed)
    marginal = (before.marginal != after.marginal).any(2)
    assert torch.equal(marginal, negatives == changed)


def test_all_other_images_are_those_sampled_when_all_are_sampled(critic, pairs):
    source, code, _ = pairs
    everything = critic(source, code, None)
    assert isinstance(everything, AllPairs)
    sampled = critic(source, code, shuffled(7, 6, generator()))
    assert everything.num_negatives == sampled.num_negatives == 6
    torch.testing.assert_close(everything.joint, sampled.joint)
    for over in ("all", "code", "location"):
        torch.testing.assert_close(
            everything.marginal_logsumexp(over), sampled.marginal_logsumexp(over)
        )
    torch.testing.assert_close(
        everything.marginal_mean(torch.square), sampled.marginal_mean(torch.square)
    )


def test_gradients_against_finite_differences(critic):
    draws = generator(1)
    source = torch.randn(3, 2, SOURCE_DIM, generator=draws, dtype=torch.double)
    code = torch.randn(3, CODE_DIM, generator=draws, dtype=torch.double)
    negatives = shuffled(3, 1, draws)

    def scores(source, code):
        found = critic(source, code, negatives)
        return found.joint, found.marginal

    assert torch.autograd.gradcheck(scores, (source.requires_grad_(), code.requires_grad_()))


def test_the_blogs_widths_by_parameter_count():
    by_hand = (512 * 256 + 256) + 2 * (256 * 256 + 256) + (256 + 1)  # 512-256-256-256-1
    assert sum(p.numel() for p in ConcatCritic(256, 256).parameters()) == by_hand


def test_the_papers_local_critic_by_its_cost():
    """302 M multiply-adds an image at 2048 units and 64 locations of 128 channels."""
    critic = DotCritic(128, 64, width=2048)
    weights = sum(
        m.weight.numel() for m in critic.source_side.modules() if hasattr(m, "in_features")
    )
    assert 64 * weights == pytest.approx(302e6, rel=0.01)


def test_scale_makes_products_of_normed_vectors_of_the_order_of_one():
    torch.manual_seed(0)
    source, code = torch.randn(50, 1, 32), torch.randn(50, 32)
    negatives = shuffled(50, 20, generator())
    plain, scaled = (DotCritic(32, 32, width=1024, scale=s) for s in (False, True))
    scaled.load_state_dict(plain.state_dict())
    ratio = plain(source, code, negatives).marginal / scaled(source, code, negatives).marginal
    torch.testing.assert_close(ratio, torch.full_like(ratio, 32.0), rtol=1e-3, atol=1e-3)


def test_as_in_the_authors_code_a_code_starts_with_its_own_length():
    torch.manual_seed(0)
    critic = DotCritic(4, 3, width=16, scale=False, as_authors=True)
    for side in (critic.source_side, critic.code_side):
        for layer in (side.hidden[0], side.hidden[2]):
            torch.nn.init.zeros_(layer.weight)
            torch.nn.init.zeros_(layer.bias)
    source, code = torch.randn(5, 2, 4), torch.randn(5, 3)
    normed = torch.nn.functional.layer_norm(torch.nn.functional.pad(source, (0, 12)), (16,))
    expected = (normed[..., :3] * code[:, None]).sum(-1)
    scores = critic(source, code, shuffled(5, 1, generator())).joint
    torch.testing.assert_close(scores, expected, atol=0.2, rtol=0)  # the noise of up to 0.01
    doubled = critic(source, 2 * code, shuffled(5, 1, generator())).joint
    torch.testing.assert_close(doubled, 2 * scores)
    noise = critic.source_side.shortcut.weight - torch.eye(16, 4)
    assert 0.009 < noise.abs().max() <= 0.01


def test_a_side_with_fewer_units_than_inputs_copies_nothing():
    critic = DotCritic(6, 3, width=4, as_authors=True)
    assert critic.source_side.shortcut.weight.abs().max() < 6**-0.5 + 1e-6
    assert torch.equal(critic.code_side.shortcut.weight.diagonal(), torch.ones(3))


def test_clipped_scores_stay_within_and_keep_their_slope_at_zero():
    critic = BilinearCritic(2, 2, scale=False, clip=3.0)
    torch.nn.init.eye_(critic.weight.weight)
    source, code = torch.tensor([[[1e4, 0.0]], [[1e-3, 0.0]]]), torch.tensor([[1.0, 0.0]] * 2)
    joint = critic(source, code, shuffled(2, 1, generator())).joint
    assert joint[0].item() == pytest.approx(3.0)
    assert joint[1].item() == pytest.approx(1e-3)


def test_cosines_do_not_depend_on_lengths_and_stay_within_the_temperature(pairs):
    source, code, negatives = pairs
    critic = CosineCritic(SOURCE_DIM, CODE_DIM, temperature=0.5).double()
    scores = critic(*pairs)
    longer = critic(100 * source, 0.01 * code, negatives)
    torch.testing.assert_close(longer.marginal, scores.marginal)
    assert scores.marginal.abs().max() < 2
    torch.nn.init.eye_(critic.source_side.weight)
    torch.nn.init.eye_(critic.code_side.weight)
    alike = critic(torch.nn.functional.pad(code, (0, 1))[:, None], code, negatives).joint
    torch.testing.assert_close(alike, torch.full_like(alike, 2.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_vector_of_zeros_has_no_cosine_and_no_gradient(dtype):
    """As of a location where all channels are dead."""
    torch.manual_seed(0)
    critic = CosineCritic(SOURCE_DIM, CODE_DIM, width=8)
    source = torch.randn(7, 4, SOURCE_DIM)
    source[2, 1] = 0
    source.requires_grad_()
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        joint = critic(source, torch.randn(7, CODE_DIM), shuffled(7, 2, generator())).joint
    joint.sum().backward()
    assert joint[2, 1] == 0
    assert torch.equal(source.grad[2, 1], torch.zeros(SOURCE_DIM))
    assert all(p.grad.isfinite().all() for p in critic.parameters())
    values = torch.randn(3, 8)
    critic.source_side = torch.nn.Identity()
    expected = torch.nn.functional.normalize(values, dim=-1)
    assert torch.equal(critic.encode_source(values[None])[0], expected)


def test_cosines_are_as_exact_in_autocast_as_their_vectors():
    torch.manual_seed(0)
    critic = CosineCritic(SOURCE_DIM, CODE_DIM, temperature=1.0)
    with torch.autocast("cpu", torch.bfloat16):
        source = critic.encode_source(torch.randn(7, 4, SOURCE_DIM))
        code = critic.encode_code(torch.randn(7, CODE_DIM))
    for side in (source, code):
        torch.testing.assert_close(side.norm(dim=-1), torch.ones(side.shape[:-1]))


@pytest.mark.parametrize("name", CRITICS)
def test_under_autocast_narrow_numbers_travel_and_the_scores_are_the_same(monkeypatch, name):
    torch.manual_seed(0)
    critic = CRITICS[name]()
    source, code = torch.randn(7, 4, SOURCE_DIM), torch.randn(7, CODE_DIM)
    negatives, travelled = shuffled(7, 2, generator()), []
    monkeypatch.setattr(critic_module, "gather", lambda rows: travelled.append(rows) or rows)
    with torch.autocast("cpu", torch.bfloat16):
        scores = critic(source, code, negatives)
        wide, code = critic.encode_source(source), critic.encode_code(code)
        expected = critic.pair(torch.cat([wide[:, None], wide[negatives]], dim=1), code[:, None])
    assert [rows.dtype for rows in travelled] == [torch.bfloat16]
    assert torch.equal(torch.cat([scores.joint[:, None], scores.marginal], dim=1), expected)


@pytest.mark.parametrize("widths", [(), (8, 0)])
def test_layers_that_cannot_be_are_refused(widths):
    with pytest.raises(InputError, match="widths are"):
        ConcatCritic(SOURCE_DIM, CODE_DIM, widths=widths)


def test_layers_that_are_frozen_pass_gradients_on():
    """Also where all pairs are too many to be scored at once."""
    critic = ConcatCritic(2, 2, widths=(16,))
    critic.rest.requires_grad_(False)
    scores = critic(torch.randn(1100, 1, 2), torch.randn(1100, 2), None)
    scores.marginal_mean(torch.square).backward()
    assert critic.first.weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in critic.rest.parameters())


def test_a_single_unit_is_a_layer(pairs):
    critic = ConcatCritic(SOURCE_DIM, CODE_DIM, widths=(1,)).double()
    assert critic(*pairs).joint.shape == (7, 4)


def test_units_and_clips_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="width are"):
        DotCritic(SOURCE_DIM, CODE_DIM, width=0)
    for build in (DotCritic, BilinearCritic):
        with pytest.raises(InputError, match="clip is"):
            build(SOURCE_DIM, CODE_DIM, clip=0.0)
    for name, wrong in (("width", 0), ("hidden_dim", 0), ("temperature", 0.0)):
        with pytest.raises(InputError, match=f"init_args.{name}"):
            CosineCritic(SOURCE_DIM, CODE_DIM, **{name: wrong})


class Scaled(DotCritic):
    """With a parameter in the pair, of which it tells or not."""

    told = True

    def __init__(self, source_dim, code_dim):
        super().__init__(source_dim, code_dim, width=8)
        self.scale = torch.nn.Parameter(torch.ones(()))

    def pair(self, source, code):
        return self.scale * super().pair(source, code)

    def pair_parameters(self):
        return [self.scale] if self.told else []


class Untold(Scaled):
    told = False


class OneTooMany(Scaled):
    def pair(self, source, code):
        return super().pair(source, code)[..., None]


class TellingAll(Scaled):
    def pair_parameters(self):
        return list(self.parameters())


class Half(Scaled):
    """Tells of one of two."""

    def __init__(self, source_dim, code_dim):
        super().__init__(source_dim, code_dim)
        self.shift = torch.nn.Parameter(torch.zeros(()))

    def pair(self, source, code):
        return super().pair(source, code) + self.shift


class Normed(Scaled):
    def __init__(self, source_dim, code_dim):
        super().__init__(source_dim, code_dim)
        self.norm = torch.nn.BatchNorm1d(8)


class Forgetful(Scaled):
    def __init__(self, source_dim, code_dim):
        super().__init__(source_dim, code_dim)
        self.code_side = torch.nn.Sequential(torch.nn.Dropout(0.1))


class Attentive(Scaled):
    def __init__(self, source_dim, code_dim):
        super().__init__(source_dim, code_dim)
        self.attention = torch.nn.MultiheadAttention(4, 2, dropout=0.1)


class Summed(Scaled):
    def pair(self, source, code):
        return super().pair(source, code).sum(-1)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (OneTooMany, r"gives scores \[2, 3, 1\]"),
        (Summed, r"gives scores \[2\]"),
        (Untold, "Untold.pair uses scale, and Untold.pair_parameters does not give it"),
        (Half, "Half.pair uses shift, and Half.pair_parameters does not give it"),
        (TellingAll, r"does not use code_side\..*, and TellingAll.pair_parameters gives it"),
        (Normed, "Normed has batch norm"),
        (Forgetful, "Forgetful has dropout or other layers that draw, and the draws differ where"),
        (Attentive, "Attentive has dropout or other layers that draw"),
    ],
)
def test_a_critic_whose_scores_mean_something_else_is_refused(make, said):
    with pytest.raises(InputError, match=said):
        made_critic(make, 5, 4)


def test_a_critic_of_ones_own_that_keeps_to_it_is_made():
    assert made_critic(Scaled, 5, 4).training
