"""The codes of `predict`, in a table that pandas, DuckDB and viewers of embeddings open."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import lightning as L
import numpy as np
import pyarrow as pa
import torch
from lightning.pytorch.callbacks import Callback
from pyarrow import parquet
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from dim_lightning.callbacks.growing_file import GrowingFile
from dim_lightning.callbacks.observation import data_of, features_of, tensors_of, trained
from dim_lightning.data import Batch, Split
from dim_lightning.data.sources.listing import as_text
from dim_lightning.encoders import Features
from dim_lightning.errors import InputError
from dim_lightning.evaluation.projection import principal_projection
from dim_lightning.writing import explained

EMBEDDINGS = "embeddings.parquet"
_ASKED = ("embedding", "labels", "indices")  # of the module's step
# of the file's metadata
SOURCE, LAYER, STEPS = b"dim_lightning.source", b"dim_lightning.layer", b"dim_lightning.steps"


class EmbeddingWriter(Callback):
    """Writes the codes of `predict` to a Parquet file, whole or not at all, a row an image.

    Columns: `index` int64 (position among the images that are predicted, ascending), `path` string
    (of the file, absolute of a PictureFolder; null where the images were no files), `label` string
    (name of the class; null where unlabelled), `part` string (the split that it is of: train, val
    or test; null where the loader is one of your own), `vector` fixed-size list of d float32 (the
    code), and of a stream `row` int64 (position in its part of the source, whose order the shards
    do not keep). Which images these are is `data.predicted`. Rows are written as they
    come, so that memory does not grow with them. What several processes computed is put together,
    each image once. The file's metadata names the data set (`dim_lightning.source`), the layer
    (`dim_lightning.layer`) and the steps that the weights were trained for (`dim_lightning.steps`);
    a file of the codes of another data set is not overwritten.

    Args:
        coordinates: 'pca' adds the columns `x` and `y` float32, the first two principal components
            of the codes that are written; None adds none.
        file: where to write, a name ending in .parquet; in the run's folder unless it is absolute.
        layer: the encoder's layer that is the `vector` in place of the code, such as conv; layers
            before the code often serve a probe better.

    Raises:
        InputError: `file` has another ending.
    """

    def __init__(
        self,
        *,
        coordinates: Literal["pca"] | None = None,
        file: str = EMBEDDINGS,
        layer: str | None = None,
    ) -> None:
        if not file.endswith(".parquet"):
            raise InputError(f"embeddings.file is {file!r}; expected a name that ends in .parquet")
        self.coordinates = coordinates
        self.file = file
        self.layer = layer
        self._rows: GrowingFile | None = None
        self._names: list[str] | None = None
        self._split_names: np.ndarray | None = None
        self._source_rows: np.ndarray | None = None
        self._hook: RemovableHandle | None = None
        self._seen: Tensor | None = None  # what the layer gave last

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Looks, before prediction, at the place of the file.

        Raises:
            InputError: its folder is missing and not the Trainer's, or the file holds the codes of
                another data set.
        """
        if stage != "predict":
            return
        target, folder = self._target(trainer), Path(trainer.default_root_dir)
        if target.parent == folder:  # as every callback makes it
            with explained(target, "embeddings.file"):
                folder.mkdir(parents=True, exist_ok=True)
        _check_place(target, data_of(trainer).origin)

    def on_predict_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts anew: beside the file to be, or in a place of its own if others write too.

        Raises:
            InputError: the encoder has no such layer.
        """
        if self.layer is not None:
            features_of(trainer, pl_module, [_blank(data_of(trainer).image_size)], [self.layer])
            encoder: Any = pl_module.encoder
            self._hook = encoder.register_forward_hook(self._keep_layer)
        images = _images(trainer)
        self._names, self._split_names = images.names, images.split_names
        self._source_rows = images.source_rows
        path = self._target(trainer)
        with explained(path, "embeddings.file"):
            self._rows = GrowingFile(path.parent if trainer.world_size == 1 else None)

    def on_predict_batch_end(self, trainer: L.Trainer, module: Any, outputs: Any, *_: Any) -> None:
        """Adds the codes of this batch.

        Raises:
            InputError: the module's step gives no codes, no labels or no indices.
        """
        assert self._rows is not None
        codes, labels, indices = tensors_of(module, "predict_step", outputs, _ASKED)
        vectors = codes if self._seen is None else self._seen
        names = self._names, self._split_names, data_of(trainer).class_names
        rows = _table(vectors, labels.tolist(), indices.tolist(), *names)
        if self._source_rows is not None:
            places = self._source_rows[indices.cpu().numpy()]
            rows = rows.append_column("row", pa.array(places))
        about = {SOURCE: as_text(data_of(trainer).origin), LAYER: self.layer or "the code"}
        about |= {STEPS: str(trained(trainer, module).steps)}
        with explained(self._target(trainer), "embeddings.file"):
            self._rows.add(rows.replace_schema_metadata(about))

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Puts the file in place, on the first process."""
        rows, path = self._ended(), self._target(trainer)
        assert rows is not None
        try:
            with explained(path, "embeddings.file"):
                rows.close()
                alone = trainer.world_size == 1
                with_coordinates = self.coordinates is not None
                place = _place_with_coordinates if with_coordinates else GrowingFile.place
                count = place(rows, path) if alone else _join(trainer, rows, path, place)
        finally:
            rows.remove()
        if trainer.is_global_zero and count:
            pl_module.print(f"{count:,} codes written to {path}")

    def on_exception(self, *_: Any) -> None:
        """Leaves nothing behind."""
        rows = self._ended()
        if rows is not None:
            rows.remove()

    def _target(self, trainer: L.Trainer) -> Path:
        return Path(trainer.default_root_dir) / Path(self.file).expanduser()

    def _keep_layer(self, encoder: Any, images: Any, features: Features) -> None:
        assert self.layer is not None
        self._seen = features.layers[self.layer]

    def _ended(self) -> "GrowingFile | None":
        """The file that was begun, if one was; looks at the encoder no more."""
        if self._hook is not None:
            self._hook.remove()
        rows, self._rows, self._hook, self._seen = self._rows, None, None, None
        return rows


def _place_with_coordinates(rows: GrowingFile, path: Path) -> int:
    """Puts the rows of a closed file in place, with their coordinates; how many there are."""
    if rows.is_empty:
        return 0
    projection = principal_projection(lambda: map(_vectors, rows.groups()))
    wider = GrowingFile(path.parent)
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


def _check_place(path: Path, source: str) -> None:
    """Looks at whether a file of the codes of `source` may be written.

    Raises:
        InputError: its folder is missing, or a file of another data set is there.
    """
    if not path.parent.is_dir():
        raise InputError(
            f"cannot write {path}: there is no folder {path.parent}; make it, or choose another "
            "embeddings.file"
        )
    if not path.is_file():
        return
    try:
        known = (parquet.read_schema(path).metadata or {}).get(SOURCE)
    except pa.ArrowException:  # no Parquet file
        return
    if known is not None and known.decode() != as_text(source):
        raise InputError(
            f"{path} holds the codes of {known.decode()}, and these are of {source}; give theirs "
            "another name, such as --embeddings.file others.parquet, or remove the file first"
        )


def _blank(size: int) -> Batch:
    """A black image, to try an encoder with."""
    return Batch(torch.zeros(1, 3, size, size), torch.tensor([-1]), torch.tensor([0]))


def _images(trainer: L.Trainer) -> Split:
    """The images that are predicted."""
    loader: Any = trainer.predict_dataloaders
    return loader.dataset


def _table(
    vectors: Tensor,
    labels: Sequence[int],
    indices: Sequence[int],
    names: Sequence[str] | None,
    split_names: np.ndarray | None,
    class_names: Sequence[str] | None,
) -> pa.Table:
    """The rows of one batch."""
    values = vectors.float().cpu().numpy()
    paths = [as_text(names[index]) if names else None for index in indices]
    classes = [
        as_text(class_names[label]) if class_names and label >= 0 else None for label in labels
    ]
    parts = [None] * len(indices) if split_names is None else split_names[indices].tolist()
    return pa.table(
        {
            "index": pa.array(indices, pa.int64()),
            "path": pa.array(paths, pa.string()),
            "label": pa.array(classes, pa.string()),
            "part": pa.array(parts, pa.string()),
            "vector": pa.FixedSizeListArray.from_arrays(
                pa.array(values.reshape(-1)), values.shape[1]
            ),
        }
    )


def _join(
    trainer: L.Trainer,
    rows: GrowingFile,
    path: Path,
    place: Callable[[GrowingFile, Path], int],
) -> int:
    """Writes the rows of all processes to `path`, on the first one; how many there are.

    Every process sends a row group a round. Samplers deal the images out in turn, so a round is a
    run of images, and the file is in order; they may deal some out twice.
    """
    whole = GrowingFile(path.parent) if trainer.is_global_zero else None
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


def _rounds(world_size: int, rows: GrowingFile) -> Iterator[list[pa.Table]]:
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
