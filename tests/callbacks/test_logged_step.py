"""Where loggers have what a test finds."""

from tiny_run import digits, tiny_module, trainer

from dim_lightning.callbacks.logged_step import LoggedStep
from dim_lightning.run.metrics import MetricsFile, read_metrics


def test_terms_of_test_images_stand_where_the_training_ended(tmp_path, digits_root):
    module, data = tiny_module(), digits(digits_root)
    fit = trainer(tmp_path, epochs=2)
    fit.fit(module, data)
    fit.save_checkpoint(tmp_path / "end.ckpt")
    test = trainer(tmp_path, [LoggedStep()], logger=MetricsFile(tmp_path))
    test.test(tiny_module(), data, ckpt_path=tmp_path / "end.ckpt", verbose=False)
    (point,) = read_metrics(tmp_path)["test/loss"]
    assert (point.step, point.epoch) == (fit.global_step, 1)
    assert (test.current_epoch, test.fit_loop.epoch_loop._batches_that_stepped) == (0, 0)
