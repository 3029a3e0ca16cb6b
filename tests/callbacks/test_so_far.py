import json
from functools import partial

import pytest
import torch
from tiny_run import digits, tiny_module, trainer

from dim_lightning.callbacks import OfflineEvaluation, code_measures, offline_evaluation
from dim_lightning.callbacks.so_far import SO_FAR, SoFar
from dim_lightning.errors import InputError
from dim_lightning.run.result import read_result

evaluation = partial(OfflineEvaluation, mlp_epochs=1, floors=False, mine_epochs=1, ndm_epochs=1)


class PoweredOffError(Exception):
    """What a test cannot prepare for."""


def broken(*args, **kwargs):
    raise PoweredOffError


@pytest.fixture
def stopped(tmp_path, digits_root, monkeypatch):
    """A run whose test got as far as NDM; the arguments of a new one."""
    module, data = tiny_module(), digits(digits_root)
    run = trainer(tmp_path, [evaluation()])
    with monkeypatch.context() as patch:
        patch.setattr(code_measures, "total_correlation", broken)
        with pytest.raises(PoweredOffError):
            run.test(module, data, verbose=False)
    return module, data


def so_far(folder):
    return list(folder.glob(f"{SO_FAR}.*.json"))


def test_what_was_measured_is_not_measured_again(tmp_path, stopped, monkeypatch, capsys):
    module, data = stopped
    assert "test" not in read_result(tmp_path)
    (path,) = so_far(tmp_path)
    before = json.loads(path.read_text())
    assert set(before["found"]) == {"layers/conv", "layers/pool", "layers/embedding", "mine"}

    again, whole, another = evaluation(), evaluation(), OfflineEvaluation(0, floors=False)
    trainer(tmp_path, [another]).test(module, data, verbose=False)  # of which nothing is left
    assert so_far(tmp_path) == [path]
    with monkeypatch.context() as patch:
        patch.setattr(offline_evaluation, "layer_figures", broken)
        patch.setattr(code_measures, "mutual_information", broken)
        trainer(tmp_path, [again]).test(module, data, verbose=False)
    assert "(128 features, measured before)" in capsys.readouterr().out
    assert so_far(tmp_path) == []
    elsewhere = tmp_path / "elsewhere"
    trainer(elsewhere, [whole]).test(module, data, verbose=False)
    assert again.figures == pytest.approx(whole.figures)
    here, there = (read_result(path)["test"] for path in (tmp_path, elsewhere))
    assert here.pop("seconds") >= before["seconds"]
    there.pop("seconds")
    assert here == there
    assert here["estimates"]["ndm/embedding"].keys() == {"nats", "val_nats", "epoch"}
    assert "measured before" not in capsys.readouterr().out


@pytest.mark.parametrize("what", ["weights", "settings", "code"])
def test_of_others_everything_is_measured_again(tmp_path, stopped, what, monkeypatch, capsys):
    module, data = stopped
    if what == "weights":
        with torch.no_grad():
            next(module.encoder.parameters()).add_(1)
    if what == "code":
        extract = module.encoder.forward
        monkeypatch.setattr(module.encoder, "forward", lambda images: extract(images.flip(-1)))
    other = evaluation(seed=1 if what == "settings" else 0)
    trainer(tmp_path, [other]).test(module, data, verbose=False)
    assert "measured before" not in capsys.readouterr().out


def test_a_damaged_file_is_named(tmp_path):
    SoFar(tmp_path, {"seed": 1}).once("conv", dict)
    (path,) = so_far(tmp_path)
    path.write_text("{")
    with pytest.raises(InputError, match=rf"{path.name} is not readable.*remove it and run test"):
        SoFar(tmp_path, {"seed": 1})
    assert not SoFar(tmp_path, {"seed": 2}).knows("conv")
