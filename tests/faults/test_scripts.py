"""The faults that are tried on processes of their own, each by its script."""

from pathlib import Path

import forked
import pytest

FOLDER = Path(__file__).parents[2] / "experiments" / "faults"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "scene")
SHORT = [name for name in SCRIPTS if name != "kill"]  # which tests/cli/test_kill.py tries
TABLE = (FOLDER.parent / "FAULTS.md").read_text()


def test_every_script_stands_in_the_table():
    assert len(SCRIPTS) >= 7
    for name in SCRIPTS:
        assert f"faults/{name}.py" in TABLE


@pytest.mark.slow
@pytest.mark.parametrize("name", SHORT)
def test_a_fault(name, tmp_path):
    done = forked.run(tmp_path, forked.script, FOLDER / f"{name}.py")
    if done.stdout.startswith("skipped"):
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr
