import json
from functools import partial

import pytest
import torch
from tiny_run import digits, tiny_module, trainer

from dim_lightning.callbacks import (
    OfflineEvaluation,
    code_measures,
    offline_evaluation,
    offline_layers,
)
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
    names = [key.split()[0] for key in before]
    assert names == ["layers/conv", "layers/pool", "layers/embedding", "mine"]

    again, whole, another = (
        evaluation(),
        evaluation(),
        OfflineEvaluation(mlp_epochs=0, floors=False),
    )
    trainer(tmp_path, [another]).test(module, data, verbose=False)
    assert json.loads(path.read_text()) == before  # of the other one nothing is left
    with monkeypatch.context() as patch:
        patch.setattr(offline_layers, "layer_figures", broken)
        patch.setattr(code_measures, "mutual_information", broken)
        trainer(tmp_path, [again]).test(module, data, verbose=False)
    assert "(128 features, measured before)" in capsys.readouterr().out
    assert so_far(tmp_path) == []
    elsewhere = tmp_path / "elsewhere"
    trainer(elsewhere, [whole]).test(module, data, verbose=False)
    assert again.figures == pytest.approx(whole.figures)
    here, there = (read_result(path)["test"] for path in (tmp_path, elsewhere))
    assert here.pop("seconds") >= sum(each["seconds"] for each in before.values())
    there.pop("seconds")
    assert here.pop("estimates").keys() == there.pop("estimates").keys()
    names = [name for name in there if "/" in name]
    assert {name: here.pop(name) for name in names} == {name: there.pop(name) for name in names}
    assert here.pop("settings") == there.pop("settings")
    assert "measured before" not in capsys.readouterr().out


def test_what_it_does_not_depend_on_may_change(tmp_path, stopped, monkeypatch):
    """Such as a measure that ran out of memory."""
    module, data = stopped
    monkeypatch.setattr(offline_layers, "layer_figures", broken)
    other = evaluation(ndm_epochs=0)
    trainer(tmp_path, [other]).test(module, data, verbose=False)
    assert {"probe/mlp200/conv/top1", "mine/embedding/nats"} <= other.figures.keys()
    result = read_result(tmp_path)["test"]
    assert result["estimates"]["mine/embedding"].keys() >= {"nats", "val_nats", "epoch"}


@pytest.mark.parametrize("what", ["weights", "settings", "encoder", "code"])
def test_of_others_everything_is_measured_again(tmp_path, stopped, what, monkeypatch, capsys):
    module, data = stopped
    if what == "weights":
        with torch.no_grad():
            next(module.encoder.parameters()).add_(1)
    if what == "code":  # a change that may not be committed
        monkeypatch.setattr(offline_evaluation, "package_code", lambda: "another")
    if what == "encoder":
        extract = module.encoder.forward
        monkeypatch.setattr(module.encoder, "forward", lambda images: extract(images.flip(-1)))
    other = evaluation(seed=1 if what == "settings" else 0)
    trainer(tmp_path, [other]).test(module, data, verbose=False)
    assert "measured before" not in capsys.readouterr().out


def test_a_damaged_file_is_named(tmp_path):
    SoFar(tmp_path, {"weights": 1}).once("conv", {}, dict)
    (path,) = so_far(tmp_path)
    path.write_text("{")
    with pytest.raises(InputError, match=rf"{path.name} is not readable.*remove it and run test"):
        SoFar(tmp_path, {"weights": 1})
    assert not SoFar(tmp_path, {"weights": 2}).knows("conv", {})


def test_two_tests_at_once_leave_one_anothers_measures(tmp_path):
    one, other = SoFar(tmp_path, {}), SoFar(tmp_path, {})
    one.once("conv", {"svm": True}, lambda: 1)
    other.once("mine", {"epochs": 2}, lambda: 2)
    one.end()
    again = SoFar(tmp_path, {})
    assert again.knows("mine", {"epochs": 2})
    assert not again.knows("conv", {"svm": True})
    assert again.once("mine", {"epochs": 2}, broken) == 2
    again.end()
    assert so_far(tmp_path) == []
