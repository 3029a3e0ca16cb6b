"""Grid, random and Bayesian search."""

import itertools

import pytest

from dim_lightning.errors import InputError
from dim_lightning.sweep.definition import read_definition
from dim_lightning.sweep.runner import number_of_trials
from dim_lightning.sweep.search import (
    Past,
    bayes_point,
    grid_point,
    grid_size,
    random_point,
    values_at,
)
from dim_lightning.sweep.space import parameter

GRID = {
    "b": parameter("b", {"values": [1, None, {"class_path": "A"}]}),
    "a": parameter("a", {"min": 1, "max": 2}),
    "c": parameter("c", {"value": "fixed"}),
}


def test_the_grid_has_every_point_once_in_the_order_of_wandb():
    count = grid_size(GRID)
    found = [values_at(GRID, grid_point(GRID, n), grid=True) for n in range(1, count + 1)]
    expected = itertools.product([1, 2], [1, None, {"class_path": "A"}], ["fixed"])
    assert [tuple(point.values()) for point in found] == list(expected)
    assert list(found[0]) == ["a", "b", "c"]


def test_a_draw_depends_on_seed_and_number_alone():
    parameters = {"x": parameter("x", {"min": 0.0, "max": 1.0})}
    first = random_point(parameters, 0, 1)
    assert random_point(parameters, 0, 1) == first
    assert random_point(parameters, 0, 2) != first
    assert random_point(parameters, 1, 1) != first


def searched_by_bayes(count, fails=lambda values: False):
    parameters = {
        "x": parameter("x", {"distribution": "log_uniform_values", "min": 1e-4, "max": 1.0}),
        "kind": parameter("kind", {"values": [{"class_path": "A"}, {"class_path": "B"}]}),
        "fixed": parameter("fixed", {"value": 7}),
    }
    past, found = [], []
    for number in range(1, count + 1):
        point = bayes_point(parameters, 0, number, past, maximise=True)
        values = values_at(parameters, point, grid=False)
        value = -abs(values["x"] - 1e-2) - 0.1 * (values["kind"]["class_path"] == "A")
        past.append(Past(point, None if fails(values) else value, ended=True))
        found.append(values)
    return found, [trial.value for trial in past]


def test_bayes_closes_in_on_the_best_point():
    found, values = searched_by_bayes(40)
    assert all(point["fixed"] == 7 for point in found)
    assert sum(values[-10:]) / 10 > sum(values[:10]) / 10 + 0.03
    assert sum(point["kind"]["class_path"] == "B" for point in found[-10:]) >= 7
    assert searched_by_bayes(12)[0] == found[:12]


def test_bayes_leaves_the_surroundings_of_failures():
    found, values = searched_by_bayes(40, lambda point: point["kind"]["class_path"] == "B")
    assert None in values
    assert sum(point["kind"]["class_path"] == "A" for point in found[-10:]) >= 7


def test_bayes_keeps_away_from_what_is_under_way():
    parameters = {"x": parameter("x", {"min": 0.0, "max": 1.0})}
    ended = [Past({"x": i / 20}, abs(i / 20 - 0.7), ended=True) for i in range(20)]
    running = [Past({"x": 0.69 + i / 500}, None, ended=False) for i in range(12)]

    def distance(past):
        points = [bayes_point(parameters, 0, n, past, maximise=False)["x"] for n in range(40, 60)]
        return sum(abs(x - 0.7) for x in points) / len(points)

    assert distance(ended + running) > 2 * distance(ended)


@pytest.mark.parametrize(
    ("changes", "count", "expected"),
    [
        ({}, None, 3),
        ({}, 2, 2),
        ({"run_cap": 1}, None, 1),
        ({"run_cap": 1}, 2, 2),  # the command line decides
        ({}, 9, 3),
        ({"method": "random"}, 7, 7),
        ({"method": "random", "run_cap": 5}, None, 5),
    ],
)
def test_how_many_trials(bench, changes, count, expected):
    bench.write(**changes)
    assert number_of_trials(read_definition(bench.file), count) == expected


def test_a_random_sweep_needs_an_end(bench):
    bench.write(method="random")
    with pytest.raises(InputError, match="has no end of its own; give --count"):
        number_of_trials(read_definition(bench.file), None)
