"""Runs that are killed, also in the middle of a write, end as if they never had been."""

from pathlib import Path

import forked
import pytest

PROJECT = Path(__file__).parent.parent.parent
SCRIPT = PROJECT / "experiments" / "faults" / "kill.py"


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_bit(tmp_path):
    """In a step, before both renames of a checkpoint's write, and SIGTERM; in a step of two."""
    words = ["--processes", "1", "2", "--kills", "4", "1"]
    own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT)}
    done = forked.run(tmp_path, forked.script, SCRIPT, *words, **own)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == 1 + 4 + 1
