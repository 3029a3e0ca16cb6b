"""A number that is none is found at its first step, by its name, before a checkpoint."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from dim_lightning.callbacks.non_finite import NonFiniteGuard
from dim_lightning.errors import InputError


def _feed(guard, module, steps, every=4):
    """Calls the guard after each step, as a trainer at `log_every_n_steps` = `every` does."""
    for step, terms in enumerate(steps, start=1):
        trainer = SimpleNamespace(global_step=step, current_epoch=0, log_every_n_steps=every)
        outputs = {"terms": {name: torch.tensor(value) for name, value in terms.items()}}
        guard.on_train_batch_end(trainer, module, outputs, None, step - 1)
    return trainer


def test_names_the_term_and_the_first_step():
    steps = [{"loss": 1.0, "local": 1.0, "prior": 1.0}] * 2
    steps += [{"loss": float("nan"), "local": 1.0, "prior": float("inf")}]
    steps += [{"loss": float("nan"), "local": float("nan"), "prior": 1.0}]
    with pytest.raises(InputError, match=r"the prior term became NaN or infinite at step 3 "):
        _feed(NonFiniteGuard(), nn.Linear(1, 1), steps)


def test_says_the_loss_where_no_term_is_bad():
    with pytest.raises(InputError, match="the loss became"):
        _feed(NonFiniteGuard(), nn.Linear(1, 1), [{"loss": float("inf"), "local": 1.0}], every=1)


def test_waits_for_its_turn_and_for_the_end_of_the_epoch(tmp_path):
    checkpoint = tmp_path / "last.ckpt"
    checkpoint.write_text("")
    guard, module = NonFiniteGuard(checkpoint), nn.Linear(1, 1)
    trainer = _feed(guard, module, [{"loss": float("nan")}, {"loss": 1.0}], every=100)
    with pytest.raises(InputError, match=r"at step 1 .*last good checkpoint is .*last\.ckpt"):
        guard.on_train_epoch_end(trainer, module)


@pytest.mark.parametrize("name", ["0.weight", "1.running_var"])
def test_looks_at_weights_and_statistics_too(name):
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    guard = NonFiniteGuard()
    trainer = _feed(guard, module, [{"loss": 1.0}])
    guard.on_train_epoch_end(trainer, module)
    module.state_dict()[name].fill_(float("inf"))
    with pytest.raises(InputError, match=rf"{name} became"):
        guard.on_train_epoch_end(trainer, module)
