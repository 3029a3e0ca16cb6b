"""Settings of files that the user names, and of runs."""

import pytest

from dim_lightning.errors import InputError
from dim_lightning.run.settings import changes, differing, flat_settings, read_yaml


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
        (b"recursive: 1\nrecursive: 2", "as YAML: line 2: recursive stands there for the second"),
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


STORED = {"lr": 0.1, "same": 1, "of": {"init_args": {"widths": [1]}}, "critic": {"path": "A"}}
ASKED = {"lr": 0.5, "same": 1, "of": {"init_args": {"widths": [2]}}, "critic": None, "new": None}


def test_settings_that_differ():
    """A class that is gone, or come, is one difference."""
    expected = [
        ("lr", 0.1, 0.5),
        ("of.init_args.widths", [1], [2]),
        ("critic", {"path": "A"}, None),
    ]
    assert list(differing(STORED, ASKED)) == expected
    assert list(differing(STORED, ASKED, "nothing")) == [*expected, ("new", "nothing", None)]
    assert [old for _, _, old in differing(ASKED, STORED)] == [old for _, old, _ in expected]
    assert list(differing(STORED, STORED)) == []


def test_the_first_few_changes_are_told():
    asked, stored = flat_settings(ASKED), flat_settings(STORED)
    assert changes(asked, stored) == (
        "lr is 0.5 now, 0.1 then; of.init_args.widths is [2] now, [1] then; "
        "critic.path is None now, A then"
    )
    few = {str(number): number for number in range(6)}
    assert changes({}, few).endswith("3 is None now, 3 then; and 2 more")
