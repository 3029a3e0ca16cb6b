"""A run that somebody stopped, which is no error."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning.pytorch.utilities.exceptions import SIGTERMException

from dim_lightning.run.folder import LAST_CHECKPOINT
from dim_lightning.run.signals import Terminated

INTERRUPTED, TERMINATED = 130, 143  # 128 + SIGINT and 128 + SIGTERM, as shells have it


class StoppedError(Exception):
    """Ctrl-C or a request to terminate.

    Args:
        run_dir: the run's folder.
        code: the exit code.
        command: what was stopped.
    """

    def __init__(self, run_dir: Path, code: int, command: str = "fit") -> None:
        message = "interrupted" if code == INTERRUPTED else "terminated"
        if command == "fit":
            kept = (run_dir / LAST_CHECKPOINT).is_file()
            message += "" if kept else " before there was a checkpoint"
            message += f"; to go on: python -m dim_lightning fit --resume {run_dir}"
        super().__init__(message)
        self.code = code


@contextmanager
def explained_stops(run_dir: Path, command: str) -> Iterator[None]:
    """Says how to go on after Ctrl-C or a request to terminate, which Lightning makes exits of.

    Args:
        run_dir: the run's folder.
        command: what may be stopped.

    Raises:
        StoppedError: somebody stopped it.
    """
    try:
        yield
    except SIGTERMException as error:
        raise StoppedError(run_dir, TERMINATED, command) from error
    except SystemExit as error:
        stopped = error.__context__
        if isinstance(stopped, KeyboardInterrupt):
            code = TERMINATED if isinstance(stopped, Terminated) else INTERRUPTED
            raise StoppedError(run_dir, code, command) from error
        raise
