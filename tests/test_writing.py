"""What a person is told when something cannot be written."""

import errno

import pytest

from dim_lightning.errors import InputError
from dim_lightning.writing import disk_reason, explained


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
