"""Settings of files that the user names, and of runs."""

import pytest

from dim_lightning.errors import InputError
from dim_lightning.run.settings import read_yaml


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: [", "as YAML: line 1: "),
        (b"a: 2024-13-45", "as YAML: month must be in 1..12"),
        (b"[" * 1100, "as YAML: it is nested too deeply"),
        (b"a: \xff", "as YAML: it is not text"),
        (b"a: 1\nb: [{c: 1, c: 1}]", "as YAML: line 2: c stands there for the second time"),
        (b"a: {<<: {b: 1, b: 2}}", "as YAML: line 1: b stands there for the second time"),
        (b"a: {1: 2}", "as YAML: line 1: the key 1 is no name"),
        (b"a: 1\n? \n: 2", "as YAML: line 2: the key '' is no name"),
        (b"? [1, 2]\n: 3", "as YAML: line 1: the key of a sequence is no name"),
        (b"x: 1\na: &a {b: [*a]}", "as YAML: line 2: it contains itself by an alias"),
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


def test_merges_and_aliases_mean_what_they_mean_in_any_yaml(tmp_path):
    path = tmp_path / "some.yaml"
    path.write_text(
        "a: &a {width: 1, depth: 2}\nb: &b {<<: *a, width: 3}\nc: {<<: *b}\nd: [*a, *b, '1']\n"
    )
    a, b = {"width": 1, "depth": 2}, {"width": 3, "depth": 2}
    assert read_yaml(path) == {"a": a, "b": b, "c": b, "d": [a, b, "1"]}


def test_folders_and_what_would_lie_below_a_file(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "some.yaml"):
        with pytest.raises(InputError, match=f"cannot read {path}: .*; expected a YAML file"):
            read_yaml(path, "other.yaml", "rows")
