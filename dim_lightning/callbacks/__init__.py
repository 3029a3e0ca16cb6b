"""Callbacks observe: with any of them on or off, the trained encoder is the same to the bit.

All but that of own_settings.py, which a run has that begins from another run's checkpoint. The
command line has a few more than those listed here.
"""

from dim_lightning.callbacks.checkpoints import Checkpoints
from dim_lightning.callbacks.embedding_writer import EmbeddingWriter
from dim_lightning.callbacks.geometry import Geometry
from dim_lightning.callbacks.linear_probe import LinearProbe
from dim_lightning.callbacks.neighbours import Neighbours
from dim_lightning.callbacks.non_finite import NonFiniteGuard
from dim_lightning.callbacks.offline_evaluation import OfflineEvaluation
from dim_lightning.callbacks.reconstructions import Reconstructions
from dim_lightning.callbacks.running_best import RunningBest
from dim_lightning.callbacks.screen import EpochLines, TerminalBar

__all__ = [
    "Checkpoints",
    "EmbeddingWriter",
    "EpochLines",
    "Geometry",
    "LinearProbe",
    "Neighbours",
    "NonFiniteGuard",
    "OfflineEvaluation",
    "Reconstructions",
    "RunningBest",
    "TerminalBar",
]
