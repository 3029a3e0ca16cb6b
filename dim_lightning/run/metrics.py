"""metrics.csv: what was logged, a row a step, and reading it back."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from dim_lightning.errors import InputError
from dim_lightning.run.folder import METRICS
from dim_lightning.writing import reach_disk, write_atomically

_POSITION = ("epoch", "step")


class Point(NamedTuple):
    """One logged number: epoch (from 0; -1 where none was logged), optimiser step, value."""

    epoch: int
    step: int
    value: float


class MetricsFile(Logger):
    """Writes metrics.csv straight into the run folder, each row as it comes.

    Lightning's own CSVLogger keeps rows in memory until its next flush, so a killed run loses
    them, and it deletes the file of a run that goes on. Here a row is on disk when it is logged;
    a key that appears late adds a column (the file is rewritten beside and renamed).
    """

    def __init__(self, run_dir: str | Path) -> None:
        super().__init__()
        self._path = Path(run_dir) / METRICS
        self._columns: list[str] = []

    @property
    def name(self) -> str:
        """The experiment: the name of the folder that holds the numbered runs."""
        return self._path.parent.parent.name

    @property
    def version(self) -> str:
        """The number of the run."""
        return self._path.parent.name

    @property
    def save_dir(self) -> str:
        """The run folder."""
        return str(self._path.parent)

    @rank_zero_only
    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Nothing: config.yaml has them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Adds one row."""
        row = {"epoch": "", "step": "" if step is None else str(step)}
        row.update({name: _number(value) for name, value in metrics.items()})
        if not self._columns:
            self._columns = _read_table(self._path)[0]
        new = [name for name in row if name not in self._columns]
        if new:
            names = sorted(set(self._columns + new) - set(_POSITION))
            self._columns = [*_POSITION, *names]
            rows = _read_table(self._path)[1]
            write_atomically(self._path, table_text(self._columns, [*rows, row]))
        else:
            with self._path.open("a", encoding="utf-8", newline="") as file:
                file.write(table_text(self._columns, [row], header=False))

    @rank_zero_only
    def keep(self, num_rows: int) -> None:
        """Drops what follows the first `num_rows` rows: a run that goes on logs it anew.

        Raises:
            InputError: what stays is damaged.
        """
        columns, rows = _read_table(self._path)
        with _explained(self._path):
            _series(rows[:num_rows])
        if columns:
            write_atomically(self._path, table_text(columns, rows[:num_rows]))

    def sync(self) -> int:
        """Sees to it that all rows have reached the disk; how many there are."""
        if not self._path.is_file():
            return 0
        with self._path.open("rb") as file:
            reach_disk(file.fileno())
            return sum(1 for _ in file) - 1  # without the header; long runs have 100,000 rows


def read_metrics(run_dir: Path) -> dict[str, list[Point]]:
    """Metric -> its values in the order they were logged; empty if nothing was logged yet.

    Raises:
        InputError: the file is damaged.
    """
    path = run_dir / METRICS
    rows = _read_table(path)[1]
    with _explained(path):
        return _series(rows)


def _series(rows: list[dict[str, str]]) -> dict[str, list[Point]]:
    series: dict[str, list[Point]] = {}
    for row in rows:
        epoch, step = int(float(row["epoch"] or -1)), int(float(row["step"] or 0))
        for name, value in row.items():
            if name not in _POSITION and value:
                series.setdefault(name, []).append(Point(epoch, step, float(value)))
    return series


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
    """Rows of cells as comma-separated values, the same on any system."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def best(points: list[Point]) -> Point:
    """The largest value; of equal ones the earliest."""
    return max(points, key=lambda point: point.value)


def _number(value: Any) -> str:
    """Nine significant digits give a float32 back exactly."""
    return str(value) if isinstance(value, int) else f"{float(value):.9g}"


def table_text(
    columns: Sequence[str], rows: Iterable[Mapping[str, str]], header: bool = True
) -> str:
    """Rows as comma-separated values, of these columns alone."""
    cells = [[row.get(name, "") for name in columns] for row in rows]
    return csv_text([columns, *cells] if header else cells)


def _read_table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and complete rows: a last line cut short by a crash is left out."""
    if not path.is_file():
        return [], []
    with _explained(path), path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows = [row for row in reader if None not in row.values()]
        return list(reader.fieldnames or []), rows


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise InputError(f"{path} is not readable as a table ({error}); bring it back") from error
