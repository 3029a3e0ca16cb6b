"""A run that somebody stopped, which is no error."""

from pathlib import Path

from dim_lightning.run.folder import LAST_CHECKPOINT

INTERRUPTED, TERMINATED = 130, 143  # 128 + SIGINT and 128 + SIGTERM, as shells have it


class StoppedError(Exception):
    """Ctrl-C or a request to terminate.

    Args:
        run_dir: the run's folder.
        code: the exit code.
    """

    def __init__(self, run_dir: Path, code: int) -> None:
        kept = (run_dir / LAST_CHECKPOINT).is_file()
        advice = f"python -m dim_lightning fit --run {run_dir}" if kept else "no epoch was finished"
        what = "interrupted" if code == INTERRUPTED else "terminated"
        super().__init__(f"{what}; {'to go on: ' if kept else ''}{advice}")
        self.code = code
