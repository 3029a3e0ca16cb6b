"""Runs one command and turns how it ended into an exit code and, at most, one short message."""

import errno
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from omegaconf.errors import GrammarParseError, OmegaConfBaseException

from dim_lightning.cli.ending import StoppedError
from dim_lightning.cli.overview import OWN_COMMANDS
from dim_lightning.cli.place import (
    is_first_process,
    process_number,
    with_run_files,
)
from dim_lightning.cli.resources import amount_of, is_out_of_memory
from dim_lightning.errors import InputError, cut, printable
from dim_lightning.run.signals import terminable
from dim_lightning.writing import DISK_ERRORS, disk_error

USER_ERROR = 2
_NO_HOME = "Could not determine home directory."  # what Path.expanduser says
_LONGEST = 200  # of a file's name in a message
_GONE = frozenset({errno.EIO, errno.ESTALE})  # a disk that fails, or that went away
# What the system says of files that nothing is wrong with but their name, their rights or the disk
_BARRED = frozenset(
    {errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTCONN, *_GONE}
)

_HINTS = (
    "💡 Tip",  # advertises other products
    "GPU available",  # the opening line says what is used
    "TPU available",
    "You are using a CUDA device",  # asks for a call; the command line has --matmul_precision
    "LOCAL_RANK: ",
    "Using bfloat16 Automatic Mixed Precision",
    "Seed set to",
    "`Trainer.fit` stopped",
    "Restoring states",
    "Loading `train_dataloader` to estimate",
    "Restored all states",
    "Loaded model weights",
    "Received SIGTERM",  # said once, by us
    "\nDetected KeyboardInterrupt",
)
_NOISE = (
    # workers cost more than they give for images that lie decoded in memory
    ".*does not have many workers.*",
    # between Lightning 2.6 and newer versions of torch; nothing to be done about it here
    ".*LeafSpec.*deprecated.*",
    # what Lightning 2.6 still calls in jsonargparse 4
    r"(?s)\s*By default only one JsonargparseDeprecationWarning.*",
    r"(?s)\s*.*(add_instantiator|instantiate_classes|skip_none).*was deprecated.*",
    # an epoch of few steps is not a mistake
    r".*The number of training batches \(\d+\) is smaller than the logging interval.*",
    # the callbacks of fit have nothing to do in the other commands
    ".*callbacks used to create the checkpoint need to be provided.*'RunRecord'.*",
    # a run that starts from another run's checkpoint keeps files of its own
    "The dirpath has changed from.*",
    # a resumed run goes on in its own folder
    ".*Checkpoint directory .* exists and is not empty.*",
    # said by us, or refused
    r"You passed `Trainer\(accelerator='cpu', precision='16-mixed'\)`.*",
    # where an epoch was left is known without a state of the loader
    ".*resuming from a checkpoint that ended before the epoch ended.*",
)


def run(words: list[str]) -> int:
    """Runs one command, given as words after the program's name; the exit code."""
    try:
        with _quiet(), terminable():
            return _dispatch(words)
    except InputError as error:
        return _complain(str(error))
    except OmegaConfBaseException as error:
        key = str(error.full_key or "").partition(".")[2]  # without the command
        said = str(error).splitlines()[0]
        if isinstance(error, GrammarParseError):
            said = "${ begins a reference such as ${data.batch_size}, and what follows is none"
        return _complain(f"{key or 'the configuration'}: {said}")
    except OSError as error:
        if error.errno in DISK_ERRORS:
            return _complain(str(disk_error(error)))
        if error.errno not in (_BARRED if error.filename else _GONE):
            raise  # of a process or a connection
        return _complain(
            f"{cut(str(error.filename or 'a file'), _LONGEST)}: {error.strerror}; expected files "
            "and folders that you can read, and write where something is kept; see to its name, "
            "its rights and its disk, or take a copy of it"
        )
    except (MemoryError, RuntimeError) as error:
        if str(error) == _NO_HOME:
            return _complain(
                "a path begins with ~, and there is no such home here; expected the whole path; "
                "write it out, or set the variable HOME"
            )
        if not is_out_of_memory(error):
            raise
        return _complain(
            f"out of memory before training: {amount_of(error)} more could not be had; expected a "
            "model and data that fit; choose a smaller model.encoder or data.image_size"
        )
    except StoppedError as stop:
        # Whoever started the processes kills the first one, which still writes, when another one
        # ends with another code than 0: Lightning, torchrun and srun do.
        return _say(str(stop), stop.code) if is_first_process() else 0
    except KeyboardInterrupt as stop:
        stopped = StoppedError(stop)
        return _say(str(stopped), stopped.code)
    except SystemExit as end:  # --help, and what the parser prints
        return end.code if isinstance(end.code, int) else int(end.code is not None)


def _dispatch(words: list[str]) -> int:
    if len(words) > 1 and words[0].startswith("-"):
        raise InputError(f"{words[0]} stands first; expected a command there, its options after it")
    if words and words[0] in OWN_COMMANDS:
        module = import_module(f"dim_lightning.cli.{words[0]}")  # each loads what it needs
        return getattr(module, words[0])(words[1:])
    _check_text(words)
    from dim_lightning.cli.command_line import CommandLine

    CommandLine(with_run_files(words))
    return 0


def _check_text(words: list[str]) -> None:
    """Refuses what config.yaml could not hold.

    Raises:
        InputError: a word is no text in the encoding of the locale, such as é where that is ASCII.
    """
    for word in words:
        shown = word.encode("utf-8", "backslashreplace").decode()
        if shown != word:
            raise InputError(
                f"{shown} is no text in this locale's encoding, {sys.getfilesystemencoding()}; "
                "expected UTF-8; set PYTHONUTF8=1 in the environment, or rename what it names"
            )


@contextmanager
def _quiet() -> Iterator[None]:
    """Leaves out the hints and warnings listed above, and nothing else."""

    def useful(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        return not message.partition("] ")[2].startswith(_HINTS) and not message.startswith(_HINTS)

    names = [n for n in logging.root.manager.loggerDict if n.startswith("lightning")]
    loggers = [logging.getLogger(name) for name in names]
    for logger in loggers:
        logger.addFilter(useful)
    try:
        with warnings.catch_warnings():
            for message in _NOISE:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for logger in loggers:
            logger.removeFilter(useful)


def _complain(message: str) -> int:
    """Says it on every process: what is wrong may be so on one alone, such as its memory."""
    where = "" if is_first_process() else f" on process {process_number()}"
    sys.stderr.write(f"error{where}: {printable(message)}\n")
    return USER_ERROR


def _say(message: str, code: int) -> int:
    if is_first_process():
        sys.stderr.write(f"{message}\n")
    return code
