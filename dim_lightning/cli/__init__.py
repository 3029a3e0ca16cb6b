"""The command line: fit, validate, test, predict, compare, sweep, table, export, shard, doctor.

```
overview      `--help`, said without loading what does it
entry         runs one command: how it ended as an exit code and, at most, one short message
ending        what somebody stopped, which is no error
resources     memory that runs out, data workers that are killed: what to set then

words         options of a command line, looked at before it is parsed
parser        of the commands that have a configuration
plain_parser  of those that have none
messages      parse errors in one short sentence, with the nearest valid name
candidates    what a key may be given, by its type: classes, or estimators

parsing       a command line of fit, validate, test or predict, parsed and checked
command_line  what it asks for, built, checked and run in the folder of a run
method        which class has its settings below `model`
callbacks     Lightning's own, of which some do not go together with how a run is kept
building      settings that parse and yet cannot be built
checks        what is looked at before a run folder is made
one_view      the step of the first validation, which has one view, tried before training
device        whether it computes what is asked for, and how quickly
speed         how long a small convolution takes in each precision
place         which folder a process works in
job           a job that is started again by itself goes on with its run
resume        where a run goes on, and which settings may be others than before
pictures      whether they are those that a run was begun with
inputs        config.yaml and environment.json, with which a run was started
trainer       the Trainer of a run: callbacks, loggers and files in its folder
compiling     the encoder and the critics through torch.compile
resolved      what a command line means, without running it

compare       finished runs in one figure
sweep         a sweep file of W&B, run on this machine
table         the runs that a table file lists, and the table that they make
table_job     what a table file and the command line ask for, as `fit` would take it
export        the encoder of a run as files for people who have none of this code
shard         the pictures of a source as shards
doctor        whether this machine can train
```
"""

import gc
import io
import locale
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress

_STOPPED = (130, 143)  # as in cli.ending, which loads what is heavy


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: the command line after the program's name; the process's own if None.

    Returns:
        The exit code: 0, 2 for what the user can put right, 130 after Ctrl-C, 143 when terminated,
        141 when the program that read the output has ended, as head does.
    """
    own_process = arguments is None
    words = list(sys.argv[1:] if arguments is None else arguments)
    _be_sure_of_text()
    if own_process:
        _wait_briefly()
    code = _ended(words, own_process)
    if own_process and code in _STOPPED and "WANDB_SWEEP_ID" in os.environ:
        _end_by_signal(code - 128)
    return code


def _ended(words: list[str], own_process: bool) -> int:
    """Runs one command; how it ended."""
    try:
        code = _started(words, own_process)
        if sys.stdout is not None:  # as where it was closed
            sys.stdout.flush()  # what cannot be said any more is an error now, not at the exit
        return code
    except BrokenPipeError:
        from dim_lightning.run.signals import leave_ended_pipes

        if not leave_ended_pipes(os.devnull):
            raise  # of another connection
        sys.stderr.write("the program that read the output has ended\n")
        return 141  # 128 + SIGPIPE, as shells have it
    except KeyboardInterrupt:  # while packages load; each command has its own words for it later
        sys.stderr.write("interrupted\n")
        return _STOPPED[0]


def _end_by_signal(number: int) -> None:
    """Ends the process as one without a handler would end; to a shell this is 128 more than it.

    An agent of Weights & Biases takes any other end of a trial that it stopped for a failure, and
    gives up after a few.
    """
    sys.stderr.flush()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _be_sure_of_text() -> None:
    """Makes the locale's encoding UTF-8, and output that cannot be shown no error.

    In another locale, such as C, jsonargparse would read configurations in its encoding; ours hold
    characters such as ± in their comments, and names of folders may.
    """
    if locale.getpreferredencoding(False).lower().replace("-", "") != "utf8":
        for name in ("UTF-8", "C.UTF-8"):  # macOS has the first, Linux the second
            with suppress(locale.Error):
                locale.setlocale(locale.LC_CTYPE, name)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _started(words: list[str], own_process: bool) -> int:
    if words in (["--help"], ["-h"]):
        from dim_lightning.cli.overview import overview

        sys.stdout.write(overview())
        return 0
    if words == ["--version"]:
        from dim_lightning import __version__

        sys.stdout.write(f"dim_lightning {__version__}\n")
        return 0
    if words[:1] == ["doctor"]:  # which has to work where the imports of the others do not
        from dim_lightning.cli.doctor import doctor

        return doctor(words[1:])
    with _not_collected() if own_process else nullcontext():
        from dim_lightning.cli.entry import run  # the heavy imports wait until somebody asks

    return run(words)


def _wait_briefly() -> None:
    """Lets a thread that waits for the others sleep soon, unless the environment says otherwise.

    PyTorch's threads on Linux, which are libgomp's, wait for each other after every operation, by
    default for milliseconds without giving up their core. Where another program computes too, it is
    that core that the last of them waits for, and a training is tens of times as slow.
    """
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = "10000"  # looks, of which libgomp's own number is 300,000


@contextmanager
def _not_collected() -> Iterator[None]:
    """What is loaded within stays, and Python's garbage collector leaves it alone for good.

    Packages make three quarters of a million objects. To look through them for garbage, again and
    again while they load and once more soon after, was a third of the time of `fit --help`. A
    process of somebody else's has its own to collect: there nothing is changed.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


__all__ = ["main"]
