"""What somebody stopped, which is no error."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning.pytorch.utilities.exceptions import SIGTERMException

from dim_lightning.run.environment import full_command
from dim_lightning.run.folder import LAST_CHECKPOINT
from dim_lightning.run.signals import Terminated


class StoppedError(Exception):
    """Ctrl-C or a request to terminate.

    Args:
        stop: what was raised.
        again: the command that goes on; None if there is none.
        moment: when it was, if that is worth a word.

    Attributes:
        code: the exit code.
    """

    def __init__(self, stop: BaseException, again: str | None = None, moment: str = "") -> None:
        terminated = isinstance(stop, Terminated | SIGTERMException)
        said = f"{'terminated' if terminated else 'interrupted'} {moment}".rstrip()
        super().__init__(f"{said}; to go on: {again}" if again else said)
        self.code = 143 if terminated else 130  # 128 + SIGTERM and 128 + SIGINT, as shells have it


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
        raise _stopped(error, run_dir, command) from error
    except SystemExit as error:
        stopped = error.__context__
        if isinstance(stopped, KeyboardInterrupt):
            raise _stopped(stopped, run_dir, command) from error
        raise


def _stopped(stop: BaseException, run_dir: Path, command: str) -> StoppedError:
    if command != "fit":
        return StoppedError(stop)
    kept = (run_dir / LAST_CHECKPOINT).is_file()
    again = full_command(["fit", "--resume", str(run_dir)])
    return StoppedError(stop, again, "" if kept else "before there was a checkpoint")
