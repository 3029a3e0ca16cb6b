"""Data sets of pictures: each finds itself below a folder, or downloads itself into it."""

from dim_lightning.data.sources.arrays import Arrays
from dim_lightning.data.sources.cifar import CIFAR10, CIFAR100
from dim_lightning.data.sources.digits import Digits
from dim_lightning.data.sources.picture_folder import PictureFolder
from dim_lightning.data.sources.source import Found, Part, Parts, Source
from dim_lightning.data.sources.stl10 import STL10
from dim_lightning.data.sources.tiny_imagenet import TinyImageNet

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "STL10",
    "Arrays",
    "Digits",
    "Found",
    "Part",
    "Parts",
    "PictureFolder",
    "Source",
    "TinyImageNet",
]
