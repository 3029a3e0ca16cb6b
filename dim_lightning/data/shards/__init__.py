"""Data beyond memory: a data set as Parquet files, read as a stream."""

from dim_lightning.data.shards.convert import convert
from dim_lightning.data.shards.order import ShardOrder
from dim_lightning.data.shards.split import ShardedSplit
from dim_lightning.data.shards.stream import Stream

__all__ = ["ShardOrder", "ShardedSplit", "Stream", "convert"]
