import errno
import os
import unicodedata

import numpy as np
import pytest

from dim_lightning.data import PictureFolder
from dim_lightning.errors import InputError


def read(folder, **settings):
    return PictureFolder(str(folder), **settings).find(folder).read()


def relative(part, folder):
    return [path.removeprefix(f"{folder}/") for path in part.pictures]


def test_class_folders_are_labels_in_the_order_of_the_alphabet(class_folders):
    parts = read(class_folders)
    assert parts.class_names == ["ant", "bee", "cow"]
    assert parts.test is None
    assert parts.train.labels.tolist() == np.repeat([0, 1, 2], 10).tolist()
    assert relative(parts.train, class_folders)[10] == "bee/0.png"


@pytest.mark.parametrize("name", ["test", "val", "valid", "validation"])
def test_test_folder_gives_the_test_part(tmp_path, draw, name):
    draw(tmp_path / "train" / "a" / "1.png")
    draw(tmp_path / "train" / "b" / "1.png")
    draw(tmp_path / name / "b" / "2.jpg")
    parts = read(tmp_path)
    assert parts.class_names == ["a", "b"]
    assert relative(parts.test, tmp_path) == [f"{name}/b/2.jpg"]
    assert parts.test.labels.tolist() == [1]


def test_loose_pictures_are_unlabelled_and_found_at_any_depth(tmp_path, draw):
    for name in ("b.png", "a.JPG", "deep/er/c.webp", ".hidden/d.png"):
        draw(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    parts = read(tmp_path)
    assert parts.class_names is None
    assert parts.train.labels.tolist() == [-1, -1, -1]
    assert relative(parts.train, tmp_path) == ["a.JPG", "b.png", "deep/er/c.webp"]


def test_one_class_alone_is_no_label_unless_told(tmp_path, draw):
    draw(tmp_path / "all" / "1.png")
    assert read(tmp_path).class_names is None
    assert read(tmp_path, labelled=True).class_names == ["all"]


def test_labels_can_be_left_aside(class_folders):
    parts = read(class_folders, labelled=False)
    assert parts.class_names is None
    assert len(parts.train.pictures) == 30


def test_our_own_cache_among_the_pictures_is_no_class(class_folders):
    cache = class_folders / "cache"
    cache.mkdir()
    (cache / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n")
    assert read(class_folders).class_names == ["ant", "bee", "cow"]


def test_runs_among_the_pictures_are_no_pictures(class_folders, draw):
    """Whoever works in the folder of the pictures has data/ and runs/ there."""
    run = class_folders / "runs" / "ours" / "1"
    for path in (run, class_folders / "data" / "cache", class_folders / "runs/comparisons/1"):
        path.mkdir(parents=True)
    for path in (run / "config.yaml", run / "environment.json"):
        path.write_text("")
    (class_folders / "data" / "cache" / "CACHEDIR.TAG").write_text("")
    draw(run / "pictures" / "neighbours_cosine.png")
    draw(class_folders / "runs" / "comparisons" / "1" / "comparison.png")
    (class_folders / "runs" / "comparisons" / "1" / "comparison.csv").write_text("")
    assert read(class_folders).class_names == ["ant", "bee", "cow"]
    assert len(read(class_folders, labelled=False).train.pictures) == 30
    draw(class_folders / "runs" / "1.png")  # somebody's own
    assert read(class_folders).class_names == ["ant", "bee", "cow", "runs"]


@pytest.mark.parametrize("run", ["runs/paper/vae/seed0/1", "sweeps/grid/1/trials/3/3/1"])
def test_runs_of_tables_and_sweeps_among_the_pictures_are_no_class(class_folders, run):
    for name in ("config.yaml", "environment.json"):
        path = class_folders / run / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    assert read(class_folders).class_names == ["ant", "bee", "cow"]


def labels_in(folder, *rows):
    (folder / "labels.csv").write_text("\n".join(["label,path", *rows]))
    return str(folder / "labels.csv")


def test_a_file_labels_some_of_the_pictures(class_folders, tmp_path, draw):
    draw(class_folders / "loose.png")
    rows = [
        "dog,bee/0.png",
        f"cat,{class_folders / 'cow' / '3.png'}",
        ",ant/1.png",
        "dog,loose.png",
    ]
    source = PictureFolder(str(class_folders), labels=labels_in(tmp_path, *rows))
    found = source.find(tmp_path)
    parts = found.read()
    assert parts.class_names == ["cat", "dog"]
    labelled = dict(zip(relative(parts.train, class_folders), parts.train.labels, strict=True))
    assert {name: label for name, label in labelled.items() if label >= 0} == {
        "loose.png": 1,
        "bee/0.png": 1,
        "cow/3.png": 0,
    }
    assert len(labelled) == 31
    labels_in(tmp_path, *rows[:2], "cat,loose.png")
    other = source.find(tmp_path)
    assert other.labels != found.labels
    assert other.fingerprint == found.fingerprint


@pytest.mark.parametrize(("in_folder", "in_table"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_letters_with_accents_may_be_written_either_way(tmp_path, draw, in_folder, in_table):
    name = "caf\u00e9.png"
    draw(tmp_path / "pictures" / unicodedata.normalize(in_folder, name))
    draw(tmp_path / "pictures" / "other.png")
    row = f"cat,{unicodedata.normalize(in_table, name)}"
    parts = read(tmp_path / "pictures", labels=labels_in(tmp_path, row))
    assert sorted(parts.train.labels.tolist()) == [-1, 0]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["a,x.png"], "labels 1 pictures, 1 of them not among those of .*/x.png; expected"),
        ([], "labels 0 pictures"),
        (["a"], "row 1 of .*labels.csv has no path"),
        (["a,ant/0.png", "b,ant/../ant/0.png"], "as a and as b; expected one"),
        (["a,ant/0.png", "New York, NY,ant/1.png"], r"row 2 of .* more cells .* in quotes"),
    ],
)
def test_labels_that_cannot_be_meant_are_told(class_folders, tmp_path, rows, words):
    with pytest.raises(InputError, match=words):
        read(class_folders, labels=labels_in(tmp_path, *rows))


def test_spaces_around_a_label_make_no_other_class(class_folders, tmp_path):
    rows = ["cat,ant/0.png", "cat ,ant/1.png", " cat,ant/2.png", " ,ant/3.png"]
    for listed in (rows, [row.replace(",", ", ") for row in rows]):
        parts = read(class_folders, labels=labels_in(tmp_path, *listed))
        assert parts.class_names == ["cat"]
        assert parts.train.labels.tolist().count(0) == 3


def test_commas_at_the_end_of_a_row_are_nothing(class_folders, tmp_path):
    parts = read(class_folders, labels=labels_in(tmp_path, "cat,ant/0.png,", "dog,ant/1.png, ,"))
    assert parts.class_names == ["cat", "dog"]


def test_a_file_of_labels_that_is_missing_or_beside_class_folders_is_told(class_folders):
    with pytest.raises(InputError, match=r"cannot be read .* expected a CSV file"):
        read(class_folders, labels=str(class_folders))
    with pytest.raises(InputError, match="expected one of them"):
        read(class_folders, labelled=True, labels="labels.csv")


def missing(folder, draw):
    return folder / "nowhere"


def file(folder, draw):
    return draw(folder / "picture.png")


def no_pictures(folder, draw):
    (folder / "notes.txt").write_text("no picture")
    return folder


def only_empty_folders(folder, draw):
    (folder / "a").mkdir()
    return folder


def empty_class(folder, draw):
    draw(folder / "full" / "1.png")
    (folder / "hollow").mkdir()
    return folder


def strange_test_class(folder, draw):
    draw(folder / "train" / "a" / "1.png")
    draw(folder / "train" / "b" / "1.png")
    draw(folder / "test" / "c" / "1.png")
    return folder


def drawn(*names):
    """A layout of pictures alone."""

    def layout(folder, draw):
        for name in names:
            draw(folder / name)
        return folder

    return layout


loose_beside_test_classes = drawn("train/a/1.png", "train/b/1.png", "test/a/1.png", "test/2.png")
flat_test = drawn("train/a/1.png", "train/b/1.png", "test/1.png", "test/2.png")
class_called_train = drawn("train/1.png", "bus/1.png")
loose_beside_train = drawn("train/a/1.png", "1.png")
nothing_to_train_on = drawn("test/a/1.png")
part_beside_classes = drawn("a/1.png", "b/1.png", "valid/a/2.png", "valid/b/2.png")
parts_in_capitals = drawn("Train/a/1.png", "Train/b/1.png", "Test/a/2.png", "Test/b/2.png")
parts_of_longer_names = drawn("training/a/1.png", "testing/a/2.png")


def empty_test(folder, draw):
    for name in ("train/a/1.png", "train/b/1.png"):
        draw(folder / name)
    (folder / "val").mkdir()
    return folder


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        (missing, "is not there; expected a folder"),
        (file, "is a file; expected a folder"),
        (no_pictures, r"no pictures in .* \(1 \.txt\)"),
        (only_empty_folders, "no pictures in"),
        (empty_class, "1 of the 2 class folders.*hollow.* or set data.*labelled to false"),
        (class_called_train, "would be left aside: bus/; .* rename train/ if it is a class"),
        (loose_beside_train, "would be left aside: 1.png;"),
        (strange_test_class, "not in train/ are: c"),
        (loose_beside_test_classes, "test holds class folders and .* left aside: 2.png; .* move"),
        (flat_test, "test holds 2 pictures and no class folders, .* sort them .* or move them out"),
        (empty_test, "no pictures in .*val nor in the folders below"),
        (nothing_to_train_on, "none called train/"),
        (part_beside_classes, "valid/ among the class .* or, if it is a class, set .* to true"),
        (parts_in_capitals, "Test/ among the class folders and none called train/; .* rename"),
        (parts_of_longer_names, "testing/ among the class folders and none called train/"),
    ],
)
def test_what_cannot_be_used_is_told(tmp_path, draw, layout, words):
    with pytest.raises(InputError, match=words):
        read(layout(tmp_path, draw))


@pytest.mark.parametrize("settings", [{"labelled": False}, {"labels": "labels.csv"}])
def test_parts_are_not_joined_where_folders_are_no_classes(tmp_path, draw, settings):
    folder = parts_in_capitals(tmp_path, draw)
    with pytest.raises(InputError, match=r"Test/ among the folders .* to train on all, rename it"):
        read(folder, **settings)
    (folder / "Test").rename(folder / "more")
    (folder / "labels.csv").write_text("path,label\nTrain/a/1.png,a\n")
    settings = {name: value and str(folder / value) for name, value in settings.items()}
    assert len(read(folder, **settings).train.pictures) == 4


def test_a_path_that_is_empty_is_not_the_folder_at_hand():
    with pytest.raises(InputError, match="path is empty; expected a folder of pictures"):
        PictureFolder("")


def test_a_class_may_be_called_like_a_test_part(tmp_path, draw):
    folder = part_beside_classes(tmp_path, draw)
    assert read(folder, labelled=True).class_names == ["a", "b", "valid"]
    assert read(folder, labelled=False).class_names is None


def test_a_class_may_be_called_like_a_picture(tmp_path, draw):
    for name in ("ant.png/1.png", "bee.v2/1.png", "bee.v2/2.png"):
        draw(tmp_path / name)
    parts = read(tmp_path)
    assert parts.class_names == ["ant.png", "bee.v2"]
    assert parts.train.labels.tolist() == [0, 1, 1]


def test_thumbnails_of_a_disk_station_are_no_pictures(class_folders, draw):
    draw(class_folders / "ant" / "@eaDir" / "0.png" / "SYNOPHOTO_THUMB_XL.jpg")
    draw(class_folders / "@eaDir" / "1.jpg")
    assert read(class_folders).train.labels.tolist() == np.repeat([0, 1, 2], 10).tolist()


def test_a_folder_that_may_not_be_read_is_told(class_folders, monkeypatch):
    """Such as lost+found; permissions do not keep root out, so the system's call is replaced."""
    scandir = os.scandir

    def refusing(folder):
        if str(folder).endswith("bee"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(InputError, match=r"bee cannot be read \(Permission denied\)"):
        read(class_folders)


def test_what_is_passed_by_is_known(tmp_path, draw):
    for name in ("train/a/1.png", "train/b/1.png", "test/b/2.jpg", "val/b/3.jpg"):
        draw(tmp_path / name)
    (tmp_path / "notes").mkdir()  # without pictures, so nothing is lost
    for name in ("a/2.HEIC", "a/3.heic", "b/raw", "b/.hidden", "../notes/x.txt"):
        (tmp_path / "train" / name).write_text("no picture")
    found = PictureFolder(str(tmp_path)).find(tmp_path)
    assert len(found.read().train.pictures) == 2
    counts, unused = found.passed_by().split("; ")
    assert set(counts.split(", ")) == {"2 .heic", "1 without a suffix", "1 .txt"}
    assert unused == "val/, as test/ is the test part"


def test_loose_pictures_where_labels_are_wanted_are_refused(tmp_path, draw):
    draw(tmp_path / "loose.png")
    draw(tmp_path / "a" / "1.png")
    with pytest.raises(InputError, match="1 pictures and 1 folders"):
        read(tmp_path, labelled=True)


def test_links_to_folders_are_classes_and_links_to_themselves_are_passed_by(tmp_path, draw):
    draw(tmp_path / "pictures" / "ant" / "1.png")
    draw(tmp_path / "elsewhere" / "2.png")
    (tmp_path / "pictures" / "bee").symlink_to("../elsewhere")
    (tmp_path / "pictures" / "round").symlink_to("round")
    assert read(tmp_path / "pictures").class_names == ["ant", "bee"]


def test_links_to_folders_are_followed_once_and_never_upwards(tmp_path, draw):
    """Disks are linked into one folder; what is met twice would be in training and test."""
    pictures = tmp_path / "pictures"
    for path in ("pictures/own/in/1.png", "disk/deep/2.png", "disk/3.png", "above.png"):
        draw(tmp_path / path)
    for name, target in {"again": "own/in", "disk": "../disk", "up": "..", "same": "."}.items():
        (pictures / name).symlink_to(target)
    (tmp_path / "disk" / "back").symlink_to("..")
    (tmp_path / "disk" / "note.heic").touch()
    found = relative(read(pictures, labelled=False).train, pictures)
    assert found == ["own/in/1.png", "disk/3.png", "disk/deep/2.png"]
    assert PictureFolder(str(pictures)).find(tmp_path).passed_by() == "1 .heic"
