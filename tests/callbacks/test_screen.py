"""The bar on a terminal: images, terms, and lines that stay."""

import io

import pytest
import torch
from quiet import trainer
from small_module import Small, train

from dim_lightning.callbacks.screen import EpochLines, TerminalBar, epoch_line
from dim_lightning.errors import InputError

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),  # Lightning 2.6 calls it
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),  # 24 numbers need none
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*"),  # on purpose
]


def test_the_bar_counts_images_and_names_the_terms_and_lines_stay(monkeypatch):
    monkeypatch.setattr("dim_lightning.callbacks.screen._REFRESH_SECONDS", 0.0)
    stream = io.StringIO()
    train([TerminalBar(stream), EpochLines()], enable_progress_bar=True, max_epochs=2)
    text = stream.getvalue()
    for part in ("epoch 1/2:", "epoch 2/2:", "/24", " images/s", "loss 1.250  local -1.000"):
        assert part in text
    assert "\nepoch 1/2" in text.replace("\r", "\n")


class Coded(Small):
    """Gives the codes of what it is tested on and of what it embeds."""

    def test_step(self, batch, batch_idx):
        return {"embedding": torch.zeros(len(batch), 2)}

    predict_step = test_step


@pytest.mark.parametrize("function", ["test", "predict"])
def test_the_bar_counts_the_images_of_other_functions(monkeypatch, function):
    monkeypatch.setattr("dim_lightning.callbacks.screen._REFRESH_SECONDS", 0.0)
    stream, module = io.StringIO(), Coded()
    run = trainer(None, callbacks=[TerminalBar(stream)], enable_progress_bar=True)
    getattr(run, function)(module, module.train_dataloader())
    assert f"\r{function}: 24 images [" in stream.getvalue()
    assert stream.getvalue().endswith("\r")  # it is taken away in the end


@pytest.mark.parametrize("function", ["test", "predict"])
def test_the_bar_names_the_step_that_gives_no_codes(function):
    module = Coded()
    setattr(module, f"{function}_step", lambda batch, batch_idx: {})
    run = trainer(None, callbacks=[TerminalBar(io.StringIO())], enable_progress_bar=True)
    with pytest.raises(InputError, match=f"Coded.{function}_step gives no embedding"):
        getattr(run, function)(module, module.train_dataloader())


def test_a_line_has_the_means_of_its_epoch():
    stream = io.StringIO()
    module = Small({1: {"loss": 7.25}})  # the other five steps of the first epoch have 1.25
    train([TerminalBar(stream), EpochLines()], module, enable_progress_bar=True, max_epochs=2)
    lines = [line for line in stream.getvalue().replace("\r", "\n").splitlines() if "  " in line]
    assert any(line.startswith("epoch 1/2  loss 2.250") for line in lines)
    assert any(line.startswith("epoch 2/2  loss 1.250") for line in lines)


def test_a_term_of_some_steps_has_their_mean(capsys):
    train([EpochLines()], Small({2: {"late": 4.0}, 5: {"late": 2.0}}))
    assert "local -1.000  prior 0.500  late 3.000" in capsys.readouterr().out


def test_the_count_of_all_terms_that_an_earlier_run_saved_is_that_of_each():
    lines = EpochLines()
    lines.load_state_dict({"sums": {"loss": torch.tensor(6.0)}, "num_steps": 3})
    assert lines.state_dict()["num_steps"] == {"loss": 3}


class Validated(Small):
    """What kNN does: a figure of every other epoch."""

    def validation_step(self, batch, batch_idx):
        if self.current_epoch % 2 == 0:
            self.log("knn/cosine/k20_t0.07/top1", 0.5)

    def val_dataloader(self):
        return self.train_dataloader()


def test_a_line_has_no_figure_of_an_earlier_epoch():
    stream = io.StringIO()
    options = {"enable_progress_bar": True, "max_epochs": 3}
    train([TerminalBar(stream), EpochLines()], Validated(), **options)
    lines = [line for line in stream.getvalue().replace("\r", "\n").splitlines() if "  " in line]
    found = {line[:9]: "kNN 50.0%" in line for line in lines if line.startswith("epoch")}
    assert found == {"epoch 1/3": True, "epoch 2/3": False, "epoch 3/3": True}


def test_a_disabled_bar_is_silent():
    stream = io.StringIO()
    bar = TerminalBar(stream)
    bar.disable()
    bar.print("words")
    assert stream.getvalue() == ""
    assert not bar.is_enabled


def test_a_line_has_terms_accuracies_and_speed():
    values = {
        "train/loss": 1.0,
        "train/local": -0.5,
        "val/loss": 9.0,
        "probe/online/top1": 0.8123,
        "knn/cosine/k20_t0.07/top1": 0.7,
        "geometry/effective_rank": 12.34,
        "speed/images_per_second": 1234.5,
    }
    assert epoch_line("2/5", values) == (
        "epoch 2/5  loss 1.000  local -0.500  probe 81.2%  kNN 70.0%  effective rank 12.3  "
        "1,234 images/s"
    )


@pytest.mark.parametrize(
    ("options", "steps", "enough"),
    [({"max_epochs": 2}, 12, 167), ({"max_epochs": 2, "accumulate_grad_batches": 2}, 6, 334)],
)
def test_a_training_of_few_steps_is_told_so(capsys, options, steps, enough):
    train([EpochLines()], **options)
    expected = (
        f"{steps} steps in all, in which an encoder learns little; --trainer.max_epochs {enough}"
    )
    assert f"hint: {expected} would make 1,000\n" in capsys.readouterr().out


@pytest.mark.parametrize("options", [{"limit_train_batches": 3}, {"max_steps": 4}])
def test_one_whose_steps_were_asked_for_is_not(capsys, options):
    train([EpochLines()], **options)
    assert "hint" not in capsys.readouterr().out


def test_nor_is_one_of_enough_steps(capsys, monkeypatch):
    monkeypatch.setattr("dim_lightning.callbacks.screen._FEW_STEPS", 6)
    train([EpochLines()])
    assert "hint" not in capsys.readouterr().out
