"""Checkpoints are written whole, and are looked at before a run starts from them."""

import errno
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch import nn

from dim_lightning import writing
from dim_lightning.errors import InputError
from dim_lightning.run.checkpoint import (
    AtomicCheckpointIO,
    check_fits,
    newest_checkpoint,
    read_checkpoint,
)


def _saved(path, module):
    AtomicCheckpointIO().save_checkpoint({"state_dict": module.state_dict()}, path)
    return path


def test_round_trip(tmp_path):
    module = nn.Linear(3, 2)
    path = _saved(tmp_path / "new" / "last.ckpt", module)
    stored = check_fits(path, nn.Linear(3, 2))["state_dict"]
    assert torch.equal(stored["weight"], module.weight)
    assert sorted(p.name for p in path.parent.iterdir()) == ["last.ckpt"]


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


@pytest.mark.parametrize("name", ["last.ckpt", "kept/best.ckpt"])
def test_a_full_disk_leaves_the_file_that_was_there(tmp_path, monkeypatch, name):
    path = _saved(tmp_path / name, nn.Linear(3, 2))
    before = path.read_bytes()

    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writing, "reach_disk", full)
    with pytest.raises(InputError, match=rf"cannot write .*{name}: the disk is full; free some"):
        _saved(path, nn.Linear(3, 2))
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.fixture
def run(tmp_path):
    """A run that has saved the numbers 1 and 2."""
    for number in (1.0, 2.0):
        state = {"state_dict": {"weight": torch.tensor([number])}}
        AtomicCheckpointIO().save_checkpoint(state, tmp_path / "checkpoints" / "last.ckpt")
    return tmp_path


def _number(path):
    return AtomicCheckpointIO().load_checkpoint(path)["state_dict"]["weight"].item()


def test_the_one_before_stays(run):
    path, refused = newest_checkpoint(run)
    assert (path.name, _number(path), refused) == ("last.ckpt", 2.0, [])
    assert _number(run / "checkpoints" / "previous.ckpt") == 1.0


def _flip(path):
    content = bytearray(path.read_bytes())
    content[content.index(torch.tensor(_number(path)).numpy().tobytes())] ^= 1
    path.write_bytes(content)


def _cut(path):
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize("spoil", [_flip, _cut])
def test_what_is_not_as_it_was_written_is_refused_by_name(run, spoil):
    last, previous = (run / "checkpoints" / f"{name}.ckpt" for name in ("last", "previous"))
    spoil(last)
    path, refused = newest_checkpoint(run)
    assert (path, _number(path)) == (previous, 1.0)
    assert len(refused) == 1
    assert refused[0].startswith(f"{last} ({last.stat().st_size} bytes) cannot be read: it is cut")
    spoil(previous)
    with pytest.raises(InputError, match=r"no checkpoint to go on from: .*last.*previous"):
        newest_checkpoint(run)


def test_no_flipped_bit_is_read_as_another_number(tmp_path):
    """In a file that lies elsewhere as well: what is compared is in it."""
    path = _saved(tmp_path / "a.ckpt", nn.Linear(1, 1, bias=False))
    content, stored = path.read_bytes(), read_checkpoint(path, mmap=False)
    read = []
    for place in range(0, len(content), 7):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with suppress(InputError):
            read.append(read_checkpoint(path, mmap=False))
    assert 0 < len(read) < len(content) // 7  # what lies between the records counts for nothing
    assert all(found == stored for found in read)


def test_a_run_without_checkpoints(tmp_path):
    assert newest_checkpoint(tmp_path) == (None, [])


@pytest.mark.parametrize("rename", ["previous.ckpt", "last.ckpt"])
def test_both_files_can_be_read_wherever_a_write_is_cut_off(run, rename, monkeypatch):
    """However often in a row."""
    replace = Path.replace

    def killed(path, target):
        if Path(target).name == rename:
            raise KeyboardInterrupt
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        for number in range(3, 9):
            state = {"state_dict": {"weight": torch.tensor([float(number)])}}
            with pytest.raises(KeyboardInterrupt):
                AtomicCheckpointIO().save_checkpoint(state, run / "checkpoints" / "last.ckpt")
            assert _number(run / "checkpoints" / "last.ckpt") == 2.0
            assert _number(run / "checkpoints" / "previous.ckpt") in (1.0, 2.0)


def test_other_files(tmp_path):
    (tmp_path / "a.yaml").write_text("model: 3")
    with pytest.raises(InputError, match="cannot be read"):
        check_fits(tmp_path / "a.yaml", nn.Linear(1, 1))
    with pytest.raises(InputError, match="no checkpoint"):
        check_fits(tmp_path / "none.ckpt", nn.Linear(1, 1))
    torch.save({"weight": torch.zeros(1)}, tmp_path / "weights.pt")
    with pytest.raises(InputError, match="holds no state_dict"):
        check_fits(tmp_path / "weights.pt", nn.Linear(1, 1))
