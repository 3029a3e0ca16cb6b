import math

import pytest
import torch

from dim_lightning.errors import InputError
from dim_lightning.optim import WarmupCosine


def optimizer(lr=2.0):
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr)


def rates(schedule, steps):
    """The learning rate of each step."""
    used = []
    for _ in range(steps):
        used.append(schedule.optimizer.param_groups[0]["lr"])
        schedule.optimizer.step()
        schedule.step()
    return used


def test_up_in_a_line_and_down_in_half_a_cosine():
    found = rates(WarmupCosine(optimizer(), warmup=0.2).of(10), 10)
    down = [1 + math.cos(math.pi * step / 8) for step in range(8)]
    assert found == pytest.approx([1.0, 2.0, *down])


def test_without_warmup_the_first_step_has_the_full_rate():
    found = rates(WarmupCosine(optimizer(), warmup=0.0).of(4), 5)
    assert found[0] == 2.0
    assert found[4] == 0.0


def test_a_state_goes_on_at_its_step():
    whole = rates(WarmupCosine(optimizer(), warmup=0.3).of(10), 10)
    first = WarmupCosine(optimizer(), warmup=0.3).of(10)
    rates(first, 4)
    second = WarmupCosine(optimizer(), warmup=0.3).of(10)
    second.load_state_dict(first.state_dict())
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    assert rates(second, 6) == whole[4:]


def test_a_state_goes_on_in_a_longer_training():
    first = WarmupCosine(optimizer()).of(10)
    rates(first, 10)
    longer = WarmupCosine(optimizer()).of(20)
    longer.load_state_dict(first.state_dict())
    longer.step()
    assert longer.optimizer.param_groups[0]["lr"] > 0.5


@pytest.mark.parametrize("warmup", [-0.1, 1.0])
def test_a_warmup_that_is_no_share_is_refused(warmup):
    with pytest.raises(InputError, match=r"model\.lr_scheduler\.init_args\.warmup"):
        WarmupCosine(optimizer(), warmup=warmup)


def test_a_training_without_end_is_refused():
    with pytest.raises(InputError, match=r"trainer\.max_epochs"):
        WarmupCosine(optimizer()).of(math.inf)


def test_a_length_that_was_never_told_is_missed():
    schedule = WarmupCosine(optimizer())
    assert rates(schedule, 1) == [2.0]
    schedule.optimizer.step()
    with pytest.raises(InputError, match=r"call super\(\)\.on_train_start\(\)"):
        schedule.step()
    told = WarmupCosine(optimizer()).of(10)
    rates(told, 4)
    restored = WarmupCosine(optimizer())
    restored.load_state_dict(told.state_dict())
    restored.optimizer.step()
    with pytest.raises(InputError, match=r"call super\(\)\.on_train_start\(\)"):
        restored.step()
