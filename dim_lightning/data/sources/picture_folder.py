"""A folder of one's own pictures."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dim_lightning.data.sources.label_file import labelled_parts
from dim_lightning.data.sources.listing import (
    class_folders,
    class_part,
    first_few,
    others_below,
    pictures_below,
    pictures_in,
    stamps,
    subfolders,
)
from dim_lightning.data.sources.source import Found, Part, Parts, Source
from dim_lightning.errors import InputError

LAYOUTS = "<path>/{train,test}/<class>/*, <path>/<class>/* or, unlabelled, <path>/*"
_TESTS = ("test", "val", "valid", "validation")  # the first that is there is the test part
_PARTS = ("train", "training", *_TESTS, "testing")  # what parts are called, in any case of letters
_LONGEST = 200  # bytes of the folder's name in that of its cache, which has at most 255
_UNLABELLED = ", or set data.source.init_args.labelled to false"


class PictureFolder(Source):
    """A folder of one's own pictures, labelled by class folders or not at all.

    Layouts: `<path>/{train,test}/<class>/*`, `<path>/<class>/*`, or unlabelled `<path>/*` (also
    `<path>/{train,test}/*`). Where pictures lie in a folder itself, all below it are taken
    too and none is labelled; a single class folder is no label either. Without a folder test/, one
    called val/, valid/ or validation/ is the test part. Hidden files, other files, and caches and
    runs of this package are passed by.

    A file of labels labels some of the pictures in place of folders: objectives without labels see
    all, while probes, neighbours' accuracies and fine-tuning take the labelled ones of each split.
    """

    def __init__(self, path: str, labelled: bool | None = None, labels: str | None = None) -> None:
        """Say where the pictures lie.

        Args:
            path: the folder.
            labelled: whether folders are classes; None: as the layout suggests.
            labels: a CSV file with the columns path, below the folder, and label; folders are no
                classes then. It may change: nothing is decoded anew.

        Raises:
            InputError: folders are to be classes, and there is a file of labels; or the path is
                empty.
        """
        if labelled and labels is not None:
            raise InputError(
                "data.source.init_args.labelled is true and labels is a file; expected one of them"
            )
        if not str(path):  # as of a shell's variable that is not set; it would be the folder here
            raise InputError("data.source.init_args.path is empty; expected a folder of pictures")
        self.path = path
        self.labelled = False if labels is not None else labelled
        self.labels = labels

    def find(self, root: Path) -> Found:
        """The pictures in the folder; `root` has no part in it.

        Raises:
            InputError: no such folder, no pictures in it, a class folder without pictures, or
                pictures beside train/ or the class folders of test/, which would be left aside,
                or a test part without train/, which would be a class or be trained on.
        """
        # one cache, however it is spelt; links are kept
        folder = Path(os.path.abspath(Path(self.path).expanduser()))  # noqa: PTH100
        if not folder.is_dir():
            found = "a file" if folder.exists() else "not there"
            raise InputError(
                f"{folder} is {found}; expected a folder of pictures, {LAYOUTS}; "
                "set data.source.init_args.path"
            )
        train, test = _parts_of(folder)
        classes = self._classes(train)
        if train == folder and not self.labelled:
            _check_no_part(folder, classes)
        parts = self._read(train, test, classes)
        if self.labels is not None:
            parts = labelled_parts(parts, Path(self.labels).expanduser(), folder)
        paths = [*parts.train.pictures, *(parts.test.pictures if parts.test else ())]
        letters = "".join(c if c.isalnum() else "_" for c in folder.name)
        name = "pictures-" + letters.encode()[:_LONGEST].decode(errors="ignore")
        labels = None
        if self.labels is not None:
            numbers = [part.labels.tolist() for part in parts[:2] if part is not None]
            labels = [parts.class_names, *numbers]
        names = None if labels else parts.class_names
        return Found(
            name,
            str(folder),
            [names, *stamps(paths)],
            lambda: parts,
            lambda: _passed_by(folder, test),
            labels=labels,
        )

    def _classes(self, train: Path) -> dict[str, list[str]] | None:
        """Pictures by class, None where they are unlabelled."""
        loose, folders = pictures_in(train), subfolders(train)
        if self.labelled and (loose or not folders):
            raise InputError(
                f"{train} holds {len(loose)} pictures and {len(folders)} folders; expected class "
                "folders only, as data.source.init_args.labelled is true; move the pictures into "
                "class folders, or set it to false"
            )
        if self.labelled is False or loose or not folders:
            return None
        if not any(pictures_below(each) for each in folders):
            raise _no_pictures(train)
        classes = class_folders(folders, _UNLABELLED)
        return classes if len(classes) > 1 or self.labelled else None

    def _read(self, train: Path, test: Path | None, classes: dict[str, list[str]] | None) -> Parts:
        if classes is None:
            return Parts(_unlabelled(train), _unlabelled(test) if test else None, None)
        names = sorted(classes)
        if test is None:
            return Parts(class_part(classes, names), None, names)
        _check_sorted(test, train)
        tested = class_folders(subfolders(test), _UNLABELLED)
        strange = sorted(set(tested) - set(names))
        if strange:
            raise InputError(
                f"{test} holds {len(tested)} classes, not in {train.name}/ are: "
                f"{first_few(strange)}; expected classes of {train.name}/; rename or remove others"
            )
        return Parts(class_part(classes, names), class_part(tested, names), names)


def _parts_of(folder: Path) -> tuple[Path, Path | None]:
    """The folders of the training and of the test pictures, if it has such."""
    test = next(iter(_tests_in(folder)), None)
    if (folder / "train").is_dir():
        _check_beside(folder)
        return folder / "train", test
    if (folder / "test").is_dir():
        raise InputError(
            f"{folder} holds a folder test/ and none called train/; expected {LAYOUTS}; "
            "rename or add a folder"
        )
    return folder, None


def _check_no_part(folder: Path, classes: Iterable[str] | None) -> None:
    """Look at whether a part would be a class, such as valid, or parts be joined: Train and Test.

    Args:
        folder: with no folder train/ in it.
        classes: names of the folders that are classes; None if none is.
    """
    if classes is None:
        named = (each for each in subfolders(folder) if each.name.lower() in _PARTS)
        names = [each.name for each in named if pictures_below(each)]
        least, kind, otherwise = 2, "folders", "to train on all, rename it"
    else:
        names, least, kind = list(classes), 1, "class folders"
        otherwise = "if it is a class, set data.source.init_args.labelled to true"
    parts = [name for name in sorted(names) if name.lower() in _PARTS]
    if len(parts) >= least:
        raise InputError(
            f"{folder} holds a folder {parts[0]}/ among the {kind} and none called train/; "
            f"expected {LAYOUTS}; move or rename folders so, or, {otherwise}"
        )


def _tests_in(folder: Path) -> list[Path]:
    return [folder / name for name in _TESTS if (folder / name).is_dir()]


def _check_beside(folder: Path) -> None:
    """Look at whether train/ is the training part, and not one of the classes."""
    parts = [folder / "train", *_tests_in(folder)]
    others = [each for each in subfolders(folder) if not any(each.samefile(part) for part in parts)]
    aside = [f"{each.name}/" for each in others if pictures_below(each)]
    aside += [Path(path).name for path in pictures_in(folder)]
    if aside:
        raise InputError(
            f"{folder} holds a folder train/, the training part, and beside it pictures "
            f"that would be left aside: {first_few(aside)}; expected {LAYOUTS}; rename train/ if "
            "it is a class, or move the others into it or elsewhere"
        )


def _check_sorted(test: Path, train: Path) -> None:
    """Look at whether the pictures of the test part lie in class folders, as those of train/ do."""
    loose, folders = [Path(path).name for path in pictures_in(test)], subfolders(test)
    if not loose and not folders:
        raise _no_pictures(test)
    if not folders:
        raise InputError(
            f"{test} holds {len(loose)} pictures and no class folders, as {train} has; expected "
            f"{LAYOUTS}; sort them into class folders, or move them out of {train.parent}: then "
            "data.test_fraction of the training pictures tests, and predict --run RUN "
            f"--data.source.path THERE gives their codes{_UNLABELLED}"
        )
    if loose:
        raise InputError(
            f"{test} holds class folders and beside them pictures that would be left aside: "
            f"{first_few(loose)}; expected class folders only; move the pictures into class "
            f"folders or elsewhere{_UNLABELLED}"
        )


def _passed_by(folder: Path, test: Path | None) -> str:
    """What is not taken: files that are no pictures, and a second test part."""
    names = [] if test is None else [each.name for each in _tests_in(folder)]
    unused = [f"{name}/, as {names[0]}/ is the test part" for name in names[1:]]
    return "; ".join(filter(None, [others_below(folder), *unused]))


def _unlabelled(folder: Path) -> Part:
    paths = pictures_below(folder)
    if not paths:
        raise _no_pictures(folder)
    return Part(paths, np.full(len(paths), -1, np.int64))


def _no_pictures(folder: Path) -> InputError:
    others = others_below(folder)
    return InputError(
        f"no pictures in {folder} nor in the folders below"
        f"{f' ({others})' if others else ''}; expected {LAYOUTS} "
        "(.jpg, .png, ...); set data.source.init_args.path to a folder of pictures"
    )
