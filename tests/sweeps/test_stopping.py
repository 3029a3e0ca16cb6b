"""Hyperband, on the example that W&B's own code documents."""

import pytest

from dim_lightning.sweep.stopping import hyperband, should_stop

EXAMPLE = {"a": [10, 9], "b": [10, 10], "c": [10, 8, 8], "d": [10, 7, 7], "e": [10, 6, 6]}
RULE = {"type": "hyperband", "max_iter": 5, "eta": 2, "s": 2}


@pytest.mark.parametrize("maximise", [False, True])
def test_the_example_of_wandb(maximise):
    sign = -1.0 if maximise else 1.0
    histories = {name: [sign * v for v in values] for name, values in EXAMPLE.items()}
    stopped = {
        name
        for name, own in histories.items()
        if should_stop(hyperband(RULE), own, list(histories.values()), maximise)
    }
    # after two values 6, 7, 8 are the best half: three of five, as the rule rounds
    assert stopped == {"a", "b"}


def test_bands():
    assert hyperband(RULE).bands == [1, 2]
    assert hyperband({"type": "hyperband", "min_iter": 4, "eta": 2}).bands[:4] == [4, 8, 16, 32]
    assert hyperband({"type": "hyperband", "min_iter": 3}).bands[:3] == [3, 9, 27]


def test_strict_judges_by_the_band_and_not_by_what_came_later():
    histories = [[1.0, 5.0, 0.0], [1.0, 1.0, 1.0]]
    rule = {"type": "hyperband", "min_iter": 2, "eta": 10}
    assert should_stop(hyperband(rule), histories[0], histories, False)
    assert not should_stop(hyperband({**rule, "strict": False}), histories[0], histories, False)


def test_what_is_no_number_is_the_worst():
    rule = hyperband({"type": "hyperband", "min_iter": 2, "eta": 2})
    histories = [[1.0, float("nan")], [1.0, 3.0], [1.0, 2.0], [1.0, 4.0]]
    stopped = [should_stop(rule, own, histories, maximise=False) for own in histories]
    assert stopped == [True, False, False, False]


def test_a_band_counts_the_values_that_were_logged():
    rule = hyperband({"type": "hyperband", "min_iter": 3})
    worst = [9.0, 9.0, 9.0]
    histories = [[1.0, 1.0, 1.0], worst, [2.0, 2.0, 2.0]]
    assert not should_stop(rule, worst[:2], histories, False)
    assert should_stop(rule, worst, histories, False)
