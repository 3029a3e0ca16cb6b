"""Lightning's own callbacks in a training."""

import inspect
from contextlib import nullcontext

import lightning as L
import pytest
import yaml
from lightning.pytorch.callbacks import (
    BatchSizeFinder,
    EarlyStopping,
    GradientAccumulationScheduler,
    LearningRateFinder,
    LearningRateMonitor,
    ModelCheckpoint,
    OnExceptionCheckpoint,
    StochasticWeightAveraging,
)
from lightning.pytorch.callbacks.timer import Interval

from dim_lightning.cli.callbacks import check_callbacks
from dim_lightning.cli.parser import _dumped
from dim_lightning.cli.trainer import trainer_in
from dim_lightning.errors import InputError


@pytest.mark.parametrize(
    ("callback", "instead"),
    [
        (OnExceptionCheckpoint("."), "the state is saved anyway"),
        (StochasticWeightAveraging(0.1), "take EMAWeightAveraging"),
        (BatchSizeFinder(), "set data.batch_size"),
        (LearningRateFinder(), "set the rate of model.optimizer"),
        (GradientAccumulationScheduler({0: 4}), "set trainer.accumulate_grad_batches"),
    ],
)
def test_what_spoils_a_run_is_refused_with_what_to_take(callback, instead):
    said = rf"trainer.callbacks has {type(callback).__name__}, .*; leave it out: {instead}"
    for given in (callback, [LearningRateMonitor(), callback]):
        with pytest.raises(InputError, match=said):
            check_callbacks(given, 5, 1)


@pytest.mark.parametrize("monitor", ["knn/cosine/k20_t0.07/top1", "best/knn/cosine/k20_t0.07/top1"])
@pytest.mark.parametrize(
    ("options", "looks", "between", "refused"),
    [
        ({}, 5, 1, True),
        ({}, 5, None, True),
        ({}, 1, 1, False),
        ({}, 5, 10, False),
        ({}, 5, 7, False),
        ({"every_n_epochs": 5}, 5, 1, False),
    ],
)
def test_what_is_monitored_is_measured_at_each_validation(
    monitor, options, looks, between, refused
):
    wrong = pytest.raises(InputError, match=rf"monitors {monitor}, which is measured every 5")
    with wrong if refused else nullcontext():
        check_callbacks([ModelCheckpoint(monitor=monitor, **options)], looks, between)
    if not options:
        with wrong if refused else nullcontext():
            check_callbacks(EarlyStopping(monitor), looks, between)
    check_callbacks(None, looks, between)
    check_callbacks([ModelCheckpoint(monitor="probe/online/top1")], looks, between)


def test_early_stopping_goes_with_validations_by_time(tmp_path):
    """Lightning asks for a setting that it has only made where it is a number."""
    parameters = inspect.signature(L.Trainer).parameters
    config = {name: parameter.default for name, parameter in parameters.items()}
    config |= {"callbacks": [EarlyStopping("val/loss")], "val_check_interval": "00:00:10:00"}
    trainer = trainer_in(tmp_path, "fit", config | {"accelerator": "cpu"}, [])
    assert trainer.val_check_interval == "00:00:10:00"


def test_settings_of_a_choice_are_written_as_they_are_given():
    """As the interval of a Timer is."""
    assert yaml.safe_load(_dumped({"interval": Interval.step})) == {"interval": "step"}
