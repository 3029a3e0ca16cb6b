"""Where images come from: sources, the cache of decoded pictures, shards, batches, augmentation."""

from dim_lightning.data.augmentation import Augmentation, CropAndFlip, CropColour, to_float
from dim_lightning.data.batch import Batch, ImageSplit, Split
from dim_lightning.data.datamodule import ImageDataModule
from dim_lightning.data.shards import Stream
from dim_lightning.data.sources import (
    CIFAR10,
    CIFAR100,
    STL10,
    Arrays,
    Digits,
    PictureFolder,
    Source,
    TinyImageNet,
)

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "STL10",
    "Arrays",
    "Augmentation",
    "Batch",
    "CropAndFlip",
    "CropColour",
    "Digits",
    "ImageDataModule",
    "ImageSplit",
    "PictureFolder",
    "Source",
    "Split",
    "Stream",
    "TinyImageNet",
    "to_float",
]
