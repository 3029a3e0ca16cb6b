"""Checkpoints are written whole, and are looked at before a run starts from them."""

import pytest
import torch
from torch import nn

from dim_lightning.errors import InputError
from dim_lightning.run.checkpoint import AtomicCheckpointIO, check_fits, differences


def _saved(path, module):
    AtomicCheckpointIO().save_checkpoint({"state_dict": module.state_dict()}, path)
    return path


def test_round_trip(tmp_path):
    module = nn.Linear(3, 2)
    path = _saved(tmp_path / "new" / "last.ckpt", module)
    stored = check_fits(path, nn.Linear(3, 2))["state_dict"]
    assert torch.equal(stored["weight"], module.weight)
    assert [p.name for p in path.parent.iterdir()] == ["last.ckpt"]


def test_names_the_first_tensor_that_differs(tmp_path):
    path = _saved(tmp_path / "a.ckpt", nn.Linear(3, 2))
    with pytest.raises(InputError, match=r"a\.ckpt.* weight is \[2, 3\]; expected \[2, 5\]"):
        check_fits(path, nn.Linear(5, 2))
    with pytest.raises(InputError, match=r"has no 0\.weight"):
        check_fits(path, nn.Sequential(nn.Linear(3, 2)))
    with pytest.raises(InputError, match=r"has bias of shape \[2\]; this model has none"):
        check_fits(path, nn.Linear(3, 2, bias=False))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.95])
def test_a_file_cut_short(tmp_path, share):
    path = _saved(tmp_path / "a.ckpt", nn.Linear(300, 20))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError, match="cut short"):
        check_fits(path, nn.Linear(300, 20))


def test_other_files(tmp_path):
    (tmp_path / "a.yaml").write_text("model: 3")
    with pytest.raises(InputError, match="cannot be read"):
        check_fits(tmp_path / "a.yaml", nn.Linear(1, 1))
    with pytest.raises(InputError, match="no checkpoint"):
        check_fits(tmp_path / "none.ckpt", nn.Linear(1, 1))
    torch.save({"weight": torch.zeros(1)}, tmp_path / "weights.pt")
    with pytest.raises(InputError, match="holds no state_dict"):
        check_fits(tmp_path / "weights.pt", nn.Linear(1, 1))


def test_settings_that_differ():
    stored = {"lr": 0.1, "same": 1, "encoder": {"init_args": {"widths": [1]}}}
    asked = {"lr": 0.5, "same": 1, "encoder": {"init_args": {"widths": [2]}}}
    assert differences(stored, asked) == [
        "encoder.init_args.widths: [1] in the checkpoint, [2] now",
        "lr: 0.1 in the checkpoint, 0.5 now",
    ]
