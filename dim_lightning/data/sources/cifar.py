"""CIFAR-10 and CIFAR-100: as torchvision keeps them, or as folders of pictures."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dim_lightning.data.sources.download import fetch_folder
from dim_lightning.data.sources.listing import (
    class_folders,
    class_part,
    pictures_in,
    stamps,
    subfolders,
)
from dim_lightning.data.sources.source import Found, Part, Parts, Source
from dim_lightning.errors import InputError


class CIFAR10(Source):
    """60,000 pictures of 32x32 in ten classes, 50,000 to train and 10,000 to test.

    Looked for below the data root, in this order: folders of pictures
    `cifar10/{train,test}/<class>/*` (as fast.ai distributes it); torchvision's folder
    `cifar-10-batches-py`, also in `cifar10/`; else downloaded.

    Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    """

    name: ClassVar[str] = "cifar10"
    title: ClassVar[str] = "CIFAR-10"

    def __init__(self, download: bool = True) -> None:
        """Say whether it may be downloaded.

        Args:
            download: download it (170 MB) where it is not found.
        """
        self.download = download

    def find(self, root: Path) -> Found:
        """Find the data set below `root`, or download it into `root`.

        Raises:
            InputError: it is not there and cannot be downloaded, or a folder of it is empty.
        """
        if (root / self.name / "train").is_dir():
            return self._found_folders(root / self.name)
        for folder in (root, root / self.name):
            if (folder / self._torchvision.base_folder).is_dir():
                return self._found_batches(folder)
        known = self._torchvision
        missing = (
            f"{self.title} below {root.absolute()}: neither folders of pictures "
            f"{self.name}/{{train,test}}/<class>/*, nor torchvision's {known.base_folder}/"
        )
        archive, name = root / known.filename, known.base_folder
        fetch_folder(known.url, archive, known.tgz_md5, name, missing, self.download)
        return self._found_batches(root)

    @property
    def _torchvision(self) -> Any:
        """Torchvision's class, which knows the files, their addresses and checksums."""
        from torchvision.datasets import cifar

        return getattr(cifar, type(self).__name__)

    def _found_batches(self, folder: Path) -> Found:
        known = self._torchvision
        base = folder / known.base_folder
        names = [name for name, _ in known.train_list + known.test_list]
        paths = [str(base / name) for name in [*names, known.meta["filename"]]]
        missing = [path for path in paths if not Path(path).is_file()]
        if missing:
            raise InputError(
                f"{self.title} in {base} lacks {', '.join(Path(path).name for path in missing)}; "
                f"expected torchvision's {len(paths)} files; remove the folder to have it "
                "downloaded anew"
            )
        return Found(self.name, str(base), list(stamps(paths)), lambda: self._read_batches(folder))

    def _read_batches(self, folder: Path) -> Parts:
        try:
            train, test = (self._torchvision(folder, train=train) for train in (True, False))
        except RuntimeError as error:  # torchvision's for a checksum that does not fit
            raise InputError(
                f"files of {self.title} in {folder / self._torchvision.base_folder} have a wrong "
                "checksum; remove that folder to have it downloaded anew"
            ) from error
        parts = [Part(each.data, np.asarray(each.targets, np.int64)) for each in (train, test)]
        return Parts(parts[0], parts[1], list(train.classes))

    def _found_folders(self, folder: Path) -> Found:
        train = class_folders(leaves(folder / "train"))
        test = class_folders(leaves(folder / "test")) if (folder / "test").is_dir() else {}
        names = sorted(train)
        if not names or set(test) != set(names):
            raise InputError(
                f"{folder} holds {len(names)} classes of pictures in train/ and {len(test)} in "
                f"test/; expected the same in both; lay {self.title} out as "
                f"{self.name}/{{train,test}}/<class>/*"
            )
        parts = Parts(class_part(train, names), class_part(test, names), names)
        paths = [*parts.train.pictures, *class_part(test, names).pictures]
        return Found(self.name, str(folder), list(stamps(paths)), lambda: parts)


class CIFAR100(CIFAR10):
    """60,000 pictures of 32x32 in a hundred classes, 50,000 to train and 10,000 to test.

    Looked for below the data root, in this order: folders of pictures
    `cifar100/{train,test}/<class>/*`, or with the twenty super-classes above them (as fast.ai
    distributes it); torchvision's folder `cifar-100-python`, also in `cifar100/`; else downloaded.

    Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    """

    name: ClassVar[str] = "cifar100"
    title: ClassVar[str] = "CIFAR-100"


def leaves(folder: Path) -> list[Path]:
    """The class folders: those below `folder` that hold pictures, or hold nothing at all."""
    found: list[Path] = []
    for below in subfolders(folder):
        deeper = [] if pictures_in(below) else subfolders(below)
        found += leaves(below) if deeper else [below]
    return found
