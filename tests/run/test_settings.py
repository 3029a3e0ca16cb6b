"""Settings of files that the user names, and of runs."""

import pytest

from dim_lightning.errors import InputError
from dim_lightning.run.settings import read_yaml


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: [", "is not a YAML file: line 1: "),
        (b"a: 2024-13-45", "is not a YAML file: month must be in 1..12"),
        (b"[" * 1100, "is not a YAML file: it is nested too deeply"),
        (b"a: \xff", "is not a YAML file: it is not text"),
        (b"1", "holds no settings; expected rows"),
        (None, "there is no file .*; expected one such as other.yaml"),
    ],
)
def test_files_that_hold_no_settings(tmp_path, content, said):
    path = tmp_path / "some.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_yaml(path, "other.yaml", "rows")


def test_folders_and_what_would_lie_below_a_file(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "some.yaml"):
        with pytest.raises(InputError, match=f"cannot read {path}: .*; expected a YAML file"):
            read_yaml(path, "other.yaml", "rows")
