"""Shards in object storage, as far as a server on this machine and one in memory show it."""

import sys

import fsspec
import pytest
import torch

from dim_lightning.data import ImageDataModule, Stream
from dim_lightning.data.shards import store
from dim_lightning.errors import InputError


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(store, "WAITS", (0.01, 0.01))


def stream(path, root, **settings):
    data = ImageDataModule(Stream(str(path), **settings), str(root), image_size=8, batch_size=50)
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
    assert len(list(data.val_dataloader())) == 1  # asked anew


def test_nothing_at_the_address_is_told(served, tmp_path):
    with pytest.raises(InputError, match=r"no dim_lightning\.json in .*/nowhere; expected"):
        stream(f"{served.url}/nowhere", tmp_path)


@pytest.mark.parametrize("kind", ["s3", "nonsense"])
def test_a_missing_library_is_told(tmp_path, monkeypatch, kind):
    monkeypatch.setitem(sys.modules, "s3fs", None)  # to import it is an error now
    with pytest.raises(InputError, match=r"pip install 'fsspec\[gs,http,s3\]' huggingface-hub"):
        stream(f"{kind}://bucket/far", tmp_path)
