import pytest
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from tiny_run import digits, tiny_module, trainer

from dim_lightning.callbacks import RunningBest


class Accuracy(Callback):
    """Logs one of the values each validation; none where it says None."""

    def __init__(self, values):
        self.values = values

    def on_validation_epoch_end(self, trainer, pl_module):
        pl_module.log("train/top1", 1.0)
        value = self.values[trainer.current_epoch]
        if value is not None:
            pl_module.log("knn/top1", value)


class Watch(Callback):
    def __init__(self):
        self.seen = []

    def on_validation_end(self, trainer, pl_module):
        found = trainer.callback_metrics.get("best/knn/top1")
        self.seen.append(None if found is None else round(float(found), 4))


OPTIONS = {"num_sanity_val_steps": 2, "limit_train_batches": 1, "limit_val_batches": 1}


def fit(folder, data, values, epochs, callbacks=(), ckpt_path=None):
    watch = Watch()
    observers = [Accuracy(values), RunningBest(), watch, *callbacks]
    options = {**OPTIONS, "enable_checkpointing": bool(callbacks)}
    run = trainer(folder, observers, epochs, **options)
    module = tiny_module()
    run.fit(module, data, ckpt_path=ckpt_path)
    assert "best/train/top1" not in run.callback_metrics
    return module, [value for value in watch.seen if value is not None]


# the second run keeps its checkpoints in a folder of its own
@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_the_largest_value_so_far_is_logged_and_survives_a_restart(tmp_path, digits_root):
    data, values = digits(digits_root), [0.5, 0.75, None, 0.25, float("nan"), 0.8]
    _, whole = fit(tmp_path / "whole", data, values, 6)
    assert whole == [0.5, 0.75, 0.75, 0.75, 0.75, 0.8]
    keep = ModelCheckpoint(tmp_path, filename="kept", enable_version_counter=False)
    _, first = fit(tmp_path / "first", data, values, 2, [keep])
    kept = tmp_path / "kept.ckpt"
    _, second = fit(tmp_path / "second", data, values, 6, [ModelCheckpoint(tmp_path / "2")], kept)
    assert first + second == whole


# of data that does not say how many classes it has, all are taken for the same
@pytest.mark.parametrize(("num_classes", "best"), [(10, 0.75), (None, 0.75), (4, 0.5)])
def test_values_of_other_classes_are_forgotten(tmp_path, digits_root, num_classes, best):
    kept = RunningBest()
    kept.load_state_dict({"knn/top1": 0.75, "num_classes": num_classes})
    run = trainer(tmp_path, [Accuracy([0.5]), kept], **OPTIONS)
    run.fit(tiny_module(), digits(digits_root))
    assert run.callback_metrics["best/knn/top1"] == best
    assert kept.state_dict() == {"knn/top1": best, "num_classes": 10}


def test_values_of_another_module_are_forgotten_and_one_trained_on_keeps_its_own(
    tmp_path, digits_root
):
    data, kept, modules = digits(digits_root), RunningBest(), [tiny_module(), tiny_module()]
    for number, value, best in ((0, 0.75, 0.75), (0, 0.5, 0.75), (1, 0.5, 0.5)):
        run = trainer(tmp_path, [Accuracy([value]), kept], **OPTIONS)
        run.fit(modules[number], data)
        assert run.callback_metrics["best/knn/top1"] == best
