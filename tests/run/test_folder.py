"""Run folders: numbered, never shared, and errors a person can act on."""

import errno
import multiprocessing
from pathlib import Path

import pytest

from dim_lightning.errors import InputError
from dim_lightning.run.folder import (
    existing_run_folder,
    explained,
    last_checkpoint,
    new_run_folder,
    remove_unused_folder,
    write_atomically,
)


def test_numbers_go_on_after_the_largest(tmp_path):
    assert new_run_folder(tmp_path, "digits") == tmp_path / "digits" / "1"
    (tmp_path / "digits" / "7").mkdir()
    (tmp_path / "digits" / "notes").mkdir()
    assert new_run_folder(tmp_path, "digits").name == "8"


def _make_many(parent, queue):
    queue.put([str(new_run_folder(Path(parent), "same")) for _ in range(40)])


def test_two_processes_never_share_a_folder(tmp_path):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=_make_many, args=(tmp_path, queue)) for _ in range(2)]
    for process in processes:
        process.start()
    made = [path for _ in processes for path in queue.get(timeout=60)]
    for process in processes:
        process.join()
    assert len(set(made)) == 80


@pytest.mark.parametrize("name", ["../x", "/x", "", "a//b", ".hidden", "a b"])
def test_refuses_names_that_leave_the_folder(tmp_path, name):
    with pytest.raises(InputError, match="expected a plain name"):
        new_run_folder(tmp_path, name)


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(InputError, match=r"cannot write .*runs/digits: .* is a file"):
        new_run_folder(tmp_path / "runs", "digits")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "may not write"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_a_failed_write_says_what_to_do(tmp_path, code, said):
    with pytest.raises(InputError, match=said) as caught, explained(tmp_path):
        raise OSError(code, "Input/output error")
    assert str(tmp_path) in str(caught.value)
    assert "runs_dir" in str(caught.value)


def test_a_folder_that_is_no_run_names_runs_nearby(tmp_path):
    run = new_run_folder(tmp_path, "digits")
    (run / "config.yaml").write_text("")
    assert existing_run_folder(run) == run
    with pytest.raises(InputError, match="digits/1"):
        existing_run_folder(tmp_path / "digits")
    with pytest.raises(InputError, match="no run folder"):
        existing_run_folder(tmp_path / "digits" / "9")
    with pytest.raises(InputError, match=r"has no checkpoints/last\.ckpt"):
        last_checkpoint(run)


def test_an_unused_folder_goes_and_others_stay(tmp_path):
    first, second = new_run_folder(tmp_path, "a"), new_run_folder(tmp_path, "a")
    (second / "wandb").mkdir()
    (second / "wandb" / "link").symlink_to("nowhere")
    remove_unused_folder(second)
    assert first.is_dir()
    assert not second.exists()
    remove_unused_folder(first)
    assert not (tmp_path / "a").exists()


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "result.json"
    write_atomically(path, "old")
    with pytest.raises(TypeError):
        write_atomically(path, 3)  # type: ignore[arg-type]
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
