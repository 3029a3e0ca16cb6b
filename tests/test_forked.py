"""Processes of tests end with their test."""

import subprocess
import sys
import time

import pytest
from forked import CONTEXT, Forked


def _wait_with_another(writer):
    subprocess.Popen(["sleep", "600"], pass_fds=[writer.fileno()])
    sys.stdout.write("both are at work\n")
    sys.stdout.flush()
    time.sleep(600)


@pytest.mark.slow
def test_what_goes_on_is_ended_with_what_it_started_and_its_words_are_shown(tmp_path):
    reader, writer = CONTEXT.Pipe(duplex=False)
    with Forked(tmp_path, _wait_with_another, writer) as process:
        writer.close()
        while not (tmp_path / "out").read_text() and process.running():
            time.sleep(0.05)
        with pytest.raises(AssertionError, match=r"goes on after 0 s.*\nboth are at work"):
            process.ended(timeout=0)
    assert reader.poll(60)
    with pytest.raises(EOFError):  # neither of them has the other end any more
        reader.recv()
