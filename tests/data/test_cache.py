import errno
import fcntl
import hashlib
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
from collections import Counter

import forked
import numpy as np
import pytest

from dim_lightning.data import disk
from dim_lightning.data.cache import cached
from dim_lightning.data.sources import Found, Part, Parts, PictureFolder
from dim_lightning.errors import InputError


def build(pictures, cache_dir, size=8):
    return cached(PictureFolder(str(pictures)).find(cache_dir), size, cache_dir)


def arrays(ready):
    images = np.load(ready.folder / "train.npy", mmap_mode="r")
    return np.array(images), np.load(ready.folder / "train_labels.npy")


def left_behind(cache_dir):
    """Everything in the folder that is not a finished cache, a lock or the mark of a cache."""
    return [
        entry.name
        for entry in cache_dir.iterdir()
        if not (entry / "meta.json").exists()
        and not entry.name.endswith(".lock")
        and entry.name != "CACHEDIR.TAG"
    ]


def test_pictures_and_labels_are_stored_in_order(class_folders, tmp_path):
    ready = build(class_folders, tmp_path / "cache")
    images, labels = arrays(ready)
    assert ready.class_names == ["ant", "bee", "cow"]
    assert ready.parts == {"train": 30}
    assert images.shape == (30, 8, 8, 3)
    assert images.dtype == np.uint8
    assert labels.dtype == np.int64
    expected = [(80 * label, i, 0) for label in range(3) for i in range(10)]
    assert images[:, 4, 4].tolist() == [list(colour) for colour in expected]
    assert labels.tolist() == [label for label in range(3) for _ in range(10)]
    names = json.loads((ready.folder / "train_names.json").read_text())
    assert names[11] == str(class_folders / "bee" / "1.png")


def test_second_time_nothing_is_decoded(class_folders, tmp_path):
    first = build(class_folders, tmp_path / "cache")
    before = (first.folder / "train.npy").stat().st_mtime_ns
    again = build(class_folders, tmp_path / "cache")
    assert again == first
    assert (again.folder / "train.npy").stat().st_mtime_ns == before


def changed_pixels(folder, draw):
    draw(folder / "ant" / "0.png", colour=250)


def added(folder, draw):
    draw(folder / "ant" / "new.png", colour=250)


def removed(folder, draw):
    (folder / "ant" / "0.png").unlink()


def renamed_class(folder, draw):
    (folder / "ant").rename(folder / "zebra")


@pytest.mark.parametrize("change", [changed_pixels, added, removed, renamed_class])
def test_a_changed_source_is_decoded_anew(class_folders, tmp_path, draw, change, capfd):
    first = build(class_folders, tmp_path / "cache")
    change(class_folders, draw)
    again = build(class_folders, tmp_path / "cache")
    assert again.folder != first.folder
    assert f"{first.folder} is an older state" in capfd.readouterr().err
    one, two = arrays(first), arrays(again)
    same = one[0].shape == two[0].shape and np.array_equal(one[0], two[0])
    assert not (same and first.class_names == again.class_names)


def test_a_folder_has_one_cache_however_it_is_spelt(class_folders, tmp_path, monkeypatch, capfd):
    ready = build(class_folders, tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    assert build("pictures", tmp_path / "cache") == ready
    monkeypatch.chdir(class_folders)
    assert build(".", tmp_path / "cache") == ready
    assert build("../pictures", tmp_path / "cache") == ready
    assert "an older state" not in capfd.readouterr().err


def test_sizes_lie_side_by_side(class_folders, tmp_path):
    assert arrays(build(class_folders, tmp_path / "cache", 8))[0].shape[1:3] == (8, 8)
    assert arrays(build(class_folders, tmp_path / "cache", 4))[0].shape[1:3] == (4, 4)


def test_labels_of_a_file_need_no_other_cache(class_folders, tmp_path):
    """Nor do the same pictures without labels."""
    file, found = tmp_path / "labels.csv", []
    of_file = {"labels": str(file)}
    kinds = {
        "dog,bee/0.png\ncat,cow/3.png": of_file,
        "cat,bee/0.png": of_file,
        "": {"labelled": False},
    }
    for rows, settings in kinds.items():
        file.write_text(f"label,path\n{rows}\n")
        source = PictureFolder(str(class_folders), **settings)
        found.append(cached(source.find(tmp_path), 8, tmp_path / "cache"))
    assert len({each.folder for each in found}) == 1
    assert [each.class_names for each in found] == [["cat", "dog"], ["cat"], None]
    names = json.loads((found[0].folder / "train_names.json").read_text())
    rows = [names.index(str(class_folders / name)) for name in ("bee/0.png", "cow/3.png")]
    assert [each.labels_of("train")[rows].tolist() for each in found] == [[1, 0], [0, -1], [-1, -1]]
    assert [(each.labels_of("train") >= 0).sum() for each in found] == [2, 1, 0]


@pytest.mark.parametrize("name", ["train.npy", "train_labels.npy", "meta.json"])
def test_a_file_cut_short_is_noticed_and_mended(class_folders, tmp_path, name, capfd):
    first = build(class_folders, tmp_path / "cache")
    whole = (first.folder / name).read_bytes()
    (first.folder / name).write_bytes(whole[:-20])
    again = build(class_folders, tmp_path / "cache")
    assert (again.folder / name).read_bytes() == whole
    assert "is damaged" in capfd.readouterr().err


@pytest.mark.parametrize("text", ["null", "[]", '{"parts": []}'])
def test_a_description_that_is_none_is_noticed_and_mended(class_folders, tmp_path, text):
    first = build(class_folders, tmp_path / "cache")
    whole = (first.folder / "meta.json").read_text()
    (first.folder / "meta.json").write_text(text)
    assert build(class_folders, tmp_path / "cache") == first
    assert (first.folder / "meta.json").read_text() == whole


def test_all_of_it_is_on_the_disk_before_it_has_its_name(class_folders, tmp_path, monkeypatch):
    synced, reach = set(), disk.reach_disk
    monkeypatch.setattr(
        disk, "reach_disk", lambda file: (reach(file), synced.add(os.fstat(file).st_ino))
    )
    folder = build(class_folders, tmp_path / "cache").folder
    assert {path.stat().st_ino for path in folder.iterdir()} == synced


def unfinished(path, number):
    """What a process of this host fills, beside what it will be."""
    return path.with_name(f"{path.name}.{socket.gethostname()}-{number}.partial")


@pytest.fixture
def ended():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_what_a_killed_process_left_is_cleared_away(class_folders, tmp_path, ended):
    first = build(class_folders, tmp_path / "cache")
    expected = arrays(first)[0]
    left = first.folder.rename(unfinished(first.folder, ended))
    (left / "meta.json").unlink()
    again = build(class_folders, tmp_path / "cache")
    assert np.array_equal(arrays(again)[0], expected)
    assert left_behind(tmp_path / "cache") == []


def test_processes_that_no_lock_keeps_apart_do_not_spoil_each_others_work(tmp_path):
    """As those of several hosts on a disk without locks."""
    path, other = tmp_path / "cache", unfinished(tmp_path / "cache", os.getppid())
    other.mkdir()
    (other / "theirs").write_text("begun")
    with disk.folder_when_done(path) as partial:
        (partial / "mine").write_text("begun")
        assert (other / "theirs").read_text() == "begun"
        other.rename(path)  # they were quicker
    assert [found.name for found in tmp_path.rglob("*")] == ["cache", "theirs"]


def test_what_is_spoilt_is_replaced(tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "half").touch()
    with disk.folder_when_done(tmp_path / "cache") as partial:
        (partial / "whole").touch()
    assert [found.name for found in tmp_path.rglob("*")] == ["cache", "whole"]


class Interrupted(list):
    """Pictures at which somebody presses Ctrl-C."""

    def __getitem__(self, position):
        raise KeyboardInterrupt


def test_an_interrupted_build_leaves_nothing(tmp_path):
    parts = Parts(Part(Interrupted(["a.png"]), np.zeros(1, np.int64)), None, ["a"])
    found = Found("stopped", "nowhere", ["once"], lambda: parts)
    with pytest.raises(KeyboardInterrupt):
        cached(found, 8, tmp_path / "cache")
    assert left_behind(tmp_path / "cache") == []


def break_pictures(folder, count):
    paths = sorted(folder.rglob("*.png"))[:count]
    for path in paths:
        path.write_bytes(path.read_bytes()[:-30])
    return paths


def test_few_unreadable_pictures_are_named_counted_and_left_out(tmp_path, draw, capfd):
    folder = tmp_path / "many"
    for i in range(201):
        draw(folder / "ab"[i % 2] / f"{i:03}.png", (4, 4), colour=i)
    (broken,) = break_pictures(folder, 1)
    ready = build(folder, tmp_path / "cache", 4)
    images, labels = arrays(ready)
    assert ready.parts == {"train": 200}
    assert Counter(labels.tolist()) == {0: 100, 1: 100}
    assert images[:100, 0, 0, 0].tolist() == list(range(2, 202, 2))
    message = capfd.readouterr().err
    assert "1 of 201 pictures" in message
    assert str(broken) in message
    assert json.loads((ready.folder / "meta.json").read_text())["unreadable"][0].startswith(
        str(broken)
    )


def test_a_link_to_nothing_is_left_out_until_there_is_something(tmp_path, draw, capfd):
    folder = tmp_path / "many"
    for i in range(200):
        draw(folder / f"{i:03}.png", (4, 4), colour=i)
    (folder / "link.png").symlink_to("../there.png")
    assert build(folder, tmp_path / "cache", 4).parts == {"train": 200}
    assert str(folder / "link.png") in capfd.readouterr().err
    draw(tmp_path / "there.png", (4, 4), colour=250)
    assert build(folder, tmp_path / "cache", 4).parts == {"train": 201}


def test_one_in_a_hundred_unreadable_is_an_error(tmp_path, draw):
    folder = tmp_path / "many"
    for i in range(100):
        draw(folder / f"{i:03}.png", (4, 4), colour=i)
    (broken,) = break_pictures(folder, 1)
    with pytest.raises(InputError, match="1 of 100 pictures") as error:
        build(folder, tmp_path / "cache", 4)
    assert str(broken) in str(error.value)
    assert left_behind(tmp_path / "cache") == []


def of_arrays(count, broken):
    """Pictures of which the first few are none."""
    arrays = [np.zeros((4, 4) if row >= broken else (4, 4, 5), np.uint8) for row in range(count)]
    part = Part(arrays, np.zeros(count, np.int64))
    return Found("arrays", "nowhere", [count, broken], lambda: Parts(part, None, ["a"]))


def test_decoding_ends_as_soon_as_too_many_are_unreadable(tmp_path):
    text = r"12 of 1,200 pictures in nowhere cannot be read, and 688 were not looked at: .*max_unr"
    with pytest.raises(InputError, match=text):
        cached(of_arrays(1200, 12), 4, tmp_path / "cache")
    assert cached(of_arrays(1200, 11), 4, tmp_path / "cache").parts == {"train": 1189}


def test_how_many_are_too_many_can_be_set_and_makes_no_other_cache(tmp_path):
    with pytest.raises(InputError, match=r"fewer than 1%;.* set data\.max_unreadable"):
        cached(of_arrays(10, 4), 4, tmp_path / "cache")
    ready = cached(of_arrays(10, 4), 4, tmp_path / "cache", 0.5)
    assert ready.parts == {"train": 6}
    assert cached(of_arrays(10, 4), 4, tmp_path / "cache", 0.6) == ready
    with pytest.raises(InputError, match=r"expected none;.* set data\.max_unreadable"):
        cached(of_arrays(1000, 1), 4, tmp_path / "cache", 0.0)
    assert cached(of_arrays(1000, 0), 4, tmp_path / "cache", 0.0).parts == {"train": 1000}


def test_of_many_unreadable_a_file_names_all_and_others_are_counted(tmp_path, draw, capfd):
    folder = tmp_path / "many"
    for i in range(10):
        draw(folder / f"{i:03}.png", (4, 4), colour=i)
    broken = break_pictures(folder, 7)
    (folder / "new.HEIC").write_text("of another kind")
    listed = tmp_path / "cache" / "pictures-many-4px.unreadable.txt"
    with pytest.raises(InputError, match=rf"and 2 more \(all are listed in {listed}\)"):
        build(folder, tmp_path / "cache", 4)
    lines = listed.read_text().splitlines()
    assert [line.split(" (")[0] for line in lines] == [str(path) for path in broken]
    assert f"passed by in {folder}: 1 .heic\n" in capfd.readouterr().err


def test_a_file_where_the_folder_should_be_is_explained(class_folders, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"data\.cache_dir") as error:
        build(class_folders, tmp_path / "file" / "cache")
    assert str(tmp_path / "file") in str(error.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="the administrator may write into any folder")
def test_a_read_only_folder_is_explained_and_one_with_the_cache_is_used(class_folders, tmp_path):
    cache_dir = tmp_path / "cache"
    first = build(class_folders, cache_dir)
    cache_dir.chmod(0o500)
    try:
        assert build(class_folders, cache_dir) == first
        with pytest.raises(InputError, match=r"you may not write there.*data\.cache_dir"):
            build(class_folders, cache_dir, 4)
    finally:
        cache_dir.chmod(0o700)


def build_on_a_full_disk(folder, cache_dir):
    """Files of this process may not grow beyond a limit: what a full disk looks like to it."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    with pytest.raises(InputError) as full:
        build(folder, cache_dir, 64)
    sys.stdout.write(f"{full.value}\n")


@pytest.mark.slow
def test_a_full_disk_is_explained_and_leaves_nothing(class_folders, tmp_path):
    cache_dir = tmp_path / "cache"
    done = forked.run(tmp_path / "said", build_on_a_full_disk, class_folders, cache_dir)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"cannot write {cache_dir}: a file became larger than")
    assert "free some space or point data.cache_dir" in done.stdout
    assert left_behind(cache_dir) == []


def test_too_little_space_is_told_before_anything_is_decoded(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    count = 2 * free // (4000 * 4000 * 3) + 2  # some may become free meanwhile
    part = Part(["never-read.png"] * count, np.zeros(count, np.int64))
    found = Found("huge", "nowhere", ["once"], lambda: Parts(part, None, ["a"]))
    with pytest.raises(InputError, match=r"too little space.*MB needed.*free some space"):
        cached(found, 4000, tmp_path / "cache")
    assert left_behind(tmp_path / "cache") == []


def build_with_others(folder, cache_dir, barrier):
    barrier.wait(120)
    ready = build(folder, cache_dir)
    sys.stdout.write(f"{ready.folder} {arrays(ready)[0].sum()}\n")


@pytest.mark.slow
def test_two_processes_at_once_get_the_same_whole_cache(class_folders, tmp_path):
    given = (build_with_others, class_folders, tmp_path / "cache", forked.CONTEXT.Barrier(2))
    first, other = forked.Forked(tmp_path / "1", *given), forked.Forked(tmp_path / "2", *given)
    with first, other:
        one, two = first.ended(), other.ended()
    assert (one.returncode, two.returncode) == (0, 0), one.stderr + two.stderr
    ready = build(class_folders, tmp_path / "cache")
    assert one.stdout == two.stdout == f"{ready.folder} {arrays(ready)[0].sum()}\n"
    assert left_behind(tmp_path / "cache") == []
    assert (one.stderr + two.stderr).count("done in") == 1  # only one of them decoded


def test_the_key_is_the_hash_of_what_it_was_made_from(class_folders, tmp_path):
    """Caches stay valid: it is taken piece by piece and is that of the whole."""
    found = PictureFolder(str(class_folders)).find(tmp_path)
    whole = repr((2, 8, list(found.fingerprint))).encode()
    folder = build(class_folders, tmp_path / "cache").folder
    assert folder.name.rpartition("-")[2] == hashlib.sha256(whole).hexdigest()[:12]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS])  # NFS, Lustre
def test_on_a_disk_without_locks_pictures_are_decoded_unlocked(
    class_folders, tmp_path, monkeypatch, capsys, number
):
    def refused(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refused)
    assert build(class_folders, tmp_path / "cache").parts == {"train": 30}
    assert "on a disk without locks" in capsys.readouterr().err


def test_a_folder_of_a_long_name(class_folders, tmp_path):
    pictures = class_folders.rename(class_folders.parent / ("絵" * 80))
    assert build(pictures, tmp_path / "cache").parts == {"train": 30}


def test_a_name_that_is_no_longer_than_a_file_s_stays_whole(class_folders, tmp_path):
    """A cache of another name would be decoded anew."""
    pictures = class_folders.rename(class_folders.parent / ("picture" * 25))
    folder = build(pictures, tmp_path / "cache").folder
    assert folder.name.startswith(f"pictures-{'picture' * 25}-8px-")
