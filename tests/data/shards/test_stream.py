"""A stream in place of a source, with the rest of the data module as it is."""

import json
import pickle
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy
from pyarrow import parquet
from quiet import Watcher, trainer

from dim_lightning.data import CropAndFlip, Digits, ImageDataModule, Stream
from dim_lightning.data.shards.reader import THREADS
from dim_lightning.errors import InputError


def stream(path, source=None, **settings):
    settings = {"image_size": 8, "batch_size": 50, **settings}
    data = ImageDataModule(Stream(str(path), **(source or {})), **settings)
    data.setup()
    return data


@pytest.fixture
def copy(digits, tmp_path):
    return shutil.copytree(digits, tmp_path / "copy")


def test_validation_and_test_are_those_of_the_cache(digits, tmp_path):
    mapped = ImageDataModule(Digits(), root=str(tmp_path), image_size=8, batch_size=50)
    mapped.setup()
    data = stream(digits)
    assert (data.labelled, data.num_classes) == (True, 10)
    for name in ("val", "test"):
        pairs = zip(
            getattr(mapped, f"{name}_dataloader")(),
            getattr(data, f"{name}_dataloader")(),
            strict=True,
        )
        assert all(
            torch.equal(a, b) for one, two in pairs for a, b in zip(one[:3], two[:3], strict=True)
        )
    reader = data.split("test").reader
    assert (reader.num_read, len(reader._held)) == (4, 2)  # each once, and not all are kept


def test_without_a_test_part_all_pictures_are_predicted(digits):
    loader = stream(digits).predict_dataloader()
    batches = list(loader)
    indices = torch.cat([batch.indices for batch in batches])
    assert indices.tolist() == list(range(1797))
    assert torch.equal(
        torch.cat([b.images for b in batches[:2]]), loader.dataset.pictures(range(512))
    )


@pytest.mark.parametrize("predicted", ["train", "test", "all"])
def test_what_is_predicted_is_that_of_the_cache(digits, tmp_path, predicted):
    mapped = ImageDataModule(Digits(), root=str(tmp_path), image_size=8, predicted=predicted)
    mapped.setup()
    expected = mapped.predict_dataloader().dataset
    images = stream(digits, predicted=predicted).predict_dataloader().dataset
    order = np.argsort(images.source_rows)
    assert np.array_equal(images.source_rows[order], expected.rows)
    assert np.array_equal(images.split_names[order], expected.split_names)
    assert torch.equal(images.pictures(order[:9]), expected.pictures(range(9)))


def test_a_limited_choice_is_read_from_few_shards(digits):
    data = stream(digits)
    (batch,) = data.clean_dataloader("train", limit=150)
    assert batch.indices.tolist() == list(range(150))
    assert data.split("train").reader.num_read == 2
    assert len(set(batch.labels.tolist())) == 10  # they were shuffled when written
    assert torch.equal(batch.images[[3]], data.split("train").pictures([3]))


def test_a_limited_choice_of_validation_is_that_of_the_cache(digits, tmp_path):
    mapped = ImageDataModule(Digits(), root=str(tmp_path), image_size=8)
    mapped.setup()
    (one,), (two,) = (data.clean_dataloader("val", limit=40) for data in (mapped, stream(digits)))
    assert torch.equal(one.indices, two.indices)
    assert torch.equal(one.images, two.images)


class Diary(Watcher):
    """Writes what each process met, and how many shards it read."""

    def on_fit_end(self):
        train = self.trainer.datamodule.split("train")
        content = {
            "indices": torch.cat([batch.indices for *_, batch in self.seen["train"]]).tolist(),
            "num_read": train.reader.num_read,
        }
        path = Path(self.trainer.default_root_dir) / f"{self.global_rank}.json"
        path.write_text(json.dumps(content))


@pytest.mark.slow
def test_two_processes_read_shards_of_their_own(digits, tmp_path):
    run = trainer(
        tmp_path, strategy=DDPStrategy(start_method="forkserver"), devices=2, max_epochs=1
    )
    run.fit(Diary(), stream(digits))
    one, two = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert len(one["indices"]) == len(two["indices"]) == 600
    assert not set(one["indices"]) & set(two["indices"])
    assert one["num_read"] + two["num_read"] <= 13 + 1  # one of them by both


def test_lightning_trains_on_it_in_an_order_of_each_epoch(digits, tmp_path):
    def fitted(epochs, path=None):
        watcher, run = Watcher(), trainer(tmp_path, max_epochs=epochs)
        run.fit(watcher, stream(digits, augmentation=CropAndFlip(shift=1)), ckpt_path=path)
        return watcher.seen["train"], run

    whole, _ = fitted(2)
    epochs = [torch.cat([b.indices for e, _, b in whole if e == epoch]) for epoch in (0, 1)]
    assert len(epochs[0]) == len(epochs[1]) == 1250
    assert not torch.equal(*epochs)
    _, first = fitted(1)
    first.save_checkpoint(tmp_path / "first.ckpt")
    rest, _ = fitted(2, tmp_path / "first.ckpt")
    for (*_, one), (*_, two) in zip(whole[25:], rest, strict=True):
        assert torch.equal(one.images, two.images)


@pytest.mark.parametrize("ended", ["teardown", "on_exception"])
def test_the_end_of_a_training_ends_reading_ahead(digits, monkeypatch, ended):
    """For which the process would wait, however slow the storage is."""
    data = stream(digits)
    reader = data.split("train").reader
    started, going_on, read = threading.Semaphore(0), threading.Event(), reader._read

    def slow(number):
        started.release()
        assert going_on.wait(60)
        return read(number)

    monkeypatch.setattr(reader, "_read", slow)
    reader.capacity = 13
    reader.expect(range(13))
    waiting = list(reader._held.values())
    assert all(started.acquire(timeout=60) for _ in range(THREADS))
    getattr(data, ended)(*([KeyboardInterrupt()] if ended == "on_exception" else []))
    going_on.set()
    assert sum(future.cancelled() for future in waiting) == 13 - THREADS
    assert len(list(data.train_dataloader())) == 25  # as of a next fit


def test_another_process_gets_no_pixels(digits):
    data = stream(digits)
    split = data.split("train")
    batch = split.__getitems__([3, 700])
    sent = pickle.dumps(split)
    assert len(sent) < 10_000
    assert torch.equal(pickle.loads(sent).pictures([3, 700]), batch.images)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"image_size": 16}, r"made with data\.image_size 8 .*data\.image_size is 16"),
        ({"validation_fraction": 0.2}, r"validation_fraction 0\.1 .*validation_fraction is 0\.2"),
        ({"test_fraction": 0.1}, r"set data\.test_fraction to 0\.2, or convert anew"),
        ({"split_seed": 1}, r"data\.split_seed 0 .*data\.split_seed is 1"),
    ],
)
def test_shards_of_other_settings_are_told(digits, settings, said):
    with pytest.raises(InputError, match=said):
        stream(digits, **settings)


def test_workers_are_told_to_be_of_no_use(digits):
    with pytest.raises(InputError, match=r"data\.num_workers is 2; expected 0 with a stream"):
        ImageDataModule(Stream(str(digits)), num_workers=2)


@pytest.mark.parametrize("settings", [{"window_mb": 0}, {"keep_mb": -1}])
def test_impossible_numbers_are_named(settings):
    (name,) = settings
    with pytest.raises(InputError, match=rf"init_args\.{name} is .*; expected at least"):
        Stream("here", **settings)


def test_a_folder_without_shards_is_told(tmp_path):
    with pytest.raises(InputError, match=r"no dim_lightning\.json in .*; expected a folder of"):
        stream(tmp_path)


def changed(content, **values):
    return json.dumps({**json.loads(content), **values})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text[:50], "is damaged"),
        (lambda text: "[]", "is damaged"),
        (lambda text: changed(text, format=2), "have format 2; expected 1"),
        (lambda text: changed(text, shares={}), "is damaged"),
        (lambda text: text.replace('"contents"', '"others"'), "is damaged"),
        (lambda text: text.replace("val-00000", "../val-00000"), "is damaged"),
    ],
)
def test_a_damaged_description_is_told(copy, change, said):
    path = copy / "dim_lightning.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(InputError, match=said):
        stream(copy)


def test_damaged_shards_are_named(copy):
    shards = sorted(copy.glob("val-*"))
    content = shards[0].read_bytes()
    shards[0].write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"val-00000-of-00002\.parquet is damaged .* 72 pictures"):
        list(stream(copy).val_dataloader())
    shards[0].write_bytes((copy / "test-00000-of-00004.parquet").read_bytes())
    with pytest.raises(InputError, match=r"val-00000-of-00002\.parquet is damaged \(90 rows"):
        list(stream(copy).val_dataloader())
    table = parquet.read_table(pa.BufferReader(content))
    for pixels in ([*table["pixels"].to_pylist()[:-1], None], [b"short"] * len(table)):
        others = table.set_column(0, "pixels", pa.array(pixels, pa.binary()))
        parquet.write_table(others, shards[0])
        with pytest.raises(InputError, match=r"damaged \(pictures that are not 8x8\)"):
            list(stream(copy).val_dataloader())
    shards[0].unlink()
    shards[0].mkdir()  # which no user's rights could help
    with pytest.raises(InputError, match=r"val-00000-of-00002\.parquet cannot be read \(.*see to"):
        list(stream(copy).val_dataloader())
    shards[0].rmdir()
    with pytest.raises(InputError, match=r"val-00000-of-00002\.parquet is not there; expected"):
        list(stream(copy).val_dataloader())
    shards[0].write_bytes(content)
    assert len(list(stream(copy).val_dataloader())) == 3


EPOCH = r"""
import re, resource, sys
from dim_lightning.data import ImageDataModule, Stream
def peak():
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    status = open("/proc/self/status").read()  # getrusage's is that of the parent, if it had more
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) / 2**10
data = ImageDataModule(Stream(sys.argv[1], window_mb=4), image_size=32, batch_size=64)
data.setup()
next(iter(data.val_dataloader()))
before = peak()
count = sum(len(batch.indices) for batch in data.train_dataloader())
print(count, peak() - before)
"""


@pytest.mark.slow
def test_memory_is_bounded(tmp_path):
    import numpy as np

    from dim_lightning.data.shards import convert
    from dim_lightning.data.sources import Found, Part, Parts
    from dim_lightning.data.splits import Shares

    pixels = np.random.default_rng(0).integers(0, 256, (40_000, 32, 32, 3), np.uint8)  # 117 MB
    part = Part(pixels, np.full(40_000, -1, np.int64))
    made = Found("made", "nowhere", [0], lambda: Parts(part, None, None))
    convert(made, 32, Shares(0.1, 0.2, 0), tmp_path / "out", 2**20)
    command = [sys.executable, "-c", EPOCH, str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    count, grown = done.stdout.split()
    assert int(count) == 28_800 // 64 * 64
    assert float(grown) < 40  # of 84 MB that were read; windows of 4 MB take twice that and a bit
