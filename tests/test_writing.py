"""What a person is told when something cannot be written."""

import errno
import fcntl
import os

import pytest

from dim_lightning.errors import InputError
from dim_lightning.writing import disk_reason, explained, reach_disk


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
