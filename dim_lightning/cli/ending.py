"""A run that somebody stopped, which is no error."""

from pathlib import Path

from dim_lightning.run.folder import LAST_CHECKPOINT

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
