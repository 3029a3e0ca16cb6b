"""Every distribution against its definition, and what is refused."""

import math
import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import stats

from dim_lightning.errors import InputError
from dim_lightning.sweep.search import grid_point, grid_size, random_point, values_at
from dim_lightning.sweep.space import Choice, coordinate, parameter, value_at

shares = hypothesis_settings(max_examples=50)
SHARES = np.linspace(0.005, 0.995, 100)
log_uniform = stats.loguniform(1e-4, 1e-2)
# as github.com/wandb/sweeps defines them
REFERENCES = {
    "uniform": ({"min": -1.0, "max": 3.0}, stats.uniform(-1, 4).ppf),
    "int_uniform": ({"min": 2, "max": 5}, stats.randint(2, 6).ppf),
    "log_uniform": ({"min": -3, "max": 1}, stats.loguniform(math.exp(-3), math.e).ppf),
    "log_uniform_values": ({"min": 1e-4, "max": 1e-2}, log_uniform.ppf),
    "inv_log_uniform": ({"min": -3, "max": 1}, stats.loguniform(1 / math.e, math.exp(3)).ppf),
    "inv_log_uniform_values": ({"min": 1e-4, "max": 1e-2}, log_uniform.ppf),
    "normal": ({"mu": 2.0, "sigma": 0.5}, stats.norm(2, 0.5).ppf),
    "log_normal": ({"mu": 1.0, "sigma": 0.5}, stats.lognorm(0.5, scale=math.e).ppf),
    "q_uniform": (
        {"min": 0, "max": 9, "q": 2},
        lambda u: np.round(stats.uniform(0, 9).ppf(u) / 2) * 2,
    ),
    "q_log_uniform_values": (
        {"min": 16, "max": 256, "q": 16},
        lambda u: np.round(stats.loguniform(16, 256).ppf(u) / 16) * 16,
    ),
    "q_normal": ({"q": 0.25}, lambda u: np.round(stats.norm.ppf(u) / 0.25) * 0.25),
}


@pytest.mark.parametrize("kind", REFERENCES)
def test_quantiles_are_those_of_the_definition(kind):
    settings, reference = REFERENCES[kind]
    found = parameter("x", {"distribution": kind, **settings})
    np.testing.assert_allclose([value_at(found, u) for u in SHARES], reference(SHARES), rtol=1e-9)


def test_draws_follow_the_distribution():
    parameters = {
        "a": parameter("a", {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2}),
        "b": parameter("b", {"values": ["x", "y", "z"], "probabilities": [0.7, 0.0, 0.3]}),
        "c": parameter("c", {"values": [1, 2]}),
    }
    points = [random_point(parameters, 0, n) for n in range(1, 601)]
    drawn = [values_at(parameters, point, grid=False) for point in points]
    assert stats.kstest([d["a"] for d in drawn], log_uniform.cdf).pvalue > 0.01
    counts = Counter(d["b"] for d in drawn)
    assert set(counts) == {"x", "z"}
    assert stats.binomtest(counts["x"], 600, 0.7).pvalue > 0.01
    assert stats.binomtest(Counter(d["c"] for d in drawn)[1], 600, 0.5).pvalue > 0.01
    assert abs(stats.spearmanr([d["a"] for d in drawn], [d["c"] for d in drawn])[0]) < 0.1


@shares
@given(st.floats(0, 1), st.sampled_from(["uniform", "log_uniform_values", "int_uniform"]))
def test_values_stay_within_their_bounds(share, kind):
    low, high = (3, 700) if kind == "int_uniform" else (3.1e-3, 0.7)
    found = parameter("x", {"distribution": kind, "min": low, "max": high})
    assert low <= value_at(found, share) <= high


@shares
@given(st.floats(0, 1), st.sampled_from(["normal", "q_normal", "log_normal"]))
def test_the_ends_of_a_gaussian_are_finite(share, kind):
    assert math.isfinite(value_at(parameter("x", {"distribution": kind}), share))


@shares
@given(st.lists(st.floats(0, 1), min_size=1, max_size=5).filter(sum), st.floats(0, 1))
def test_a_value_of_probability_zero_is_never_drawn(weights, share):
    total = sum(weights)
    probabilities = [w / total for w in weights]
    chosen = coordinate(Choice(list(range(len(weights))), probabilities), share)
    assert probabilities[int(chosen)] > 0


def test_the_type_of_the_bounds_decides():
    whole, real = parameter("x", {"min": 1, "max": 3}), parameter("x", {"min": 1.0, "max": 3.0})
    assert list(whole.grid) == [1, 2, 3]
    assert [value_at(whole, u) for u in (0.0, 0.5, 1.0)] == [1, 2, 3]
    assert value_at(real, 0.25) == 1.5
    steps = parameter("x", {"distribution": "q_uniform", "min": 0.1, "max": 0.5, "q": 0.1})
    assert list(steps.grid) == [0.1, 0.2, 0.3, 0.4]  # W&B's grid leaves max out as well
    assert value_at(steps, 0.5) == 0.3
    batch = parameter("x", {"distribution": "q_uniform", "min": 32, "max": 128, "q": 32})
    assert isinstance(value_at(batch, 0.4), int)


@pytest.mark.parametrize("end", [10**6, 2**32 - 1])  # the last of seeds
@pytest.mark.parametrize("kind", ["int_uniform", "q_uniform"])
def test_a_long_range_is_not_listed(kind, end):
    tracemalloc.start()
    found = {"x": parameter("x", {"distribution": kind, "min": 0, "max": end})}
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 10**5
    size = grid_size(found)
    assert size == end + (kind == "int_uniform")
    assert values_at(found, grid_point(found, size), grid=True) == {"x": size - 1}
    assert 0 <= values_at(found, random_point(found, 0, 1), grid=False)["x"] <= end


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"distribution": "beta", "a": 1, "b": 2}, "distribution beta is not supported here"),
        ({"distribution": "cauchy"}, "expected one of constant"),
        ({"values": [1e-5, "1e-5"]}, r"is the text '1e-5'.*write 1\.0e-5"),
        ({"min": "1e-5", "max": 0.1}, r"lr\.min is the text '1e-5'.*write 1\.0e-5"),
        ({"min": 0, "max": 0.5}, "both with a point"),
        ({"min": 2, "max": 1}, "min is 2, above max 1"),
        ({"min": 1}, "lr.max is None; expected a number"),
        ({"valeus": [1]}, "lr has valeus; expected value, values or min and max"),
        ({"values": 3}, "expected a list"),
        ({"values": [1, 2], "probabilities": [0.5, 0.6]}, "add up to 1"),
        ({"value": 1, "values": [1]}, "constant has values"),
        ({"distribution": "normal", "min": 0}, "normal has min"),
        ({"distribution": "log_uniform_values", "min": 0, "max": 1}, "expected more than 0"),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0}, "expected more than 0"),
        (
            {"distribution": "log_uniform", "min": 1e-4, "max": 1e-2},
            r"of values of 1\.0001 to 1\.0101; .* take log_uniform_values",
        ),
        ({"distribution": "log_uniform", "min": 0, "max": 800}, "expected -700 to 700"),
        ({"distribution": "inv_log_uniform", "min": -900, "max": 0}, "expected -700 to 700"),
        ({"parameters": {"a": {"value": 1}}}, r"such as lr\.a"),
        ({"parameters": None}, r"such as lr\.key"),
        ({"parameters": 3}, r"such as lr\.key"),
        (3, "expected value, values"),
    ],
)
def test_what_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        parameter("lr", settings)
