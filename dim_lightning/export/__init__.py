"""A trained encoder for people who have none of the rest: files to hand over, and one line."""

from dim_lightning.export.picture_encoder import PictureEncoder
from dim_lightning.export.place import Exported, export_encoder, export_run, load

__all__ = ["Exported", "PictureEncoder", "export_encoder", "export_run", "load"]
