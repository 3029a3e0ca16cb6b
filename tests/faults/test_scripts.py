"""The faults that are tried on processes of their own, each by its script."""

import subprocess
import sys
from pathlib import Path

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
def test_a_fault(name):
    words = [sys.executable, str(FOLDER / f"{name}.py")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=1800)
    if done.stdout.startswith("skipped"):
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr
