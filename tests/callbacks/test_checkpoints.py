"""What a checkpoint says of the rest of the run's folder."""

from tiny_run import digits, tiny_module, trainer

from dim_lightning.callbacks.checkpoints import Checkpoints
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
