"""One command in this process, and everything that may not happen."""

import io
import signal
import traceback
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest

from dim_lightning.cli import main

LONGEST = 1200
SECONDS = 120  # of computing: the machine may be busy with other things


class Outcome(NamedTuple):
    code: int | None
    error: str
    problem: str


class HangError(Exception):
    """The command goes on and on."""


def attempt(words, keys=()):
    """Runs a command.

    Args:
        words: the command line.
        keys: one of these has to be named by an error, by its last part at least; if any.
    """
    out, err = io.StringIO(), io.StringIO()
    before = signal.signal(signal.SIGPROF, _hang)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        with redirect_stdout(out), redirect_stderr(err), pytest.MonkeyPatch.context() as patch:
            patch.setenv("WANDB_MODE", "offline")
            code = main(words)
    except BaseException:
        return Outcome(None, err.getvalue(), traceback.format_exc())
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    return Outcome(code, err.getvalue(), _problem(code, out.getvalue(), err.getvalue(), keys))


def files_in(folder: Path):
    """Content of every file, to compare with later."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _problem(code, out, err, keys):
    if "Traceback" in err + out:
        return "a traceback"
    if code not in (0, 1, 2):
        return f"exit code {code}"
    if code != 2:
        return ""
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    if len(errors) != 1:
        return f"{len(errors)} errors"
    message = err[err.index("error: ") :].strip()
    if len(message) > LONGEST:
        return f"an error of {len(message)} characters"
    if len(message.removeprefix("error: ").split()) < 3:
        return "an error that says nothing"
    parts = {part for key in keys for part in ([key] if "/" in key else key.split("."))}
    names = {part for part in parts if not part.isdigit()}
    if names and not any(name in message for name in names):
        return f"an error that names none of {sorted(names)}"
    return ""


def _hang(*_):
    raise HangError(f"more than {SECONDS} seconds")
