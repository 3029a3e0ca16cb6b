"""Run folders: numbered, never shared, and errors a person can act on."""

import errno
import fcntl
import multiprocessing
import os
from pathlib import Path

import pytest

from dim_lightning.errors import InputError
from dim_lightning.run.folder import (
    alone_in,
    existing_run_folder,
    new_run_folder,
    newest_run,
    read_json,
    remove_leftovers,
    remove_unused_folder,
)


def test_numbers_go_on_after_the_largest(tmp_path):
    assert new_run_folder(tmp_path, "digits") == tmp_path / "digits" / "1"
    (tmp_path / "digits" / "7").mkdir()
    (tmp_path / "digits" / "notes").mkdir()
    assert new_run_folder(tmp_path, "digits").name == "8"


def test_the_newest_run_has_the_largest_number_and_a_configuration(tmp_path):
    assert newest_run(tmp_path / "none") is None
    for name in ("2", "10", "11", "12_copy"):
        (tmp_path / name).mkdir()
    for name in ("2", "10", "12_copy"):
        (tmp_path / name / "config.yaml").touch()
    assert newest_run(tmp_path) == tmp_path / "10"


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


def test_a_folder_that_is_no_run_names_runs_nearby(tmp_path):
    run = new_run_folder(tmp_path, "digits")
    (run / "config.yaml").write_text("")
    assert existing_run_folder(run) == run
    with pytest.raises(InputError, match="digits/1"):
        existing_run_folder(tmp_path / "digits")
    with pytest.raises(InputError, match="no run folder"):
        existing_run_folder(tmp_path / "digits" / "9")


def test_an_unused_folder_goes_and_others_stay(tmp_path):
    first, second = new_run_folder(tmp_path, "a"), new_run_folder(tmp_path, "a")
    (second / "wandb").mkdir()
    (second / "wandb" / "link").symlink_to("nowhere")
    remove_unused_folder(second)
    assert first.is_dir()
    assert not second.exists()
    remove_unused_folder(first)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is not readable as JSON"),
        ("[]", r"holds \[\]; expected names and values"),
        ("null", "holds None; expected names and values"),
    ],
)
def test_a_damaged_file_of_names_and_values(tmp_path, content, said):
    path = tmp_path / "sweep.json"
    assert read_json(path, "bring it back") == {}
    path.write_text(content)
    with pytest.raises(InputError, match=rf"sweep\.json {said}.*; bring it back"):
        read_json(path, "bring it back")


def test_the_leavings_of_killed_writes_go_and_nothing_else(tmp_path):
    (tmp_path / "checkpoints" / "kept").mkdir(parents=True)
    stays = [
        "checkpoints/last.ckpt",
        "checkpoints/kept/best.ckpt",
        ".lock",
        ".mine.settings",
        "metrics.csv",
    ]
    goes = ["checkpoints/.last.ckpt.a1b2c3d_", "checkpoints/kept/.best.ckpt.a1b2c3d_"]
    goes += [".metrics.csv.abcdefgh.kept"]
    for name in stays + goes:
        (tmp_path / name).write_text("")
    remove_leftovers(tmp_path)
    found = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(found) == sorted(tmp_path / name for name in stays)


def test_only_one_trains_in_a_folder(tmp_path):
    with alone_in(tmp_path), pytest.raises(InputError, match="another process trains"):
        alone_in(tmp_path).__enter__()
    with alone_in(tmp_path):
        pass


def test_on_a_disk_without_locks_one_works_unlocked(tmp_path, monkeypatch):
    for number in (errno.ENOLCK, errno.ENOSYS):  # NFS without its service, Lustre

        def refused(*_, number=number):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(fcntl, "flock", refused)
        for _ in range(2):
            with alone_in(tmp_path):
                # nor locked by a file that says so, which a killed process would leave
                assert not any(path.stat().st_size for path in tmp_path.iterdir())
    monkeypatch.undo()
    monkeypatch.setattr("filelock.FileLock.acquire", lambda *_, **__: (tmp_path / "no").stat())
    with pytest.raises(FileNotFoundError), alone_in(tmp_path):
        pass
