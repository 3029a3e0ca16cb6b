"""STL-10: few labelled pictures, many unlabelled ones; as it is distributed."""

from pathlib import Path
from typing import Any

import numpy as np

from dim_lightning.data.sources.download import fetch_folder
from dim_lightning.data.sources.listing import stamps
from dim_lightning.data.sources.source import Found, Part, Parts, Source
from dim_lightning.errors import InputError

SIDE = 96
CLASSES, UNLABELLED = "class_names.txt", "unlabeled_X.bin"
FILES = (CLASSES, "train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin", UNLABELLED)


class STL10(Source):
    """Pictures of 96x96: 5,000 of ten classes to train and 8,000 to test, 100,000 unlabelled.

    Looked for in `stl10_binary/` below the data root or in its `stl10/`, as it is distributed; else
    downloaded. The unlabelled pictures follow the 5,000 in the training part: objectives without
    labels see both, while probes, neighbours' accuracies and fine-tuning take the labelled ones of
    each split.

    Source: Coates, Ng and Lee, "An Analysis of Single-Layer Networks in Unsupervised Feature
    Learning", 2011.
    """

    def __init__(self, unlabelled: bool = True, download: bool = True) -> None:
        """Say what to train on, and whether it may be downloaded.

        Args:
            unlabelled: train on the 100,000 unlabelled pictures as well.
            download: download it (2.6 GB) where it is not found.
        """
        self.unlabelled = unlabelled
        self.download = download

    def find(self, root: Path) -> Found:
        """Find the data set below `root`, or download it into `root`.

        Raises:
            InputError: it is not there and cannot be downloaded, or a file of it is missing or cut.
        """
        name = self._torchvision.base_folder
        places = [place / name for place in (root, root / "stl10")]
        folder = next((place for place in places if place.is_dir()), places[0])
        if not folder.is_dir():
            self._fetch(root)
        missing = [each for each in FILES if not (folder / each).is_file()]
        if missing:
            raise InputError(
                f"STL-10 in {folder} lacks {', '.join(missing)}; expected {', '.join(FILES)}; "
                "remove the folder to have it downloaded anew"
            )
        paths = [str(folder / each) for each in FILES if self.unlabelled or each != UNLABELLED]
        return Found("stl10", str(folder), list(stamps(paths)), lambda: self._read(folder))

    @property
    def _torchvision(self) -> Any:
        """Torchvision's class, which knows the folder, its address and checksum."""
        from torchvision.datasets import STL10

        return STL10

    def _fetch(self, root: Path) -> None:
        known = self._torchvision
        archive, name = root / known.filename, known.base_folder
        missing = f"STL-10 below {root.absolute()}: no folder {name}/"
        fetch_folder(known.url, archive, known.tgz_md5, name, missing, self.download)

    def _read(self, folder: Path) -> Parts:
        train, test = _labelled(folder, "train"), _labelled(folder, "test")
        if self.unlabelled:
            more = _pictures(folder / UNLABELLED)
            labels = np.concatenate([train.labels, np.full(len(more), -1, np.int64)])
            # a list of what lies in the files: as one array in memory they would take 3 GB
            train = Part([*train.pictures, *more], labels)
        return Parts(train, test, (folder / CLASSES).read_text("utf-8").splitlines())


def _labelled(folder: Path, name: str) -> Part:
    pictures = _pictures(folder / f"{name}_X.bin")
    labels = np.fromfile(folder / f"{name}_y.bin", np.uint8).astype(np.int64) - 1  # from 1 there
    if len(labels) != len(pictures):
        raise InputError(
            f"{folder} has {len(pictures)} pictures in {name}_X.bin and {len(labels)} labels in "
            f"{name}_y.bin; expected as many; remove the folder to have it downloaded anew"
        )
    return Part(pictures, labels)


def _pictures(path: Path) -> np.ndarray:
    """The file's pictures [n, 96, 96, 3], which stay on the disk: colours and columns come first.

    Raises:
        InputError: it does not end with a picture.
    """
    size, left = divmod(path.stat().st_size, 3 * SIDE * SIDE)
    if left or not size:
        raise InputError(
            f"{path} has {path.stat().st_size} bytes; expected a multiple of {3 * SIDE * SIDE}, "
            "the bytes of a picture; remove the folder to have it downloaded anew"
        )
    stored = np.memmap(path, np.uint8, "r", shape=(size, 3, SIDE, SIDE))
    return np.asarray(stored).transpose(0, 3, 2, 1)  # rows of a plain view are made quicker
