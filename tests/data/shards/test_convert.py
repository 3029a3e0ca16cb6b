"""From any source to shards, whole or not at all."""

import json
import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pyarrow import parquet

from dim_lightning.data import Digits, ImageDataModule, PictureFolder, Stream
from dim_lightning.data.cache import cached
from dim_lightning.data.contents import cached_contents
from dim_lightning.data.shards import convert
from dim_lightning.data.sources import Found, Part, Parts
from dim_lightning.data.splits import Shares
from dim_lightning.errors import InputError

SHARES = Shares(0.2, 0.2, 3)
BYTES = 5 * 3 * 8 * 8


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_splits_are_those_of_the_decoded_cache(class_folders, tmp_path):
    source = PictureFolder(str(class_folders))
    convert(source.find(tmp_path), 8, SHARES, tmp_path / "out", BYTES)
    settings = {"root": str(tmp_path), "image_size": 8, "batch_size": 4, "eval_batch_size": 7}
    settings |= SHARES._asdict()
    mapped = ImageDataModule(source, **settings)
    stream = ImageDataModule(Stream(str(tmp_path / "out")), **settings)
    for data in (mapped, stream):
        data.setup()
    assert stream.class_names == mapped.class_names == ["ant", "bee", "cow"]
    for name in ("val", "test"):
        one, two = mapped.split(name), stream.split(name)
        assert one.names == two.names
        assert one.labels.tolist() == two.labels.tolist()
        assert torch.equal(one.pictures(range(len(one))), two.pictures(range(len(two))))
    one, two = mapped.split("train"), stream.split("train")
    assert one.names != two.names  # shuffled
    place = [one.names.index(name) for name in two.names]
    assert sorted(place) == list(range(len(one)))
    assert torch.equal(one.pictures(place), two.pictures(range(len(two))))
    assert one.labels[place].tolist() == two.labels.tolist()


def test_files_are_of_equal_size_and_say_where_each_picture_is_from(class_folders, tmp_path):
    source = PictureFolder(str(class_folders)).find(tmp_path)
    layout = convert(source, 8, SHARES, tmp_path / "out", BYTES)
    counts = {split: [s.rows for s in shards] for split, shards in layout.shards.items()}
    assert counts == {"train": [5, 5, 5, 4], "val": [5], "test": [3, 3]}
    names = [*(s.name for shards in layout.shards.values() for s in shards)]
    assert sorted(files(tmp_path / "out")) == sorted([*names, "README.md", "dim_lightning.json"])
    paths = source.read().train.pictures
    for name in names:
        for row in parquet.read_table(tmp_path / "out" / name).to_pylist():
            assert row["path"] == paths[row["row"]]
            pixels = np.frombuffer(row["pixels"], np.uint8).reshape(8, 8, 3)
            assert pixels[4, 4].tolist() == [80 * row["label"], row["row"] % 10, 0]


def test_contents_are_those_of_the_pictures_wherever_they_lie(class_folders, tmp_path):
    def made(folder, name, size=BYTES):
        source = PictureFolder(str(folder)).find(tmp_path)
        layout = convert(source, 8, SHARES, tmp_path / name, size)
        assert layout.contents == cached_contents(cached(source, 8, tmp_path / "cache")).sha256
        settings = {"image_size": 8, "batch_size": 4, **SHARES._asdict()}
        data = ImageDataModule(Stream(str(tmp_path / name)), **settings)
        data.setup()
        return data.contents

    before = made(class_folders, "before")
    moved = class_folders.rename(tmp_path / "moved")
    assert made(moved, "same") == before
    assert made(moved, "small", BYTES // 2) != before  # an epoch meets them in another order
    (moved / "ant" / "0.png").rename(moved / "cow" / "zzz.png")
    after = made(moved, "after")
    assert after.counts == before.counts
    assert after.sha256 != before.sha256


def test_the_page_of_the_folder_opens_it_in_the_library_of_the_format(digits, tmp_path):
    datasets = pytest.importorskip("datasets")
    opened = datasets.load_dataset(str(digits), cache_dir=str(tmp_path))
    assert {name: len(rows) for name, rows in opened.items()} == {
        "train": 1294,
        "validation": 144,
        "test": 359,
    }
    row = opened["validation"][5]
    stream = ImageDataModule(Stream(str(digits)), image_size=8)
    stream.setup()
    expected = stream.split("val").pictures([5])[0].permute(1, 2, 0).numpy()
    assert np.array_equal(np.frombuffer(row["pixels"], np.uint8).reshape(8, 8, 3), expected)


class Watched(list):
    """Pictures that count who looks, and stop the work at one of them."""

    stop_at = None
    looked_at = 0

    def __getitem__(self, row):
        self.looked_at += 1
        if self.looked_at == self.stop_at:
            raise KeyboardInterrupt
        return super().__getitem__(row)


def found(pictures, fingerprint="same"):
    part = Part(pictures, np.zeros(len(pictures), np.int64))
    return Found("made", "nowhere", [fingerprint], lambda: Parts(part, None, ["a"]))


@pytest.fixture
def pictures(tmp_path, draw):
    return Watched(str(draw(tmp_path / f"{i}.png", seed=i)) for i in range(40))


def test_an_interrupted_conversion_goes_on(pictures, tmp_path):
    convert(found(list(pictures)), 8, SHARES, tmp_path / "whole", BYTES)
    pictures.stop_at = 28
    with pytest.raises(KeyboardInterrupt):
        convert(found(pictures), 8, SHARES, tmp_path / "out", BYTES)
    assert not (tmp_path / "out").exists()
    there = len(list((tmp_path / "out.partial").glob("train-*.parquet")))
    assert 0 < there < 6
    pictures.looked_at, pictures.stop_at = 0, None
    convert(found(pictures), 8, SHARES, tmp_path / "out", BYTES)
    assert files(tmp_path / "out") == files(tmp_path / "whole")
    # each is looked at twice, for its pixels and for its path
    assert pictures.looked_at < 2 * (40 - 4 * there)


def test_a_conversion_stopped_at_its_very_end_is_not_begun_anew(pictures, tmp_path, monkeypatch):
    def stopped(path, target):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", stopped)
        with pytest.raises(KeyboardInterrupt):
            convert(found(pictures), 8, SHARES, tmp_path / "out", BYTES)
    pictures.looked_at = 0
    convert(found(pictures), 8, SHARES, tmp_path / "out", BYTES)
    assert pictures.looked_at == 3  # whether they are files: twice for the description, for copies
    assert not (tmp_path / "out" / "plan").exists()


def test_a_file_cut_short_by_a_crash_is_written_again(pictures, tmp_path):
    convert(found(pictures), 8, SHARES, tmp_path / "whole", BYTES)
    pictures.looked_at, pictures.stop_at = 0, 28
    with pytest.raises(KeyboardInterrupt):
        convert(found(pictures), 8, SHARES, tmp_path / "out", BYTES)
    first = min((tmp_path / "out.partial").glob("train-*.parquet"))
    first.write_bytes(first.read_bytes()[:100])
    pictures.stop_at = None
    convert(found(pictures), 8, SHARES, tmp_path / "out", BYTES)
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_what_was_begun_of_other_pictures_is_kept_until_it_is_removed(pictures, tmp_path):
    """Hours of work, perhaps: of a folder that has one picture more by now."""
    pictures.stop_at = 28
    with pytest.raises(KeyboardInterrupt):
        convert(found(pictures, "before"), 8, SHARES, tmp_path / "out", BYTES)
    partial = tmp_path / "out.partial"
    before = files(partial)
    pictures.looked_at, pictures.stop_at = 0, None
    words = rf"{partial} holds 2 shards of other pictures, labels or settings.* remove that folder"
    for other, shares in (("after", SHARES), ("before", Shares(0.2, 0.2, 4))):
        with pytest.raises(InputError, match=words):
            convert(found(pictures, other), 8, shares, tmp_path / "out", BYTES)
        assert files(partial) == before
    shutil.rmtree(partial)
    convert(found(pictures, "after"), 8, SHARES, tmp_path / "out", BYTES)
    assert pictures.looked_at == 2 * 40 + 3
    assert not partial.exists()


def test_what_was_begun_and_has_no_shard_yet_is_no_loss(pictures, tmp_path):
    pictures.stop_at = 1
    with pytest.raises(KeyboardInterrupt):
        convert(found(pictures, "before"), 8, SHARES, tmp_path / "out", BYTES)
    pictures.stop_at = None
    convert(found(pictures, "after"), 8, SHARES, tmp_path / "out", BYTES)


@pytest.mark.parametrize("there", [Path.mkdir, lambda path: path.symlink_to("nothing")])
def test_nothing_is_overwritten(pictures, tmp_path, there):
    there(tmp_path / "out")
    with pytest.raises(InputError, match=r"out is there already; expected a folder to be made"):
        convert(found(pictures), 8, SHARES, tmp_path / "out", BYTES)


def test_too_little_space_is_told_before_anything_is_decoded(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(InputError, match=r"too little space, .* point OUTPUT to another disk"):
        convert(found(pictures), 8, SHARES, tmp_path / "out", BYTES)
    assert pictures.looked_at == 1  # whether they are files
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written_is_told(pictures, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot write .*file.*; choose another OUTPUT"):
        convert(found(pictures), 8, SHARES, tmp_path / "file" / "out", BYTES)


def test_too_few_pictures_are_told(pictures, tmp_path):
    with pytest.raises(InputError, match=r"6 training pictures leave 1 for the split val"):
        convert(found(pictures[:6]), 8, SHARES, tmp_path / "out", BYTES)


def test_a_split_without_a_label_among_labelled_ones_is_told_before_it_is_written(
    pictures, tmp_path
):
    labels = np.full(len(pictures), -1)
    labels[SHARES.rows(len(pictures), None)["train"]] = 0
    some = Found("some", "nowhere", [1], lambda: Parts(Part(pictures, labels), None, ["a"]))
    with pytest.raises(InputError, match=r"pictures of the split val has a label; expected some"):
        convert(some, 8, SHARES, tmp_path / "out", BYTES)


def test_few_unreadable_pictures_are_left_out_and_many_are_an_error(tmp_path, draw, capsys):
    paths = [str(draw(tmp_path / f"{i}.png", seed=i)) for i in range(120)]
    (tmp_path / "7.png").write_bytes(b"nothing")
    layout = convert(found(paths), 8, SHARES, tmp_path / "out", BYTES)
    assert sum(s.rows for shards in layout.shards.values() for s in shards) == 119
    kept = json.loads((tmp_path / "out" / "dim_lightning.json").read_text())["unreadable"]
    assert [name.split(" ")[0] for name in kept] == [paths[7]]
    said = capsys.readouterr().err
    assert "1 of 120 pictures in nowhere cannot be read and are left out" in said
    assert f"remove {tmp_path / 'out'} to look again" in said
    (tmp_path / "8.png").write_bytes(b"nothing")
    with pytest.raises(InputError, match="2 of 120 pictures in nowhere cannot be read"):
        convert(found(paths), 8, SHARES, tmp_path / "again", BYTES)
    draw(tmp_path / "8.png", seed=8)  # as when the disk they lie on is back
    assert convert(found(paths), 8, SHARES, tmp_path / "again", BYTES) == layout


def test_with_more_unreadable_ones_allowed_a_conversion_goes_on(pictures, tmp_path):
    for number in range(10, 20):
        Path(pictures[number]).write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"fewer than 20%;.* set data\.max_unreadable"):
        convert(found(pictures), 8, SHARES, tmp_path / "out", BYTES, 0.2)
    partial = tmp_path / "out.partial"
    times = {path.name: path.stat().st_mtime_ns for path in partial.glob("*.parquet")}
    assert len(times) > 2
    layout = convert(found(pictures), 8, SHARES, tmp_path / "out", BYTES, 0.3)
    for name, time in times.items():
        assert (tmp_path / "out" / name).stat().st_mtime_ns == time
    assert len(layout.unreadable) == 10
    convert(found(list(pictures)), 8, SHARES, tmp_path / "whole", BYTES, 0.3)
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_digits_have_no_paths(digits, tmp_path):
    data = ImageDataModule(Stream(str(digits)), image_size=8)
    data.setup()
    assert data.split("test").names is None
    rows = Shares(0.1, 0.2, 0).rows(1797, None)["test"]
    expected = Digits().find(tmp_path).read().train.labels[rows]
    assert np.array_equal(data.split("test").labels, expected)


@pytest.mark.skipif(sys.platform == "darwin", reason="all names are text there")
def test_a_name_that_is_no_text_is_spelt_out(tmp_path, draw):
    paths = [str(draw(tmp_path / f"{i}.png", seed=i)) for i in range(20)]
    paths.append(str(draw(tmp_path / os.fsdecode(b"\xff.png"))))
    convert(found(paths), 8, SHARES, tmp_path / "out", BYTES)
    data = ImageDataModule(Stream(str(tmp_path / "out")), image_size=8, **SHARES._asdict())
    data.prepare_data()
    data.setup("predict")
    names = data.predict_dataloader().dataset.names
    assert str(tmp_path / "\\udcff.png") in names
    assert sorted(names)[:20] == sorted(paths)[:20]
