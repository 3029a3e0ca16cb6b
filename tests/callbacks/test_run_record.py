"""What a run says of itself while it trains."""

import time

import pytest
from lightning.pytorch.callbacks import Callback
from small_module import Small, train
from tiny_run import digits, tiny_module, trainer

from dim_lightning.callbacks.run_record import RunRecord
from dim_lightning.run.metrics import MetricsFile, read_metrics
from dim_lightning.run.result import read_result


def test_the_figures_are_renewed_with_each_validation(tmp_path):
    seen, start = [], time.monotonic()

    class Reader(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            seen.append(read_result(tmp_path).get("fit", {}))

    callbacks = [RunRecord(tmp_path), Reader()]
    limits = {"limit_train_batches": 1, "limit_val_batches": 1}
    run = trainer(None, callbacks, 3, **limits)
    run.fit(tiny_module(), digits(tmp_path))
    assert [(fit.get("status"), fit.get("epochs")) for fit in seen] == [
        (None, None),
        ("running", 1),
        ("running", 2),
    ]
    fit = read_result(tmp_path)["fit"]
    assert fit["status"] == "completed"
    assert fit["seconds"] <= time.monotonic() - start + 0.1  # of which the sanity check is no part


def test_an_epoch_counts_when_it_is_over(tmp_path):
    seen = []

    class Reader(Callback):
        def on_train_batch_start(self, trainer, pl_module, *_):
            seen.append(read_result(tmp_path).get("fit", {}))

    limits = {"limit_train_batches": 2, "limit_val_batches": 1, "val_check_interval": 1}
    trainer(None, [RunRecord(tmp_path), Reader()], 2, **limits).fit(tiny_module(), digits(tmp_path))
    assert [fit.get("epochs") for fit in seen] == [None, 0, 1, 1]
    assert [fit.get("steps") for fit in seen] == [None, 1, 2, 3]


def test_a_start_that_fails_before_it_trains_leaves_the_counts(tmp_path):
    class Failing(Callback):
        def on_fit_start(self, trainer, pl_module):
            raise MemoryError

    def run(*callbacks, **options):
        fit = trainer(tmp_path, [RunRecord(tmp_path), *callbacks], limit_train_batches=2)
        fit.fit(tiny_module(), digits(tmp_path), **options)
        return fit

    run().save_checkpoint(tmp_path / "one.ckpt")
    before = read_result(tmp_path)["fit"]
    assert (before["epochs"], before["steps"], before["images_seen"]) == (1, 2, 256)
    with pytest.raises(MemoryError):
        run(Failing(), ckpt_path=tmp_path / "one.ckpt", weights_only=True)
    expected = {**before, "status": "failed", "reason": "MemoryError()"}
    assert read_result(tmp_path)["fit"] == expected


def test_images_of_another_module_are_not_counted(tmp_path):
    record, first = RunRecord(tmp_path), Small()
    for module, seen in ((first, 24), (first, 48), (Small(), 24)):
        train([record], module)
        assert read_result(tmp_path)["fit"]["images_seen"] == seen


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        ({"max_epochs": 2, "max_steps": 8}, {5: 1.25, 7: 9.5}),
        ({"accumulate_grad_batches": 2, "log_every_n_steps": 4}, {2: 1.25}),
        ({"accumulate_grad_batches": 2, "log_every_n_steps": 3}, {}),  # Lightning's own
    ],
)
def test_the_last_step_of_a_short_epoch_is_logged(tmp_path, options, rows):
    log = MetricsFile(tmp_path)
    module = Small({8: {"loss": 9.5}})  # six batches an epoch
    train([RunRecord(tmp_path)], module, logger=log, **options)
    points = read_metrics(tmp_path).get("train/loss", [])
    assert {point.step: point.value for point in points} == rows
