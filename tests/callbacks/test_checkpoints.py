"""What a checkpoint says of the rest of the run's folder."""

import pytest
from lightning.pytorch.callbacks import Callback
from tiny_run import digits, tiny_module, trainer

from dim_lightning.callbacks import checkpoints
from dim_lightning.callbacks.checkpoints import Checkpoints
from dim_lightning.errors import InputError
from dim_lightning.run.checkpoint import METRICS_ROWS, read_checkpoint
from dim_lightning.run.folder import LAST_CHECKPOINT
from dim_lightning.run.metrics import MetricsFile


def test_what_was_logged_stays_while_nothing_is_logged(tmp_path, digits_root):
    """A run that goes on keeps the rows that its checkpoint counts."""
    log = MetricsFile(tmp_path)
    for step in range(3):
        log.log_metrics({"train/loss": 1.0, "epoch": 0}, step)
    options = {"limit_train_batches": 1, "limit_val_batches": 0, "enable_checkpointing": True}
    run = trainer(tmp_path, [Checkpoints()], logger=False, **options)
    run.fit(tiny_module(), digits(digits_root))
    assert read_checkpoint(tmp_path / LAST_CHECKPOINT)[METRICS_ROWS] == 3


@pytest.mark.parametrize(("short", "expected"), [(60.0, [2, 4, 6]), (0.0, [2, 6])])
def test_what_takes_long_to_save_is_saved_after_fewer_epochs(
    tmp_path, digits_root, monkeypatch, short, expected
):
    """The first epoch's end and the last one's are kept in any case."""
    monkeypatch.setattr(checkpoints, "_SHORT", short)
    monkeypatch.setattr(checkpoints, "_SHARE", 0.0)
    options = {"limit_train_batches": 2, "limit_val_batches": 0, "enable_checkpointing": True}
    run = trainer(tmp_path, [Checkpoints()], epochs=3, **options)
    saved, save = [], run.save_checkpoint
    monkeypatch.setattr(
        run, "save_checkpoint", lambda *a, **k: (saved.append(run.global_step), save(*a, **k))
    )
    run.fit(tiny_module(), digits(digits_root))
    assert saved == expected


@pytest.mark.parametrize(("minutes", "expected"), [(1e-9, [1, 2, 3]), (60.0, [3])])
def test_within_an_epoch_the_clock_saves(tmp_path, digits_root, monkeypatch, minutes, expected):
    options = {"limit_train_batches": 3, "limit_val_batches": 0, "enable_checkpointing": True}
    run = trainer(tmp_path, [Checkpoints(every_minutes=minutes)], **options)
    saved, save = [], run.save_checkpoint
    monkeypatch.setattr(
        run, "save_checkpoint", lambda *a, **k: (saved.append(run.global_step), save(*a, **k))
    )
    run.fit(tiny_module(), digits(digits_root))
    assert saved == expected


@pytest.mark.parametrize("minutes", [0.0, -1.0])
def test_minutes_that_are_none_are_refused(minutes):
    with pytest.raises(InputError, match=f"checkpoint.every_minutes is {minutes}"):
        Checkpoints(every_minutes=minutes)


def test_while_the_signal_is_held_lightning_does_not_ask_for_it(tmp_path, digits_root):
    """Of several processes each would wait for its device in each step."""
    met = []

    class Look(Callback):
        def on_train_batch_end(self, trainer, *_):
            met.append(trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor)

    options = {"limit_train_batches": 1, "limit_val_batches": 0, "enable_checkpointing": True}
    run = trainer(tmp_path, [Checkpoints(), Look()], **options)
    run.fit(tiny_module(), digits(digits_root))
    lightnings = run.fit_loop.epoch_loop._broadcast_sigterm_tensor
    assert lightnings.__func__ is type(run.fit_loop.epoch_loop)._broadcast_sigterm_tensor
    (during,) = met
    assert during() is None
    assert not hasattr(during, "__func__")
