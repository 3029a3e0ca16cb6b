"""What a run says of itself while it trains."""

import lightning as L
import pytest
from lightning.pytorch.callbacks import Callback
from tiny_run import digits, tiny_module, trainer

from dim_lightning.callbacks.run_record import RunRecord
from dim_lightning.run.result import read_result


def test_the_figures_are_renewed_with_each_validation(tmp_path):
    seen = []

    class Reader(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            seen.append(read_result(tmp_path).get("fit", {}))

    trainer = L.Trainer(
        max_epochs=3,
        limit_train_batches=1,
        limit_val_batches=1,
        callbacks=[RunRecord(tmp_path), Reader()],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(tiny_module(), digits(tmp_path))
    assert [(fit.get("status"), fit.get("epochs")) for fit in seen] == [
        (None, None),
        ("running", 1),
        ("running", 2),
    ]
    assert read_result(tmp_path)["fit"]["status"] == "completed"


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
