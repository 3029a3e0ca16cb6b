"""The pictures of shards, few of them in memory at a time."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
from jaxtyping import Int64, UInt8
from pyarrow import parquet

from dim_lightning.data.shards.layout import Shard
from dim_lightning.data.shards.store import Store
from dim_lightning.errors import InputError

THREADS = 4
T = TypeVar("T")


class DamagedError(InputError):
    """A shard is not what was written."""


class Pictures(NamedTuple):
    """What a shard holds.

    Attributes:
        pixels: the pictures.
        labels: class of each, -1 where unlabelled.
    """

    pixels: UInt8[np.ndarray, "n size size 3"]
    labels: Int64[np.ndarray, " n"]


class ShardReader:
    """Reads shards ahead and keeps those used last.

    Attributes:
        shards: the files.
        capacity: most shards in memory.
        num_read: how often a shard was read.
    """

    def __init__(self, store: Store, shards: Sequence[Shard], size: int, capacity: int) -> None:
        """Read nothing yet.

        Args:
            store: where the files lie.
            shards: the files.
            size: height and width of the pictures, in pixels.
            capacity: most shards in memory.
        """
        self.store = store
        self.shards = list(shards)
        self.size = size
        self.capacity = capacity
        self.num_read = 0
        self._start()

    def _start(self) -> None:
        self._held: OrderedDict[int, Future[Pictures]] = OrderedDict()
        self._lock = Lock()
        self._threads: ThreadPoolExecutor | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without what was read: another process reads for itself."""
        names = ("store", "shards", "size", "capacity", "num_read")
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._start()

    def expect(self, numbers: Iterable[int]) -> None:
        """Begin to read these shards; those used longest ago make room."""
        for number in numbers:
            self._future(number)

    def get(self, number: int) -> Pictures:
        """The pictures of a shard.

        Raises:
            InputError: it cannot be read, or is not what was written.
        """
        future = self._future(number)
        if future.done() and future.exception() is not None:
            with self._lock:  # of a time before it was needed, since when all may be well again
                self._held.pop(number, None)
            future = self._future(number)
        try:
            return future.result()
        except BaseException:
            with self._lock:
                self._held.pop(number, None)  # to be tried again
            raise

    def columns(self, *names: str) -> pa.Table:
        """Columns of all shards; the pixels are neither looked at nor fetched.

        Raises:
            InputError: a shard cannot be read, or is not what was written.
        """

        def read(shard: Shard) -> pa.Table:
            return self.store.part(shard.name, partial(self._table, shard, list(names)))

        with ThreadPoolExecutor(THREADS) as pool:
            return pa.concat_tables(pool.map(partial(self._renewed_if_damaged, read), self.shards))

    def close(self) -> None:
        """Read no more ahead: a process would not end before that is done.

        What is asked for afterwards is read anew.
        """
        self.store.end_waits()
        with self._lock:
            threads, self._threads = self._threads, None
            self._held.clear()
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)

    def _future(self, number: int) -> "Future[Pictures]":
        with self._lock:
            if number not in self._held:
                if self._threads is None:
                    self._threads = ThreadPoolExecutor(THREADS)
                while len(self._held) >= self.capacity:
                    self._held.popitem(last=False)
                self._held[number] = self._threads.submit(self._read, number)
            self._held.move_to_end(number)
            return self._held[number]

    def _read(self, number: int) -> Pictures:
        self.num_read += 1
        return self._renewed_if_damaged(self._pictures, self.shards[number])

    def _renewed_if_damaged(self, read: Callable[[Shard], T], shard: Shard) -> T:
        """What `read` makes of a shard; a copy that is damaged is fetched anew, once."""
        try:
            return read(shard)
        except DamagedError:
            if not self.store.renew(shard.name):
                raise
        return read(shard)

    def _pictures(self, shard: Shard) -> Pictures:
        source = pa.BufferReader(self.store.read(shard.name))
        table = self._table(shard, ["pixels", "label"], source).combine_chunks()
        pixels, length = table["pixels"].chunk(0), self.size * self.size * 3
        _, ends, values = pixels.buffers()
        ends = np.frombuffer(ends, np.int32)[pixels.offset :][: len(pixels) + 1]
        if pixels.null_count or not (np.diff(ends) == length).all():
            raise self._damaged(shard, f"pictures that are not {self.size}x{self.size}")
        flat = np.frombuffer(values, np.uint8)[ends[0] : ends[-1]]
        shape = (len(pixels), self.size, self.size, 3)
        return Pictures(flat.reshape(shape), table["label"].to_numpy().astype(np.int64))

    def _table(self, shard: Shard, columns: list[str], source: Any) -> pa.Table:
        """Columns of a shard, of its file `source`."""
        try:
            table = parquet.read_table(source, columns=columns, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(shard, repr(error)) from error
        numbers = {"label": pa.int64(), "row": pa.int64()}
        types = {"pixels": pa.binary(), "path": pa.string(), **numbers}
        if len(table) != shard.rows or table.schema.types != [types[name] for name in columns]:
            raise self._damaged(shard, f"{len(table)} rows of {table.schema.types}")
        return table

    def _damaged(self, shard: Shard, found: str) -> DamagedError:
        return DamagedError(
            f"{self.store.path}/{shard.name} is damaged ({found}); expected {shard.rows} pictures "
            f"of {self.size}x{self.size}; copy it again, or convert anew"
        )
