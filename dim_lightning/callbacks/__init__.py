"""Callbacks observe: with any of them on or off, the trained encoder is the same to the bit."""

from dim_lightning.callbacks.geometry import Geometry
from dim_lightning.callbacks.linear_probe import LinearProbe
from dim_lightning.callbacks.neighbours import Neighbours

__all__ = ["Geometry", "LinearProbe", "Neighbours"]
