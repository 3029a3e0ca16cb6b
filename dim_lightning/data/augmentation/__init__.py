"""Batches of uint8 to floats, and random changes of them: one draw an image, on the device."""

from dim_lightning.data.augmentation.augmentation import Augmentation, to_float
from dim_lightning.data.augmentation.crop_and_flip import CropAndFlip
from dim_lightning.data.augmentation.crop_colour import CropColour

__all__ = ["Augmentation", "CropAndFlip", "CropColour", "to_float"]
