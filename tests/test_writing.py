"""Files that are whole or not there, and what a person is told when one cannot be written."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dim_lightning.errors import InputError
from dim_lightning.writing import disk_reason, explained, reach_disk, write_atomically


def test_what_to_choose_another_of(tmp_path):
    with (
        pytest.raises(InputError, match="is in the way; choose another --output"),
        explained(tmp_path, "--output"),
    ):
        raise FileExistsError(errno.EEXIST, "File exists")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EFBIG, "larger than the disk or a limit allows; free some space"),
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


def test_a_reason_alone():
    assert disk_reason(OSError(errno.EROFS, "Read-only"), "data.cache_dir") == (
        "the file system is read-only",
        "point data.cache_dir to a folder you can write to",
    )
    assert disk_reason(OSError(errno.EIO, "a: b; c"), "x") == ("a: b; c", "choose another x")


@pytest.mark.parametrize("known", [True, False])
def test_where_the_system_empties_the_cache_of_the_disk_it_is_asked_to(
    tmp_path, monkeypatch, known
):
    """As macOS does, except on disks that do not know it."""
    asked = []

    def empty(_, command):
        asked.append(command)
        if not known:
            raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", empty)
    monkeypatch.setattr(os, "fsync", asked.append)
    with (tmp_path / "file").open("w") as file:
        reach_disk(file.fileno())
        assert asked == ([51] if known else [51, file.fileno()])


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "result.json"
    write_atomically(path, "old")
    with pytest.raises(TypeError):
        write_atomically(path, 3)  # type: ignore[arg-type]
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_knows_no_rights_is_written(tmp_path, monkeypatch):
    """As exFAT, which refuses to change them."""

    def refused(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refused)
    write_atomically(tmp_path / "page.html", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_the_file_that_was_there_can_stay_under_another_name(tmp_path):
    path, kept = tmp_path / "last.ckpt", tmp_path / "previous.ckpt"
    for content in ("1", "2", "3"):
        write_atomically(path, content, kept)
    assert (path.read_text(), kept.read_text()) == ("3", "2")
    os.link(path, tmp_path / "same")  # as a process leaves it that is killed between two renames
    (tmp_path / "same").replace(kept)
    write_atomically(path, "4", kept)
    assert (path.read_text(), kept.read_text()) == ("4", "3")
    assert sorted(tmp_path.iterdir()) == [path, kept]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_files_have_the_rights_of_any_new_one(tmp_path, umask, mode):
    code = (
        "import os, sys; from pathlib import Path; os.umask(int(sys.argv[2]));"
        "from dim_lightning.writing import write_atomically;"
        "write_atomically(Path(sys.argv[1]), 'text'); print(os.umask(0))"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "file"), str(umask)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=300)
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode
    assert int(done.stdout) == umask
