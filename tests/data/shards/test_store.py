"""Shards in object storage, as far as a server on this machine and one in memory show it."""

import errno
import json
import sys
import time

import fsspec
import numpy as np
import pytest
import torch

from dim_lightning import writing
from dim_lightning.data import ImageDataModule, Stream
from dim_lightning.data.shards import convert, store
from dim_lightning.data.sources import Found, Part, Parts
from dim_lightning.data.splits import Shares
from dim_lightning.errors import InputError


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(store, "WAITS", (0.01, 0.01))


def stream(path, root, **settings):
    data = ImageDataModule(
        Stream(str(path), **settings), root=str(root), image_size=8, batch_size=50
    )
    data.setup()
    return data


def trained(data):
    return [batch.images for batch in data.train_dataloader()]


def equal(one, two):
    return len(one) == len(two) and all(map(torch.equal, one, two))


def test_a_server_serves_the_same_batches(served, digits, tmp_path):
    data = stream(served.url, tmp_path, keep_mb=0)
    assert equal(trained(data), trained(stream(digits, tmp_path)))
    assert sorted(served.asked) == sorted(
        ["dim_lightning.json", *(path.name for path in digits.glob("train-*"))]
    )
    assert not list(tmp_path.rglob("*.parquet"))


def test_copies_are_kept_and_not_asked_for_again(served, digits, tmp_path):
    data = stream(served.url, tmp_path)
    expected = [batch.images for batch in data.val_dataloader()]
    served.asked.clear()
    again = stream(served.url, tmp_path)
    assert equal([batch.images for batch in again.val_dataloader()], expected)
    assert served.asked == ["dim_lightning.json"]
    kept = list(tmp_path.rglob("*.parquet"))
    assert sorted(path.name for path in kept) == [
        path.name for path in sorted(digits.glob("val-*"))
    ]
    assert (tmp_path / "cache" / "CACHEDIR.TAG").exists()


def test_anybody_may_read_a_copy_who_may_read_a_new_file(served, tmp_path):
    list(stream(served.url, tmp_path).val_dataloader())
    (tmp_path / "new").touch()
    modes = {path.stat().st_mode for path in tmp_path.rglob("val-*")}
    assert modes == {(tmp_path / "new").stat().st_mode}


@pytest.mark.parametrize("length", [0, 1000, 10_000])
def test_a_damaged_copy_is_fetched_anew(served, tmp_path, length):
    data = stream(served.url, tmp_path)
    expected, labels = [b.images for b in data.val_dataloader()], data.split("val").labels.tolist()
    first, *_ = sorted(tmp_path.rglob("val-*"))
    whole = first.read_bytes()
    first.write_bytes(whole[:length])
    served.asked.clear()
    again = stream(served.url, tmp_path)
    assert equal([batch.images for batch in again.val_dataloader()], expected)
    assert served.asked == ["dim_lightning.json", first.name]
    assert first.read_bytes() == whole
    first.write_bytes(bytes(len(whole)))  # its length alone says nothing
    assert stream(served.url, tmp_path).split("val").labels.tolist() == labels
    assert len(list(first.parent.iterdir())) == 2


def test_a_shard_that_is_damaged_where_it_lies_is_named(digits, tmp_path):
    memory = fsspec.filesystem("memory")
    memory.put(str(digits), "/far", recursive=True)
    try:
        memory.pipe_file("/far/val-00000-of-00002.parquet", b"nothing")
        with pytest.raises(
            InputError, match=r"^memory://far/val-00000-of-00002\.parquet is damaged"
        ):
            list(stream("memory://far", tmp_path).val_dataloader())
    finally:
        memory.rm("/far", recursive=True)


def test_copies_of_other_pictures_are_not_taken(tmp_path):
    memory = fsspec.filesystem("memory")
    shown = []
    for value in (1, 2):
        part = Part(np.full((100, 8, 8, 3), value, np.uint8), np.zeros(100, np.int64))
        found = Found("made", "here", [value], lambda part=part: Parts(part, None, ["a"]))
        convert(found, 8, Shares(0.1, 0.2, 0), tmp_path / f"{value}", 2**20)
        memory.put(str(tmp_path / f"{value}"), "/far", recursive=True)
        shown.append(stream("memory://far", tmp_path).split("val").pictures([0]).unique().tolist())
        memory.rm("/far", recursive=True)
    assert shown == [[1], [2]]


def test_copies_are_kept_within_the_bound(digits, tmp_path):
    memory = fsspec.filesystem("memory")
    memory.put(str(digits), "/far", recursive=True)
    source = Stream("memory://far", keep_mb=0)
    data = stream("memory://far", tmp_path, keep_mb=0)
    layout = store_layout(data)
    assert list(source._kept(layout)) == []
    source.keep_mb = 2000
    assert len(list(source._kept(layout))) == 19
    assert next(source._kept(layout)).startswith("val-")
    memory.rm("/far", recursive=True)


def store_layout(data):
    from dim_lightning.data.shards.layout import read_layout

    return read_layout(data.split("val").reader.store)


def test_storage_in_memory_serves_the_same_batches(digits, tmp_path):
    memory = fsspec.filesystem("memory")
    memory.put(str(digits), "/far", recursive=True)
    try:
        for url in ("memory://far", "memory://far/", f"file://{digits}"):
            assert equal(trained(stream(url, tmp_path)), trained(stream(digits, tmp_path)))
    finally:
        memory.rm("/far", recursive=True)


def test_a_failing_server_is_asked_again(served, tmp_path):
    served.failures += [503, 500]
    assert len(trained(stream(served.url, tmp_path))) == 25


def test_a_server_that_keeps_failing_is_told(served, tmp_path):
    data = stream(served.url, tmp_path)
    served.failures += [503] * 3
    with pytest.raises(InputError, match=r"/val-0000.*cannot be read .*503.*credentials"):
        list(data.val_dataloader())
    assert len(list(data.val_dataloader())) == 3  # asked anew


def test_a_long_wait_is_told(served, tmp_path, monkeypatch, capsys):
    data = stream(served.url, tmp_path)
    monkeypatch.setattr(store, "_LONG", 0)
    served.failures += [503]
    assert len(list(data.val_dataloader())) == 3
    said = capsys.readouterr().err
    assert said.startswith(f"{served.url}/val-0000")
    assert said.endswith("; trying again in 0.01 s\n")


def test_what_may_not_be_read_is_not_asked_for_again(digits, tmp_path, monkeypatch):
    memory, asked = fsspec.filesystem("memory"), []

    def refused(path):
        asked.append(path)
        raise PermissionError("Access Denied")

    monkeypatch.setattr(type(memory), "cat_file", lambda self, path: refused(path))
    with pytest.raises(InputError, match=r"cannot be read \(.*Access Denied.*credentials"):
        stream("memory://far", tmp_path)
    assert len(asked) == 1


def test_a_column_is_read_without_the_pixels(digits, tmp_path, monkeypatch):
    memory = fsspec.filesystem("memory")
    memory.put(str(digits), "/far", recursive=True)
    try:
        data = stream("memory://far", tmp_path, keep_mb=0)
        expected = stream(digits, tmp_path).split("train").labels.tolist()
        monkeypatch.setattr(type(memory), "cat_file", None)  # which gives a file whole
        assert data.split("train").labels.tolist() == expected
    finally:
        memory.rm("/far", recursive=True)


def test_a_column_comes_with_the_pixels_from_a_server_of_whole_files(served, digits, tmp_path):
    data = stream(served.url, tmp_path, keep_mb=0)
    expected = stream(digits, tmp_path).split("test").labels.tolist()
    served.failures += [503] * 3  # of those that are asked for at once; one alone may meet them all
    assert data.split("test").labels.tolist() == expected


def test_a_damaged_copy_on_a_full_disk_is_not_taken_again(served, tmp_path, monkeypatch):
    expected = [batch.images for batch in stream(served.url, tmp_path).val_dataloader()]
    first, *_ = sorted(tmp_path.rglob("val-*"))
    first.write_bytes(b"nothing")
    monkeypatch.setattr(writing, "reach_disk", raising(OSError(errno.ENOSPC, "no more")))
    data = stream(served.url, tmp_path)
    for _ in range(2):
        assert equal([batch.images for batch in data.val_dataloader()], expected)
    assert not first.exists()


def test_the_end_of_a_training_does_not_wait_for_storage_that_fails(served, tmp_path, monkeypatch):
    data = stream(served.url, tmp_path)
    reader = data.split("train").reader
    monkeypatch.setattr(store, "WAITS", (600.0,))
    served.failures += [503]
    reader.expect([0])
    future = reader._held[0]
    while served.failures:
        time.sleep(0.01)
    data.teardown()
    with pytest.raises(InputError, match="cannot be read"):
        future.result(60)
    assert len(list(data.train_dataloader())) == 25  # as of a next fit


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_ends_the_copies_and_not_the_training(
    served, digits, tmp_path, monkeypatch, capsys, code
):
    data = stream(served.url, tmp_path)
    list(data.val_dataloader())
    failing = OSError(code, "no more")
    monkeypatch.setattr(writing, "reach_disk", raising(failing))
    assert equal(trained(data), trained(stream(digits, tmp_path)))
    assert capsys.readouterr().err.count("has no space for more copies of http") >= 1
    served.asked.clear()
    assert len(list(data.val_dataloader())) == 3
    assert served.asked == []  # of those that were made before there is use
    assert {path.name[:3] for path in tmp_path.rglob("*.parquet")} == {"val"}
    assert not list(tmp_path.rglob(".*.parquet.*"))


def test_another_failure_to_copy_is_an_error(served, tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "reach_disk", raising(OSError(errno.EACCES, "no")))
    with pytest.raises(InputError, match=r"cannot write .*: you may not write there; point data.c"):
        list(stream(served.url, tmp_path).val_dataloader())


def raising(error):
    def reach_disk(file):
        raise error

    return reach_disk


def test_what_failed_before_it_was_needed_is_asked_for_anew(served, tmp_path):
    data = stream(served.url, tmp_path)
    reader = data.split("val").reader
    served.failures += [503] * 3
    reader.expect([0])
    while not reader._future(0).done():
        time.sleep(0.01)
    assert len(list(data.val_dataloader())) == 3


def test_nothing_at_the_address_is_told(served, tmp_path):
    with pytest.raises(InputError, match=r"no dim_lightning\.json in .*/nowhere; expected"):
        stream(f"{served.url}/nowhere", tmp_path)


@pytest.mark.parametrize("kind", ["s3", "nonsense"])
def test_a_missing_library_is_told(tmp_path, monkeypatch, kind):
    monkeypatch.setitem(sys.modules, "s3fs", None)  # to import it is an error now
    with pytest.raises(InputError, match=r"pip install 'fsspec\[gs,http,s3\]' huggingface-hub"):
        stream(f"{kind}://bucket/far", tmp_path)


def test_copies_lie_in_the_cache_whatever_the_shards_are_called(digits, tmp_path):
    memory = fsspec.filesystem("memory")
    memory.put(str(digits), "/far", recursive=True)
    try:
        about = json.loads(memory.cat_file("/far/dim_lightning.json"))
        memory.pipe_file(
            "/far/dim_lightning.json", json.dumps(about | {"name": "../../x"}).encode()
        )
        list(stream("memory://far", tmp_path / "deep" / "root").val_dataloader())
    finally:
        memory.rm("/far", recursive=True)
    copies = list(tmp_path.rglob("val-*"))
    assert copies
    assert all(path.parents[1] == tmp_path / "deep" / "root" / "cache" for path in copies)


@pytest.mark.parametrize(
    ("path", "options", "where"),
    [
        ("https://me:token@host/shards", None, "path"),
        ("s3://bucket/shards", {"key": "AKIA", "anon": False}, "storage_options.key"),
        (
            "s3://bucket/shards",
            {"client_kwargs": {"aws_secret_access_key": 300 * "x"}},
            "storage_options.client_kwargs.aws_secret_access_key",
        ),
    ],
)
def test_credentials_do_not_come_into_the_files_of_a_run(path, options, where):
    with pytest.raises(InputError, match=rf"init_args\.{where} holds credentials, which config"):
        Stream(path, storage_options=options)
    Stream(path.replace("me:token@", ""), storage_options={"anon": True, "token": "anon"})
    Stream("abfs://container@account.dfs.core.windows.net/shards", storage_options={"token": True})
