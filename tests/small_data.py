"""Small copies of the data sets' layouts, made on the spot."""

from pathlib import Path

import numpy as np
from PIL import Image


def picture(path: Path, size: int, seed: int) -> None:
    """A random picture in `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def cifar10_folders(root: Path, per_class: int = 12) -> None:
    """cifar10/{train,test}/<class>/*, the picture-folder layout."""
    for label, name in enumerate(("airplane", "automobile", "bird", "cat", "deer", "dog")):
        for i in range(per_class):
            picture(root / "cifar10" / "train" / name / f"{i:04}.png", 32, 100 * label + i)
        for i in range(3):
            picture(root / "cifar10" / "test" / name / f"{i:04}.png", 32, 100 * label + 50 + i)


def tiny_imagenet(root: Path, per_class: int = 60) -> None:
    """tiny-imagenet-200/ with two of its classes."""
    folder = root / "tiny-imagenet-200"
    annotations = []
    for label, wnid in enumerate(("n02124075", "n04067472")):
        for i in range(per_class):
            path = folder / "train" / wnid / "images" / f"{wnid}_{i}.JPEG"
            picture(path, 64, 1000 * label + i)
        for i in range(3):
            name = f"val_{3 * label + i}.JPEG"
            picture(folder / "val" / "images" / name, 64, 1000 * label + 500 + i)
            annotations.append(f"{name}\t{wnid}\t0\t0\t63\t63\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(annotations))
    (folder / "wnids.txt").write_text("n02124075\nn04067472\n")
    (folder / "words.txt").write_text("n02124075\tEgyptian cat\nn04067472\treel\n")
