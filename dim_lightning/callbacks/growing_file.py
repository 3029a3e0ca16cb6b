"""A Parquet file that grows row group by row group, and is put in place when it is whole."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from dim_lightning.writing import make_readable, reach_disk, sync_folder

GROUP_ROWS = 4096  # rows that are kept in memory before they are written as a row group
PREFIX = ".embeddings.parquet."  # of its passing name


class GrowingFile:
    """A Parquet file under a passing name, written in row groups of about GROUP_ROWS.

    Args:
        folder: where it lies; the system's temporary folder if None.
    """

    def __init__(self, folder: Path | None) -> None:
        handle, name = tempfile.mkstemp(dir=folder, prefix=PREFIX)
        self.path = Path(name)
        self._file = os.fdopen(handle, "wb")
        self._writer: parquet.ParquetWriter | None = None
        self._waiting: list[pa.Table] = []
        self._count = 0

    def add(self, rows: pa.Table) -> None:
        """Adds rows."""
        self._waiting.append(rows)
        if sum(map(len, self._waiting)) >= GROUP_ROWS:
            self._write()

    def close(self) -> None:
        """Writes what waits, and the file's end."""
        if self._waiting:
            self._write()
        if self._writer is not None:
            self._writer.close()
        self._file.close()

    @property
    def is_empty(self) -> bool:
        """Whether no row was written."""
        return self._count == 0

    def groups(self) -> Iterator[pa.Table]:
        """The row groups of the closed file, one at a time."""
        if self._count:
            with parquet.ParquetFile(self.path) as file:
                for number in range(file.num_row_groups):
                    yield file.read_row_group(number)

    def place(self, path: Path) -> int:
        """Renames the closed file to `path`, on the disk, unless it has no rows; their number."""
        if self._count:
            make_readable(self.path)
            with self.path.open("rb") as file:
                reach_disk(file.fileno())
            self.path.replace(path)
            sync_folder(path.parent)
        return self._count

    def remove(self) -> None:
        """Removes the file, if it still has its passing name."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    def _write(self) -> None:
        rows = pa.concat_tables(self._waiting).combine_chunks()
        if self._writer is None:
            # vectors do not repeat: a dictionary of them would be tried in vain
            dictionary = ["path", "label", "part"]
            self._writer = parquet.ParquetWriter(self._file, rows.schema, use_dictionary=dictionary)
        self._writer.write_table(rows, row_group_size=len(rows))
        self._count += len(rows)
        self._waiting = []
