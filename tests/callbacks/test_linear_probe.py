import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy
from tiny_run import digits, tiny_module, trainer, unlabelled

from dim_lightning.callbacks import Geometry, LinearProbe, Neighbours, RunningBest
from dim_lightning.evaluation import extract


def observers():
    return [LinearProbe(), RunningBest(), Neighbours(every_n_epochs=1, num_queries=2), Geometry()]


def fit(folder, data, callbacks=(), epochs=1, **options):
    module, run = tiny_module(), trainer(folder, callbacks, epochs, **options)
    run.fit(module, data)
    return module, run


def assert_equal(state, other):
    assert state.keys() == other.keys()
    for name, value in state.items():
        assert torch.equal(value, other[name]), name


def probe_state(probe):
    """The probe's tensors and numbers by name, its optimiser's included."""
    state = probe.state_dict()
    flat = {f"probe.{name}": value for name, value in state["probe"].items()}
    for index, values in state["optimizer"]["state"].items():
        flat |= {f"adam.{index}.{name}": value for name, value in values.items()}
    return {name: value.clone() for name, value in flat.items()}


def test_the_encoder_does_not_notice_its_observers(tmp_path, digits_root):
    alone, _ = fit(tmp_path / "alone", digits(digits_root), epochs=2)
    watched, _ = fit(tmp_path / "watched", digits(digits_root), observers(), epochs=2)
    assert_equal(alone.state_dict(), watched.state_dict())


# frozen parts are what this test is about
@pytest.mark.filterwarnings("ignore:Found .* in eval mode at the start of training")
def test_submodules_stay_in_their_modes(tmp_path, digits_root):
    module = tiny_module()
    module.encoder.global_trunk.eval()  # frozen by its owner
    run = trainer(tmp_path, observers(), limit_train_batches=2)
    run.fit(module, digits(digits_root))
    assert not any(part.training for part in module.encoder.global_trunk.modules())
    assert all(part.training for part in module.encoder.local_trunk.modules())


def test_the_probe_reads_the_classes_off_the_code(tmp_path, digits_root):
    probe = LinearProbe(learning_rate=5e-2)
    _, run = fit(tmp_path, digits(digits_root, batch_size=32), [probe], epochs=3)
    metrics = run.callback_metrics
    assert metrics["probe/online/top1"] > 0.25  # chance is a tenth
    assert metrics["probe/online/train_loss"] < 2.2  # chance is log 10 = 2.3


def test_the_logged_accuracy_is_that_of_the_probe_on_clean_validation_codes(tmp_path, digits_root):
    probe, data = LinearProbe(learning_rate=1e-2), digits(digits_root)
    module, run = fit(tmp_path, data, [probe])
    seen = extract(module.encoder, data.clean_dataloader("val"))
    state = probe.state_dict()["probe"]
    standard = (seen.code - state["0.running_mean"]) / (state["0.running_var"] + 1e-5).sqrt()
    predicted = (standard @ state["1.weight"].T + state["1.bias"]).argmax(dim=1)
    expected = (predicted == seen.labels).double().mean().item()
    assert run.callback_metrics["probe/online/top1"] == pytest.approx(expected, abs=1e-6)


def test_the_best_accuracy_is_kept(tmp_path, digits_root):
    class Seen(LinearProbe):
        def __init__(self):
            super().__init__(learning_rate=0.5)  # unstable on purpose
            self.tops = []

        def on_validation_epoch_end(self, trainer, pl_module):
            super().on_validation_epoch_end(trainer, pl_module)
            if not trainer.sanity_checking:
                self.tops.append(trainer.callback_metrics["probe/online/top1"].item())

    probe = Seen()
    _, run = fit(tmp_path, digits(digits_root), [probe, RunningBest()], epochs=4)
    assert len(probe.tops) == 4
    assert run.callback_metrics["best/probe/online/top1"] == pytest.approx(max(probe.tops))


def test_a_resumed_probe_is_the_same_to_the_bit(tmp_path, digits_root):
    def run_to(epochs, folder, probe, **options):
        module = tiny_module()
        module.dropout.p = 0.0  # it draws from the global generator, which no checkpoint holds
        keep = ModelCheckpoint(folder, save_last=True, save_top_k=0, save_on_train_epoch_end=True)
        run = trainer(folder, [probe, RunningBest(), keep], epochs, enable_checkpointing=True)
        run.fit(module, digits(digits_root), **options)
        return run.callback_metrics

    straight, resumed = LinearProbe(), LinearProbe()
    expected = run_to(3, tmp_path / "straight", straight)
    run_to(1, tmp_path / "resumed", LinearProbe())
    checkpoint = tmp_path / "resumed" / "last.ckpt"
    found = run_to(3, tmp_path / "resumed", resumed, ckpt_path=checkpoint, weights_only=True)
    assert_equal(probe_state(straight), probe_state(resumed))
    assert found["best/probe/online/top1"] == expected["best/probe/online/top1"]
    assert found["probe/online/train_loss"] == expected["probe/online/train_loss"]


def test_another_training_with_the_same_callbacks_is_as_one_with_new_ones(tmp_path, digits_root):
    data, short = digits(digits_root, batch_size=32), {"limit_train_batches": 2}
    kept, new = ([LinearProbe(learning_rate=1e-2), RunningBest()] for _ in range(2))
    _, first = fit(tmp_path, data, kept)
    _, again = fit(tmp_path, data, kept, **short)
    _, fresh = fit(tmp_path, data, new, **short)
    assert_equal(probe_state(kept[0]), probe_state(new[0]))
    assert again.callback_metrics == fresh.callback_metrics
    best = "best/probe/online/top1"
    assert again.callback_metrics[best] < first.callback_metrics[best]


def test_a_module_that_is_trained_on_keeps_its_probe(tmp_path, digits_root):
    """So does another one that takes up a checkpoint's."""
    data, probe = digits(digits_root), LinearProbe()
    module, short = tiny_module(), {"limit_train_batches": 2, "limit_val_batches": 1}
    for steps in (2, 4):
        trainer(tmp_path, [probe], **short).fit(module, data)
        assert probe_state(probe)["adam.0.step"] == steps
    probe.load_state_dict(probe.state_dict())
    for steps in (6, 2):
        fit(tmp_path, data, [probe], **short)
        assert probe_state(probe)["adam.0.step"] == steps


def test_a_checkpoint_brings_its_probe_to_validation(tmp_path, digits_root):
    data, probe = digits(digits_root), LinearProbe(learning_rate=1e-2)
    _, run = fit(tmp_path, data, [probe], epochs=2)
    expected = run.callback_metrics["probe/online/top1"]
    run.save_checkpoint(tmp_path / "end.ckpt")
    later = trainer(tmp_path, [LinearProbe(), RunningBest()])
    options = {"ckpt_path": tmp_path / "end.ckpt", "weights_only": True, "verbose": False}
    (metrics,) = later.validate(tiny_module(), digits(digits_root), **options)
    assert metrics["probe/online/top1"] == expected
    assert "best/probe/online/top1" not in metrics


def test_labels_reach_the_probe_only(tmp_path, digits_root):
    first, second = LinearProbe(), LinearProbe()
    right, _ = fit(tmp_path, digits(digits_root), [first])
    data = digits(digits_root)
    data.setup("fit")
    labels = data.split("train").labels
    data.split("train").labels = labels[::-1].copy()
    wrong, _ = fit(tmp_path, data, [second])
    assert_equal(right.state_dict(), wrong.state_dict())
    weight = "probe.1.weight"
    assert not torch.equal(probe_state(first)[weight], probe_state(second)[weight])


def test_images_without_a_label_teach_nothing(tmp_path, digits_root):
    data = digits(digits_root)
    probe = LinearProbe()
    before = None

    class Before(LinearProbe):
        def on_train_start(self, trainer, pl_module):
            nonlocal before
            before = probe.state_dict()["probe"]["1.weight"].clone()
            data.split("train").labels[:] = -1

    _, run = fit(tmp_path, data, [probe, Before()])
    assert torch.equal(probe.state_dict()["probe"]["1.weight"], before)
    assert "probe/online/train_loss" not in run.callback_metrics


def test_a_probe_of_other_classes_begins_anew(tmp_path, digits_root, capsys):
    first, second = LinearProbe(), LinearProbe()
    fit(tmp_path, digits(digits_root), [first])
    state = first.state_dict()
    state["probe"]["1.weight"] = state["probe"]["1.weight"][:4]
    second.load_state_dict(state)
    fit(tmp_path, digits(digits_root), [second])
    assert "the linear probe begins anew: there are other classes" in capsys.readouterr().out
    assert_equal(probe_state(first), probe_state(second))


def test_of_a_checkpoint_of_other_classes_validation_leaves_the_probe_out(
    tmp_path, digits_root, capsys
):
    first, second = LinearProbe(), LinearProbe()
    fit(tmp_path, digits(digits_root), [first], limit_train_batches=1)
    state = first.state_dict()
    state["probe"]["1.weight"] = state["probe"]["1.weight"][:4]
    second.load_state_dict(state)
    run = trainer(tmp_path, [second])
    (metrics,) = run.validate(tiny_module(), digits(digits_root), verbose=False)
    assert "val/loss" in metrics
    assert "probe/online/top1" not in metrics
    assert "the linear probe is left out: there are other classes" in capsys.readouterr().out
    assert second.state_dict() is state


def test_a_live_probe_is_left_out_of_the_validation_of_other_classes_too(
    tmp_path, digits_root, capsys, monkeypatch
):
    probe, others = LinearProbe(), digits(digits_root)
    fit(tmp_path, digits(digits_root), [probe], limit_train_batches=1)
    others.setup("validate")
    monkeypatch.setattr(others, "setup", lambda stage: None)  # which would find the digits again
    others.class_names = others.class_names[:4]
    others.split("val").labels[:] %= 4
    (metrics,) = trainer(tmp_path, [probe]).validate(tiny_module(), others, verbose=False)
    assert "probe/online/top1" not in metrics
    assert "the linear probe is left out: there are other classes" in capsys.readouterr().out


def test_without_labels_the_probe_says_so_and_is_off(tmp_path, capsys):
    _, run = fit(tmp_path, unlabelled(tmp_path), observers())
    said = [line for line in capsys.readouterr().out.splitlines() if "no labels" in line]
    assert said == [
        "the pictures have no labels: linear probe and kNN accuracy are off, the pictures of "
        "neighbours stay on"
    ]
    assert not any(name.startswith(("probe/", "knn/")) for name in run.callback_metrics)
    assert (tmp_path / "pictures" / "neighbours_cosine.png").is_file()


def test_the_probe_is_built_without_the_global_generator(tmp_path, digits_root):
    probe = LinearProbe()
    torch.manual_seed(3)
    state = torch.get_rng_state()
    data, module, run = digits(digits_root), tiny_module(), trainer(tmp_path, [probe])
    torch.set_rng_state(state)
    run.strategy._lightning_module = module
    data.setup("fit")
    run.datamodule = data
    probe.setup(run, module, "fit")
    probe.on_train_start(run, module)
    assert torch.equal(torch.get_rng_state(), state)
    assert probe.state_dict()["probe"]["1.weight"].shape == (10, 6)


class SameEverywhere(LinearProbe):
    """Fails unless the probes of all processes are equal at the end."""

    def on_train_end(self, trainer, pl_module):
        weights = torch.cat([v.flatten().float() for v in self.state_dict()["probe"].values()])
        everywhere = pl_module.all_gather(weights)
        assert len(everywhere) == 2
        assert torch.equal(everywhere[0], everywhere[1])
        assert not torch.equal(weights[-10:], torch.zeros(10))


# Lightning's advice on speed, which matters little here
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:.*recommended to use a single device")
def test_two_processes_have_one_probe_and_do_not_wait_for_each_other(tmp_path, digits_root):
    callbacks = [SameEverywhere(), Neighbours(every_n_epochs=1, num_queries=2), Geometry()]
    data = digits(digits_root)
    data.prepare_data()
    _, run = fit(
        tmp_path, data, callbacks, strategy=DDPStrategy(start_method="forkserver"), devices=2
    )
    assert run.callback_metrics["probe/online/top1"] > 0
    assert 0 < run.callback_metrics["knn/cosine/k20_t0.07/top1"] <= 1
    assert (tmp_path / "pictures" / "prior_samples.png").is_file()
