import math

import pytest
import torch
from torch.nn import functional as F

from dim_lightning.encoders import BlogEncoder, FeatureShape
from dim_lightning.errors import InputError
from dim_lightning.infomax.coordinates import Coordinates, other_locations

SHAPE = FeatureShape(6, 3, 4)
CODE_DIM = 5


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def build(shape=SHAPE, **settings):
    torch.manual_seed(0)
    return Coordinates(shape, CODE_DIM, **{"width": 16, **settings}).double()


@pytest.fixture
def features():
    draws = generator()
    feature_map = torch.randn(3, *SHAPE, generator=draws, dtype=torch.double)
    return feature_map, torch.randn(3, CODE_DIM, generator=draws, dtype=torch.double)


def log_probabilities(predictor, sources, sizes):
    """Log probabilities of rows and of columns, by the concatenation of one pair's sources."""
    logits = predictor.last(predictor.first(torch.cat(sources)).relu())
    return logits[: sizes[0]].log_softmax(0), logits[sizes[0] :].log_softmax(0)


def test_absolute_equals_the_concatenation_place_by_place(features):
    coordinates = build()
    feature_map, code = features
    total = 0.0
    for n in range(3):
        for i in range(3):
            for j in range(4):
                sources = [code[n], feature_map[n, :, i, j]]
                rows, columns = log_probabilities(coordinates.absolute, sources, (3, 4))
                total -= rows[i] + columns[j]
    term = coordinates(feature_map, code, generator())["coordinates"]
    torch.testing.assert_close(term, total / (3 * 12))


def test_relative_equals_the_concatenation_pair_by_pair(features):
    coordinates = build()
    feature_map, code = features
    other = other_locations(3, 12, generator(3))
    total = 0.0
    for n in range(3):
        for m in range(12):
            (i, j), (k, q) = divmod(m, 4), divmod(int(other[n, m]), 4)
            sources = [code[n], feature_map[n, :, i, j], feature_map[n, :, k, q]]
            rows, columns = log_probabilities(coordinates.relative, sources, (5, 7))
            total -= rows[i - k + 2] + columns[j - q + 3]
    term = coordinates(feature_map, code, generator(3))["relative_coordinates"]
    torch.testing.assert_close(term, total / (3 * 12))


def test_other_locations_are_others_and_equally_likely():
    draws = other_locations(8000, 5, generator())
    counts = torch.stack([(draws == m).sum(0) for m in range(5)], dim=1)
    assert torch.equal(counts.diag(), torch.zeros(5, dtype=torch.long))
    others = counts[~torch.eye(5, dtype=torch.bool)]
    assert (others - 2000).abs().max() < 4.5 * (8000 * 0.25 * 0.75) ** 0.5  # standard deviations


def test_equal_generators_give_equal_terms(features):
    coordinates = build()
    first, second, other = (coordinates(*features, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first["relative_coordinates"], second["relative_coordinates"])
    assert not torch.equal(first["relative_coordinates"], other["relative_coordinates"])
    assert torch.equal(first["coordinates"], other["coordinates"])


def test_chance_of_predictors_that_know_nothing(features):
    coordinates = build()
    for parameter in coordinates.parameters():
        torch.nn.init.zeros_(parameter)
    terms = coordinates(*features, generator())
    assert terms["coordinates"].item() == pytest.approx(math.log(3) + math.log(4))
    assert terms["relative_coordinates"].item() == pytest.approx(math.log(5) + math.log(7))


def test_starts_near_chance():
    torch.manual_seed(0)
    shape = FeatureShape(256, 4, 4)
    terms = Coordinates(shape, 256)(torch.randn(32, *shape), torch.randn(32, 256), generator())
    assert terms["coordinates"].item() == pytest.approx(2 * math.log(4), abs=0.1)
    assert terms["relative_coordinates"].item() == pytest.approx(2 * math.log(7), abs=0.1)


def test_offsets_of_a_4x4_map_have_the_stated_entropy():
    one, other = torch.cartesian_prod(torch.arange(16), torch.arange(16)).unbind(1)
    rows = (one // 4 - other // 4)[one != other]
    shares = torch.bincount(rows + 3) / len(rows)
    assert -2 * (shares * shares.log()).sum().item() == pytest.approx(3.73, abs=0.005)


def trained(feature_map, code, steps=50):
    """The terms after a short training of the predictors alone, on fresh pairs."""
    torch.manual_seed(0)
    coordinates = Coordinates(FeatureShape(*feature_map.shape[1:]), code.shape[1], width=32)
    optimizer = torch.optim.Adam(coordinates.parameters(), lr=0.02)
    draws = generator()
    for _ in range(steps):
        optimizer.zero_grad()
        sum(coordinates(feature_map, code, draws).values()).backward()
        optimizer.step()
    return {name: term.item() for name, term in coordinates(feature_map, code, draws).items()}


def test_places_written_into_the_features_are_learnt():
    rows, columns = torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")
    channels = torch.cat([F.one_hot(rows, 4), F.one_hot(columns, 4)], dim=2).permute(2, 0, 1)
    terms = trained(channels.float().expand(32, -1, -1, -1), torch.zeros(32, 2))
    assert terms["coordinates"] < 0.1
    assert terms["relative_coordinates"] < 1.0  # chance: 2.77 and 3.73


def test_features_that_know_no_place_stay_at_chance():
    terms = trained(torch.ones(64, 3, 4, 4), torch.zeros(64, 2))
    assert terms["coordinates"] == pytest.approx(2 * math.log(4), abs=0.02)
    assert terms["relative_coordinates"] == pytest.approx(3.73, abs=0.06)


def test_gradients_are_those_of_the_numbers():
    torch.manual_seed(0)
    coordinates = Coordinates(FeatureShape(2, 2, 3), 2, width=4).double()
    feature_map = torch.randn(2, 2, 2, 3, dtype=torch.double, requires_grad=True)
    code = torch.randn(2, 2, dtype=torch.double, requires_grad=True)

    def terms(feature_map, code):
        return tuple(coordinates(feature_map, code, generator()).values())

    assert torch.autograd.gradcheck(terms, (feature_map, code))


@pytest.mark.parametrize("name", ["coordinates", "relative_coordinates"])
def test_gradients_reach_encoder_and_predictor(name):
    torch.manual_seed(0)
    encoder = BlogEncoder(16, widths=(8, 8), embedding_dim=8)
    coordinates = Coordinates(encoder.feature_shape, 8, width=16)
    features = encoder(torch.rand(4, 3, 16, 16))
    coordinates(features.feature_map, features.mean, generator())[name].backward()
    predictor = coordinates.absolute if name == "coordinates" else coordinates.relative
    reached = [*encoder.local_trunk, *encoder.global_trunk, encoder.mean, *predictor.children()]
    for module in reached:
        for parameter in module.parameters():
            assert parameter.grad is not None
            assert parameter.grad.isfinite().all()
        if hasattr(module, "weight"):
            assert module.weight.grad.abs().sum() > 0


def test_bfloat16_under_autocast_stays_near_float32():
    coordinates = Coordinates(SHAPE, CODE_DIM, width=64)
    feature_map, code = torch.randn(7, *SHAPE), torch.randn(7, CODE_DIM)
    exact = coordinates(feature_map, code, generator())
    with torch.autocast("cpu", torch.bfloat16):
        rough = coordinates(feature_map.bfloat16(), code.bfloat16(), generator())
    for name, term in exact.items():
        assert rough[name].dtype == torch.float32
        torch.testing.assert_close(rough[name], term, atol=0.02, rtol=0)


def test_a_task_that_is_off_is_neither_built_nor_computed(features):
    def terms(**settings):
        coordinates = build(**settings)
        return set(coordinates(*features, generator())), len(list(coordinates.parameters()))

    assert terms(relative=False) == ({"coordinates"}, 4)
    assert terms(absolute=False) == ({"relative_coordinates"}, 4)
    assert terms() == ({"coordinates", "relative_coordinates"}, 8)


def test_a_checkpoint_holds_the_predictors_alone():
    assert set(build().state_dict()) == {name for name, _ in build().named_parameters()}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"absolute": False, "relative": False}, "set absolute or relative to true"),
        ({"width": 0}, "width 0; expected at least 1"),
        ({"shape": FeatureShape(6, 1, 1)}, "single location, .* at least 2 locations"),
    ],
)
def test_tasks_that_cannot_be_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        build(**settings)


@pytest.mark.parametrize("size", [(2, 4), (4, 3), (6, 8)])
def test_a_map_of_another_size_is_refused(size):
    feature_map = torch.zeros(3, 6, *size, dtype=torch.double)
    with pytest.raises(InputError, match=r"data\.view_sizes"):
        build()(feature_map, torch.zeros(3, CODE_DIM, dtype=torch.double), generator())


def test_a_map_of_one_row_has_columns_to_predict():
    coordinates = build(shape=FeatureShape(6, 1, 2))
    feature_map = torch.randn(3, 6, 1, 2, dtype=torch.double)
    terms = coordinates(feature_map, torch.randn(3, CODE_DIM, dtype=torch.double), generator())
    assert all(term > 0 for term in terms.values())
