import os
import sys

import forked
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet
from sklearn.decomposition import PCA
from tiny_run import digits, tiny_module, trainer, unlabelled

from dim_lightning.callbacks import EmbeddingWriter, growing_file
from dim_lightning.data import Arrays, Digits, ImageDataModule, Stream
from dim_lightning.data.shards import convert
from dim_lightning.errors import InputError
from dim_lightning.evaluation import extract

NAME = "embeddings.parquet"


def predict(folder, module, data, coordinates=None, **settings):
    run = trainer(folder, [EmbeddingWriter(coordinates=coordinates, **settings)])
    run.predict(module, data, return_predictions=False)
    return parquet.read_table(folder / settings.get("file", NAME))


def vectors(table):
    return np.stack(table["vector"].to_numpy(zero_copy_only=False))


def test_columns_and_types(tmp_path, digits_root):
    schema = predict(tmp_path, tiny_module(), digits(digits_root)).schema
    assert list(zip(schema.names, schema.types, strict=True)) == [
        ("index", pa.int64()),
        ("path", pa.string()),
        ("label", pa.string()),
        ("part", pa.string()),
        ("vector", pa.list_(pa.float32(), 6)),
    ]


def test_the_rows_are_the_codes_of_the_predicted_images(tmp_path, digits_root):
    module, data = tiny_module(), digits(digits_root)
    found = predict(tmp_path, module, data)
    seen = extract(module.encoder, data.predict_dataloader())
    np.testing.assert_allclose(vectors(found), seen.code, rtol=1e-5, atol=1e-6)
    assert found["label"].to_pylist() == [data.class_names[label] for label in seen.labels]
    assert found["index"].to_pylist() == seen.indices.tolist()
    assert found["path"].null_count == len(found)  # the digits are no files


def test_rows_of_a_stream_say_where_they_are_in_the_source(tmp_path, digits_root):
    mapped = digits(digits_root)
    of_mapped = predict(tmp_path, tiny_module(), mapped)
    found = Digits().find(digits_root)
    convert(found, 16, mapped.shares, tmp_path / "shards", 500 * 3 * 16 * 16)
    stream = ImageDataModule(
        Stream(str(tmp_path / "shards")), image_size=16, **mapped.shares._asdict()
    )
    of_stream = predict(tmp_path, tiny_module(), stream, "pca", file="stream.parquet")
    assert of_stream.column_names == ["index", "path", "label", "part", "vector", "row", "x", "y"]
    assert of_stream["index"].to_pylist() == list(range(1797)) != of_stream["row"].to_pylist()
    in_order = of_stream.sort_by("row")
    assert in_order["row"].to_pylist() == list(range(1797))
    for column in ("label", "part"):
        assert in_order[column].equals(of_mapped[column])
    np.testing.assert_allclose(vectors(in_order), vectors(of_mapped), rtol=1e-5, atol=1e-6)


def test_of_a_source_with_a_test_part_all_images_are_written_if_asked_for(tmp_path):
    """Those of training and validation first, and each says which it is."""
    data = arrays_with_a_test_part(tmp_path)
    assert predict(tmp_path, tiny_module(), data)["label"].to_pylist() == ["d", "d", "c", "c"]
    data.predicted, data.eval_batch_size = "all", 7  # a batch has images of both parts
    module = tiny_module()
    found = predict(tmp_path, module, data)
    assert found["index"].to_pylist() == list(range(24))
    assert found["label"].to_pylist() == [*"ab" * 10, *"ddcc"]
    assert found["part"].to_pylist()[20:] == ["test"] * 4
    for name in ("train", "val"):
        rows = np.flatnonzero(found["part"].to_numpy() == name)
        assert rows.tolist() == sorted(data.split(name).rows)
    images = np.concatenate([data.source.parts.train.pictures, data.source.parts.test.pictures])
    codes = module.encoder.eval()(torch.from_numpy(images).permute(0, 3, 1, 2) / 255).mean.detach()
    np.testing.assert_allclose(vectors(found), codes, rtol=1e-5, atol=1e-6)


def arrays_with_a_test_part(root):
    rng = np.random.default_rng(0)
    images, tests = (rng.integers(0, 256, (n, 16, 16, 3), dtype=np.uint8) for n in (20, 4))
    source = Arrays(images, [0, 1] * 10, tests, [3, 3, 2, 2], "abcd")
    return ImageDataModule(source, root=str(root), image_size=16, batch_size=2)


def test_coordinates_are_the_first_two_components(tmp_path, digits_root, monkeypatch):
    monkeypatch.setattr(growing_file, "GROUP_ROWS", 100)  # more than one row group
    found = predict(tmp_path, tiny_module(), digits(digits_root), "pca")
    assert [(name, str(found.schema.field(name).type)) for name in found.column_names[5:]] == [
        ("x", "float"),
        ("y", "float"),
    ]
    expected = PCA(2, svd_solver="full").fit_transform(vectors(found))
    for column, name in enumerate("xy"):
        np.testing.assert_allclose(np.abs(found[name]), np.abs(expected[:, column]), atol=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_pandas_opens_it(tmp_path, digits_root):
    predict(tmp_path, tiny_module(), digits(digits_root))
    frame = pd.read_parquet(tmp_path / NAME)
    assert list(frame.columns) == ["index", "path", "label", "part", "vector"]
    assert np.stack(frame["vector"]).shape == (len(frame), 6)
    assert set(frame["label"]) == set("0123456789")


def test_unlabelled_files_have_a_path_and_no_label(tmp_path):
    found = predict(tmp_path, tiny_module(), unlabelled(tmp_path))
    assert found["path"].to_pylist() == [str(tmp_path / "flat" / f"{i:02}.png") for i in range(40)]
    assert found["label"].null_count == 40


@pytest.mark.skipif(sys.platform == "darwin", reason="all names are text there")
def test_a_name_that_is_no_text_is_spelt_out(tmp_path):
    data = unlabelled(tmp_path)
    (tmp_path / "flat" / "39.png").rename(tmp_path / "flat" / os.fsdecode(b"\xff.png"))
    found = predict(tmp_path, tiny_module(), data)
    assert found["path"].to_pylist()[-1] == str(tmp_path / "flat" / "\\udcff.png")


def test_rows_are_written_as_they_come(tmp_path, monkeypatch):
    module, data = tiny_module(), unlabelled(tmp_path)
    data.eval_batch_size = 8
    whole = predict(tmp_path, module, data)
    monkeypatch.setattr(growing_file, "GROUP_ROWS", 12)
    assert predict(tmp_path, module, data).equals(whole)
    groups = parquet.ParquetFile(tmp_path / NAME).metadata
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [16, 16, 8]


def test_all_of_it_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    file, path, synced = growing_file.GrowingFile(tmp_path), tmp_path / NAME, []

    def reach_disk(descriptor):
        status = os.fstat(descriptor)
        synced.append((status.st_ino, status.st_size, path.exists()))

    monkeypatch.setattr(growing_file, "reach_disk", reach_disk)
    file.add(pa.table({"path": ["a.png"]}))
    file.close()
    assert file.place(path) == 1
    assert synced == [(path.stat().st_ino, path.stat().st_size, False)]


def test_nothing_else_is_left_in_the_folder(tmp_path, digits_root):
    predict(tmp_path, tiny_module(), digits(digits_root))
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    (tmp_path / "new").touch()
    assert (tmp_path / NAME).stat().st_mode == (tmp_path / "new").stat().st_mode


class Failing(type(tiny_module())):
    def predict_step(self, batch, batch_idx):
        if batch_idx == 3:
            raise ArithmeticError("spoilt")
        return super().predict_step(batch, batch_idx)


def test_a_failure_leaves_the_file_that_was_there(tmp_path, digits_root):
    data = digits(digits_root)
    data.eval_batch_size = 64
    before = predict(tmp_path, tiny_module(), data)
    with pytest.raises(ArithmeticError):
        predict(tmp_path, Failing(), data)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert parquet.read_table(tmp_path / NAME).equals(before)


def test_a_folder_that_is_missing_is_named(tmp_path, digits_root):
    data = digits(digits_root)
    for file in (f"missing/{NAME}", str(tmp_path / "missing" / NAME)):
        said = rf"cannot write .*{NAME}: there is no folder .*missing;"
        with pytest.raises(InputError, match=said):
            predict(tmp_path, tiny_module(), data, file=file)
    made = predict(tmp_path / "own" / "folder", tiny_module(), data)  # the Trainer's is made
    assert len(made) == 1797


def test_codes_of_other_pictures_take_another_file(tmp_path, digits_root):
    """Else they would take the place of the run's own."""
    of_digits = predict(tmp_path, tiny_module(), digits(digits_root))
    assert of_digits.schema.metadata[b"dim_lightning.source"] == b"scikit-learn"
    with pytest.raises(InputError, match=rf"{NAME} holds the codes of scikit-learn, and these are"):
        predict(tmp_path, tiny_module(), unlabelled(tmp_path))
    assert parquet.read_table(tmp_path / NAME).equals(of_digits)
    predict(tmp_path, tiny_module(), digits(digits_root))
    for file in ("others.parquet", str(tmp_path / "flat" / "far.parquet")):
        predict(tmp_path, tiny_module(), unlabelled(tmp_path), file=file)
        assert len(parquet.read_table(tmp_path / file)) == 40
    assert parquet.read_table(tmp_path / NAME).equals(of_digits)
    with pytest.raises(InputError, match=r"'codes\.csv'; expected a name that ends in \.parquet"):
        EmbeddingWriter(file="codes.csv")


def test_another_layer_takes_the_place_of_the_code(tmp_path, digits_root):
    module, data = tiny_module(), digits(digits_root)
    found = predict(tmp_path, module, data, layer="pool")
    assert found.schema.metadata[b"dim_lightning.layer"] == b"pool"
    assert found.schema.metadata[b"dim_lightning.steps"] == b"0"
    seen = extract(module.encoder, data.predict_dataloader(), layers=["pool"])
    np.testing.assert_allclose(vectors(found), seen.layers["pool"], rtol=1e-5, atol=1e-6)
    assert not module.encoder._forward_hooks
    with pytest.raises(InputError, match="no layer 'fc'; expected one of conv, pool, embedding"):
        predict(tmp_path, module, data, layer="fc")
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


@pytest.mark.slow
def test_two_processes_write_each_image_once_and_in_order(tmp_path):
    """Also where the sampler repeats images so that the shares are equal."""
    module, data = tiny_module(), unlabelled(tmp_path)
    data.eval_batch_size = 4
    alone = predict(tmp_path, module, data)
    done = forked.run(tmp_path / "said", in_two_processes, tmp_path)
    assert done.returncode == 0, done.stderr
    for name in ("unrepeated", "repeated"):
        both = parquet.read_table(tmp_path / name / NAME)
        expected = alone.slice(0, 40 if name == "unrepeated" else 39)
        assert both.drop(["vector"]).equals(expected.drop(["vector"]))
        np.testing.assert_allclose(vectors(both), vectors(expected), rtol=1e-5, atol=1e-6)
        assert [path.name for path in (tmp_path / name).iterdir()] == [NAME]


def in_two_processes(root):
    """What the test above runs; of 39 images a sampler of equal shares gives one out twice."""
    from torch.utils.data import DistributedSampler

    from dim_lightning.data import ImageSplit

    class Repeating(type(unlabelled(root))):
        def predict_dataloader(self):
            names = super().predict_dataloader().dataset.split_names[:39]
            images = ImageSplit.of_part(self._cached, "train", np.arange(39), names)
            sampler = DistributedSampler(images, shuffle=False)
            assert len(sampler) == 20
            return self._loader(images, 4, sampler=sampler)

    torch.set_num_threads(1)
    growing_file.GROUP_ROWS = 8
    for name, kind in (("unrepeated", None), ("repeated", Repeating)):
        data = unlabelled(root)
        data.eval_batch_size = 4
        if kind is not None:
            data.__class__ = kind
        (root / name).mkdir(exist_ok=True)
        options = {"devices": 2, "strategy": "ddp_fork", "use_distributed_sampler": kind is None}
        run = trainer(root / name, [EmbeddingWriter()], **options)
        run.predict(tiny_module(), data, return_predictions=False)
