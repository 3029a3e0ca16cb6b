"""Tiny ImageNet: found as it is distributed, or downloaded."""

from pathlib import Path

import numpy as np

from dim_lightning.data.sources.download import fetch_folder
from dim_lightning.data.sources.listing import first_few, pictures_in, stamps
from dim_lightning.data.sources.source import Found, Part, Parts, Source
from dim_lightning.errors import InputError

FOLDER = "tiny-imagenet-200"
URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
MD5 = "90528d7ca1a48142e341f4ef8d21d0de"


class TinyImageNet(Source):
    """110,000 pictures of 64x64 in 200 classes, 100,000 to train and 10,000 to test.

    Looked for in `tiny-imagenet-200/` below the data root, as it is distributed; else downloaded.
    The labels of its test pictures were never published: as usual, its val/ is the test part here,
    read through val_annotations.txt. Classes are in the order of wnids.txt.

    Source: Le and Yang, "Tiny ImageNet Visual Recognition Challenge", 2015.
    """

    def __init__(self, download: bool = True, url: str = URL, md5: str = MD5) -> None:
        """Say whether and whence it may be downloaded.

        Args:
            download: download it (248 MB) where it is not found.
            url: where the zip file is to be had, say a mirror.
            md5: its checksum.
        """
        self.download = download
        self.url = url
        self.md5 = md5

    def find(self, root: Path) -> Found:
        """Find the data set below `root`, or download it into `root`.

        Raises:
            InputError: it is not there and cannot be downloaded, or a part of it is missing.
        """
        folder = root / FOLDER
        if not folder.is_dir():
            missing = f"Tiny ImageNet below {root.absolute()}: no folder {FOLDER}/"
            archive = root / f"{FOLDER}.zip"
            fetch_folder(self.url, archive, self.md5, FOLDER, missing, self.download)
        for name in ("wnids.txt", "words.txt", "train", "val/images", "val/val_annotations.txt"):
            if not (folder / name).exists():
                raise InputError(
                    f"Tiny ImageNet in {folder} lacks {name}; expected wnids.txt, words.txt, "
                    "train/<class>/images/, val/images/ and val/val_annotations.txt; remove the "
                    "folder to have it downloaded anew"
                )
        wnids = (folder / "wnids.txt").read_text("utf-8").split()
        train, test = _train_part(folder / "train", wnids), _test_part(folder / "val", wnids)
        texts = [str(folder / name) for name in ("wnids.txt", "words.txt")]
        texts.append(str(folder / "val" / "val_annotations.txt"))
        fingerprint = list(stamps([*texts, *train.pictures, *test.pictures]))
        names = _class_names(folder / "words.txt", wnids)
        return Found(FOLDER, str(folder), fingerprint, lambda: Parts(train, test, names))


def _train_part(folder: Path, wnids: list[str]) -> Part:
    """The training pictures of each class, in the order of `wnids`."""
    images = [folder / wnid / "images" for wnid in wnids]
    classes = [pictures_in(each) if each.is_dir() else [] for each in images]
    empty = [wnid for wnid, paths in zip(wnids, classes, strict=True) if not paths]
    if empty or not wnids:
        raise InputError(
            f"Tiny ImageNet in {folder} has no pictures of {len(empty)} of the {len(wnids)} "
            f"classes of wnids.txt: {first_few(empty)}; expected them in "
            "train/<class>/images/; remove the folder to have it downloaded anew"
        )
    labels = np.repeat(np.arange(len(wnids), dtype=np.int64), [len(paths) for paths in classes])
    return Part([path for paths in classes for path in paths], labels)


def _test_part(folder: Path, wnids: list[str]) -> Part:
    """The pictures that val_annotations.txt names, in its order: file, class, box."""
    label_of = {wnid: label for label, wnid in enumerate(wnids)}
    lines = (folder / "val_annotations.txt").read_text("utf-8").splitlines()
    rows = [line.split("\t")[:2] for line in lines if line.strip()]
    present = {Path(path).name for path in pictures_in(folder / "images")}
    wrong = [row[0] for row in rows if row[-1] not in label_of or row[0] not in present]
    if wrong or not rows:
        raise InputError(
            f"{folder / 'val_annotations.txt'} has {len(rows)} lines, {len(wrong)} of them about a "
            f"picture or a class that is not there: {first_few(wrong)}; expected one line a "
            "picture; remove the folder of Tiny ImageNet to have it downloaded anew"
        )
    labels = np.asarray([label_of[wnid] for _, wnid in rows], np.int64)
    return Part([str(folder / "images" / name) for name, _ in rows], labels)


def _class_names(words: Path, wnids: list[str]) -> list[str]:
    """The first word for each class; all its words where two classes share the first."""
    lines = (line.partition("\t") for line in words.read_text("utf-8").splitlines())
    known = {wnid: meaning.strip() for wnid, _, meaning in lines}
    meanings = [known.get(wnid) or wnid for wnid in wnids]
    firsts = [meaning.split(",")[0] for meaning in meanings]
    pairs = zip(firsts, meanings, strict=True)
    return [first if firsts.count(first) == 1 else meaning for first, meaning in pairs]
