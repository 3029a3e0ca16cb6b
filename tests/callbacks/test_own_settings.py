"""A run that begins from another run's checkpoint: its settings, the other's moments."""

import copy
from functools import partial

import pytest
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, Timer
from small_methods import SETTINGS, build, digits, trainer

from dim_lightning.baselines import Supervised
from dim_lightning.callbacks import RunningBest
from dim_lightning.callbacks.own_settings import OwnSettings
from dim_lightning.errors import InputError
from dim_lightning.optim import MuonAdamW, WarmupCosine

Adam, SGD = torch.optim.Adam, torch.optim.SGD
STEPS = 2  # an epoch


class Rates(Callback):
    """Rates of the steps, and the optimiser's state before the first of them."""

    def __init__(self):
        self.rates = []

    def on_train_start(self, trainer, pl_module):
        self.state = copy.deepcopy(trainer.optimizers[0].state_dict())

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


@pytest.fixture
def fit(tmp_path, digits_root):
    """Trains to the end of an epoch, and keeps the state there."""

    def train(epochs, path=None, steps=STEPS, callbacks=(), method=Supervised, **settings):
        rates, module = Rates(), build(method, **settings)
        options = {"max_epochs": epochs, "limit_train_batches": steps}
        run = trainer(tmp_path, callbacks=[rates, OwnSettings(), *callbacks], **options)
        run.fit(module, digits(digits_root), ckpt_path=path, weights_only=True)
        run.save_checkpoint(tmp_path / f"{epochs}.ckpt")
        return rates, module, tmp_path / f"{epochs}.ckpt"

    return train


def stored(path):
    return torch.load(path, weights_only=True)["optimizer_states"][0]["state"]


halved = partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)


@pytest.mark.parametrize("schedule", [None, halved])
def test_with_the_same_settings_it_goes_on_to_the_bit(fit, schedule):
    settings = {"optimizer": partial(Adam, lr=1e-2), "lr_scheduler": schedule}
    whole, expected, _ = fit(3, **settings)
    path = fit(1, **settings)[-1]
    rates, found, _ = fit(3, path, **settings)
    assert rates.rates == whole.rates[STEPS:]
    for name, tensor in expected.state_dict().items():
        assert torch.equal(tensor, found.state_dict()[name]), name


@pytest.mark.parametrize("schedule", [None, halved, partial(WarmupCosine, warmup=0.5)])
def test_rates_and_schedule_are_its_own(fit, schedule):
    path = fit(1, optimizer=partial(Adam, lr=1e-2), lr_scheduler=halved)[-1]
    own = {"optimizer": partial(Adam, lr=1e-3, betas=(0.5, 0.9)), "lr_scheduler": schedule}
    expected = fit(3, **own)[0].rates[STEPS:]
    rates, _, end = fit(3, path, **own)
    assert rates.rates == expected
    assert rates.state["param_groups"][0]["betas"] == (0.5, 0.9)
    kept = stored(path)
    for index, state in rates.state["state"].items():
        assert all(torch.equal(kept[index][name], tensor) for name, tensor in state.items())
    assert stored(end)[0]["step"] == 3 * STEPS


def test_a_schedule_of_steps_stands_where_the_epochs_done_end(fit):
    """Though they had four times as many steps as an epoch of the new run has."""
    path = fit(2, steps=8)[-1]
    own = {"lr_scheduler": partial(WarmupCosine, warmup=0.5)}
    rates = fit(4, path, **own)[0].rates
    assert rates == fit(4, **own)[0].rates[2 * STEPS :]
    assert min(rates) > 0


def test_a_checkpoint_that_was_only_validated_sets_no_schedule(fit, tmp_path, digits_root):
    own, rates, data = OwnSettings(), Rates(), digits(digits_root)
    options = {"ckpt_path": fit(1)[-1], "weights_only": True, "verbose": False}
    trainer(tmp_path, callbacks=[own]).validate(build(Supervised), data, **options)
    run = trainer(tmp_path, callbacks=[own, rates], max_epochs=1, limit_train_batches=1)
    run.fit(build(Supervised, lr_scheduler=halved), data)
    assert rates.rates == [1e-3]


def test_a_schedule_of_a_training_without_an_end_is_refused_as_in_any(fit):
    path = fit(1)[-1]
    with pytest.raises(InputError, match="which has none"):
        fit(-1, path, lr_scheduler=WarmupCosine)


def test_what_callbacks_have_stored_of_the_other_run_is_dropped(tmp_path, fit):
    others = [RunningBest(), Timer({"minutes": 60}), EarlyStopping("val/loss", patience=7)]
    others[0]._best["val/top1"] = 0.9
    others[1]._offset = 300.0
    path = fit(1, callbacks=others)[-1]
    own = [RunningBest(), Timer({"minutes": 5}), EarlyStopping("val/loss", patience=2)]
    assert len(fit(2, path, callbacks=own)[0].rates) == STEPS
    assert own[0]._best["val/top1"] < 0.9
    assert own[2].patience == 2


OTHERS = {
    "another": partial(SGD, lr=1e-3, momentum=0.9),
    "one with other groups": partial(MuonAdamW, lr=1e-3),
    "one that keeps more": partial(Adam, lr=1e-3, amsgrad=True),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_another_optimiser_left_is_dropped(fit, caplog, name):
    path = fit(1, optimizer=partial(Adam, lr=1e-2))[-1]
    with caplog.at_level("INFO", "lightning"):
        rates, _, _ = fit(2, path, optimizer=OTHERS[name])
    assert "the optimiser begins anew" in caplog.text
    assert rates.state["state"] == {}
    assert len(rates.rates) == STEPS


class TwoRates(Supervised):
    """Its classifier has a rate of its own."""

    def parameter_groups(self):
        encoder, classifier = ([*part.parameters()] for part in (self.encoder, self.classifier))
        return [{"params": encoder}, {"params": iter(classifier), "lr": 0.1}]


class NamedRates(TwoRates):
    """Its parameters have names."""

    def parameter_groups(self):
        encoder, classifier = (part.named_parameters() for part in (self.encoder, self.classifier))
        return [{"params": list(encoder)}, {"params": classifier, "lr": 0.1}]


@pytest.mark.parametrize("method", [TwoRates, NamedRates])
def test_groups_of_a_method_go_on_with_their_state(fit, monkeypatch, method):
    monkeypatch.setitem(SETTINGS, method, SETTINGS[Supervised])
    path = fit(1, method=method)[-1]
    rates = fit(2, path, method=method)[0]
    assert [group["lr"] for group in rates.state["param_groups"]] == [1e-3, 0.1]
    kept = stored(path)
    assert rates.state["state"].keys() == kept.keys() != set()
    for index, state in rates.state["state"].items():
        assert all(torch.equal(kept[index][name], tensor) for name, tensor in state.items())
