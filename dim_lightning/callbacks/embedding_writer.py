"""The codes of `predict`, in a table that pandas, DuckDB and viewers of embeddings open."""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import lightning as L
import numpy as np
import pyarrow as pa
import torch
from lightning.pytorch.callbacks import Callback
from pyarrow import parquet
from torch import Tensor

from dim_lightning.callbacks.observation import data_of
from dim_lightning.data import Split
from dim_lightning.data.sources.listing import as_text
from dim_lightning.evaluation.projection import principal_projection
from dim_lightning.run.folder import explained

EMBEDDINGS = "embeddings.parquet"
GROUP_ROWS = 4096  # rows that are kept in memory before they are written as a row group


class EmbeddingWriter(Callback):
    """Writes `embeddings.parquet` into the run's folder, whole or not at all, a row an image.

    Columns: `index` int64 (position in the split, ascending), `path` string (of the file, as the
    data set was given; null where the images were no files), `label` string (name of the class;
    null where unlabelled), `vector` fixed-size list of d float32 (the code). Rows are written as
    they come, so that memory does not grow with them. What several processes computed is put
    together, each image once.

    Args:
        coordinates: 'pca' adds the columns `x` and `y` float32, the first two principal components
            of the codes that are written; null adds none.
    """

    def __init__(self, coordinates: Literal["pca"] | None = None) -> None:
        self.coordinates = coordinates
        self._rows: _GrowingFile | None = None
        self._names: list[str] | None = None

    def on_predict_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts anew: beside the file to be, or in a place of its own if others write too."""
        self._names = _images(trainer).names
        path = _target(trainer)
        with explained(path):
            self._rows = _GrowingFile(path.parent if trainer.world_size == 1 else None)

    def on_predict_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Adds the codes of this batch."""
        assert self._rows is not None
        with explained(_target(trainer)):
            self._rows.add(_table(outputs, self._names, data_of(trainer).class_names))

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Puts the file in place, on the first process."""
        rows, self._rows, path = self._rows, None, _target(trainer)
        assert rows is not None
        try:
            with explained(path):
                rows.close()
                alone = trainer.world_size == 1
                with_coordinates = self.coordinates is not None
                place = _place_with_coordinates if with_coordinates else _GrowingFile.place
                count = place(rows, path) if alone else _join(trainer, rows, path, place)
        finally:
            rows.remove()
        if trainer.is_global_zero and count:
            pl_module.print(f"{count:,} codes written to {path}")

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Leaves nothing behind."""
        rows, self._rows = self._rows, None
        if rows is not None:
            rows.remove()


class _GrowingFile:
    """A Parquet file under a passing name, written in row groups of about GROUP_ROWS.

    Args:
        folder: where it lies; the system's temporary folder if None.
    """

    def __init__(self, folder: Path | None) -> None:
        handle, name = tempfile.mkstemp(dir=folder, prefix=f".{EMBEDDINGS}.")
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
        """Renames the closed file to `path`, unless it has no rows; how many it has."""
        if self._count:
            self.path.chmod(0o644)
            self.path.replace(path)
        return self._count

    def remove(self) -> None:
        """Removes the file, if it still has its passing name."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    def _write(self) -> None:
        rows = pa.concat_tables(self._waiting).combine_chunks()
        if self._writer is None:
            # vectors do not repeat: a dictionary of them would be tried in vain
            dictionary = ["path", "label"]
            self._writer = parquet.ParquetWriter(self._file, rows.schema, use_dictionary=dictionary)
        self._writer.write_table(rows, row_group_size=len(rows))
        self._count += len(rows)
        self._waiting = []


def _place_with_coordinates(rows: _GrowingFile, path: Path) -> int:
    """Puts the rows of a closed file in place, with their coordinates; how many there are."""
    if rows.is_empty:
        return 0
    projection = principal_projection(_vectors(table) for table in rows.groups())
    wider = _GrowingFile(path.parent)
    try:
        for table in rows.groups():
            found = projection.of(_vectors(table))
            for column, name in enumerate("xy"):
                table = table.append_column(name, pa.array(found[:, column], pa.float32()))
            wider.add(table)
        wider.close()
        return wider.place(path)
    finally:
        wider.remove()


def _vectors(rows: pa.Table) -> np.ndarray:
    """Their codes, [n, d]."""
    return rows["vector"].combine_chunks().flatten().to_numpy().reshape(len(rows), -1)


def _target(trainer: L.Trainer) -> Path:
    return Path(trainer.default_root_dir) / EMBEDDINGS


def _images(trainer: L.Trainer) -> Split:
    """The images that are predicted."""
    loader: Any = trainer.predict_dataloaders
    return loader.dataset


def _table(
    outputs: Mapping[str, Tensor], names: Sequence[str] | None, class_names: Sequence[str] | None
) -> pa.Table:
    """The rows of one batch."""
    vectors = outputs["embedding"].float().cpu().numpy()
    indices, labels = outputs["indices"].tolist(), outputs["labels"].tolist()
    paths = [as_text(names[index]) if names else None for index in indices]
    classes = [
        as_text(class_names[label]) if class_names and label >= 0 else None for label in labels
    ]
    return pa.table(
        {
            "index": pa.array(indices, pa.int64()),
            "path": pa.array(paths, pa.string()),
            "label": pa.array(classes, pa.string()),
            "vector": pa.FixedSizeListArray.from_arrays(
                pa.array(vectors.reshape(-1)), vectors.shape[1]
            ),
        }
    )


def _join(
    trainer: L.Trainer,
    rows: _GrowingFile,
    path: Path,
    place: Callable[[_GrowingFile, Path], int],
) -> int:
    """Writes the rows of all processes to `path`, on the first one; how many there are.

    Every process sends a row group a round. Samplers deal the images out in turn, so a round is a
    run of images, and the file is in order; they may deal some out twice.
    """
    whole = _GrowingFile(path.parent) if trainer.is_global_zero else None
    seen = np.zeros(len(_images(trainer)), bool)
    try:
        for tables in _rounds(trainer.world_size, rows):
            if whole is not None:
                whole.add(_once(pa.concat_tables(tables), seen))
        if whole is None:
            return 0
        whole.close()
        return place(whole, path)
    finally:
        if whole is not None:
            whole.remove()


def _rounds(world_size: int, rows: _GrowingFile) -> Iterator[list[pa.Table]]:
    """One row group of each process that has one left, until none has."""
    groups = rows.groups()
    while True:
        gathered: list[Any] = [None] * world_size
        torch.distributed.all_gather_object(gathered, next(groups, None))
        tables = [table for table in gathered if table is not None]
        if not tables:
            return
        yield tables


def _once(rows: pa.Table, seen: np.ndarray) -> pa.Table:
    """The rows in order, without those of images seen before; marks theirs as seen."""
    indices, first = np.unique(rows["index"].to_numpy(), return_index=True)
    new = ~seen[indices]
    seen[indices] = True
    return rows.take(first[new])
