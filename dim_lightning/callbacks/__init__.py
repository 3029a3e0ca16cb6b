"""Callbacks observe: with any of them on or off, the trained encoder is the same to the bit.

All but OwnSettings, which a run has that begins from another run's checkpoint.
"""

from dim_lightning.callbacks.checkpoints import Checkpoints
from dim_lightning.callbacks.embedding_writer import EmbeddingWriter
from dim_lightning.callbacks.geometry import Geometry
from dim_lightning.callbacks.linear_probe import LinearProbe
from dim_lightning.callbacks.logged_step import LoggedStep
from dim_lightning.callbacks.neighbours import Neighbours
from dim_lightning.callbacks.non_finite import NonFiniteGuard
from dim_lightning.callbacks.offline_evaluation import OfflineEvaluation
from dim_lightning.callbacks.own_settings import OwnSettings
from dim_lightning.callbacks.reconstructions import Reconstructions
from dim_lightning.callbacks.run_record import RunRecord
from dim_lightning.callbacks.running_best import RunningBest
from dim_lightning.callbacks.screen import EpochLines, TerminalBar
from dim_lightning.callbacks.stop_at_once import StopAtOnce

__all__ = [
    "Checkpoints",
    "EmbeddingWriter",
    "EpochLines",
    "Geometry",
    "LinearProbe",
    "LoggedStep",
    "Neighbours",
    "NonFiniteGuard",
    "OfflineEvaluation",
    "OwnSettings",
    "Reconstructions",
    "RunRecord",
    "RunningBest",
    "StopAtOnce",
    "TerminalBar",
]
