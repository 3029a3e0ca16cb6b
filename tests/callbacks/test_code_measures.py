import json
import weakref

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_run import tiny_module, trainer, unlabelled
from torch.utils.data import DataLoader

from dim_lightning.callbacks import OfflineEvaluation
from dim_lightning.callbacks.code_measures import CodeMeasures, _pictures, decoder_for
from dim_lightning.data import Arrays, ImageDataModule, PictureFolder
from dim_lightning.data.batch import ImageSplit
from dim_lightning.errors import InputError
from dim_lightning.evaluation import extract, pixels
from dim_lightning.evaluation.dependency import Paired, mutual_information, total_correlation
from dim_lightning.run.metrics import MetricsFile, read_metrics

EVERYTHING = {
    "svm": True,
    "mlp_protocol": "paper",
    "repeats": 2,
    "decoder_epochs": 1,
    "mine_epochs": 1,
    "ndm_epochs": 1,
    "fine_tune_epochs": 1,
}


COUNTS = {"train": 100, "val": 10, "test": 10}


@pytest.fixture(scope="module")
def two_classes(tmp_path_factory):
    """Thirty dark and thirty light pictures."""
    root = tmp_path_factory.mktemp("two_classes")
    rng = np.random.default_rng(0)
    for name, low in (("dark", 0), ("light", 120)):
        (root / "all" / name).mkdir(parents=True)
        for i in range(30):
            values = rng.integers(low, low + 136, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(values).save(root / "all" / name / f"{i}.png")
    return root


def data_in(root):
    source = PictureFolder(str(root / "all"))
    return ImageDataModule(
        source, root=str(root), image_size=16, batch_size=16, validation_fraction=0.2
    )


def test_of_the_batches_of_pictures_none_stays(tmp_path, two_classes, monkeypatch):
    """A batch for a GPU lies in memory that the system cannot move, and that stays taken."""
    data, alive = data_in(two_classes), []
    data.eval_batch_size = 8
    run = trainer(tmp_path)
    run.test(tiny_module(), data, verbose=False)
    whole = list(data.clean_dataloader("train", labelled=True))

    class Watched(DataLoader):
        def __iter__(self):
            for batch in super().__iter__():
                assert not any(images() is not None for images in alive[:-1])
                alive.append(weakref.ref(batch.images))
                yield batch
                del batch

    monkeypatch.setattr("dim_lightning.data.loading.DataLoader", Watched)
    pictures = _pictures(run, "train", labelled=True)
    assert len(alive) == 5
    assert torch.equal(pictures.images, torch.cat([batch.images for batch in whole]))
    assert torch.equal(pictures.labels, torch.cat([batch.labels for batch in whole]))


def test_everything_switched_on(tmp_path, two_classes, capsys):
    data, module = data_in(two_classes), tiny_module()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    run = trainer(tmp_path, [OfflineEvaluation(**EVERYTHING)], logger=MetricsFile(tmp_path))
    torch.manual_seed(4)
    state = torch.get_rng_state()
    run.test(module, data, verbose=False)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())

    result = json.loads((tmp_path / "result.json").read_text())["test"]
    layers = ("conv", "pool", "embedding")
    for protocol in ("mlp200_paper", "mlp200_paper_chosen"):
        for layer in layers:
            assert 0 <= result[f"probe/{protocol}/{layer}/top1"] <= 1
            assert 0 <= result[f"probe/{protocol}/{layer}/top1_std"] <= 1
    rows = {*layers, "pixels", *(f"random/{layer}" for layer in layers)}
    assert set(result["svm_c"]) == rows
    assert result["probe/svm/pixels/top1"] > 0.9  # dark and light are easily told apart
    assert 0 <= result["fine_tuned/embedding/top1"] <= 1
    assert result["repeats"] == 2
    assert "on its code, batches of 64, Adam 1e-3, divided by ten" in result["protocol"]
    assert "again for the last sixth of 1 epochs; accuracy after the last" in result["protocol"]

    parts = [extract(module.encoder, data.clean_dataloader(s)) for s in ("train", "val", "test")]
    codes = [part.code for part in parts]
    assert result["ndm/embedding/nats"] == pytest.approx(total_correlation(*codes, epochs=1).nats)
    flat = [pixels(data.clean_dataloader(s)) for s in ("train", "val", "test")]
    pairs = [Paired(x, z) for x, z in zip(flat, codes, strict=True)]
    assert result["mine/embedding/nats"] == pytest.approx(mutual_information(*pairs, epochs=1).nats)
    assert 0 < result["decoder/embedding/ms_ssim"] < 1
    assert 0 < result["decoder/embedding/square_error"] < 0.5

    logged = read_metrics(tmp_path)
    for name in ("probe/svm/conv/top1", "probe/mlp200_paper/conv/top1_std", "mine/embedding/nats"):
        assert logged[name][-1].value == pytest.approx(result[name])
    out = capsys.readouterr().out
    accuracies, others = out.split("Of the code, test images:")
    assert "tuned" in accuracies
    assert "SVM" in accuracies
    assert "±" in accuracies
    assert "MINE" in others
    assert "±" not in others


def test_what_needs_no_labels_is_measured_without_any(tmp_path, capsys):
    callback = OfflineEvaluation(ndm_epochs=1, decoder_epochs=1, fine_tune_epochs=1)
    data = unlabelled(tmp_path)
    data.shares = data.shares._replace(validation_fraction=0.4, test_fraction=0.3)
    trainer(tmp_path, [callback]).test(tiny_module(), data, verbose=False)
    result = json.loads((tmp_path / "result.json").read_text())["test"]
    names = {name for name in result if "/" in name}
    assert names == {"decoder/code/ms_ssim", "decoder/code/square_error", "ndm/code/nats"}
    out = capsys.readouterr().out
    assert "no labels" in out
    assert "NDM" in out


@pytest.fixture
def partly_labelled(tmp_path):
    """A hundred and twenty pictures, every third with a class."""
    labels = np.where(np.arange(120) % 3 == 0, np.arange(120) % 2, -1)
    pixels = np.random.default_rng(0).integers(0, 128, (120, 16, 16, 3), np.uint8)
    pixels[labels == 1] += 100
    source = Arrays(pixels, labels)
    return ImageDataModule(
        source, root=str(tmp_path), image_size=16, batch_size=8, eval_batch_size=8
    )


def figures_of(folder, data, **settings):
    evaluation = OfflineEvaluation(mlp_epochs=0, **settings)
    trainer(folder, [evaluation]).test(tiny_module(), data, verbose=False)
    return evaluation.figures


def test_of_pictures_without_labels_only_those_are_read_that_are_measured(
    tmp_path, partly_labelled, monkeypatch
):
    run, module, seen = trainer(tmp_path), tiny_module(), []
    run.test(module, partly_labelled, verbose=False)
    read = ImageSplit.__getitems__

    def watched(split, indices):
        seen.extend(split.labels[indices].tolist())
        return read(split, indices)

    monkeypatch.setattr(ImageSplit, "__getitems__", watched)
    OfflineEvaluation(mlp_epochs=0, floors=False, fine_tune_epochs=1).on_test_end(run, module)
    assert len(seen) == 40 + sum(
        int((partly_labelled.split(name).labels >= 0).sum()) for name in ("train", "test")
    )
    assert min(seen) == 0
    seen.clear()
    OfflineEvaluation(mlp_epochs=0, floors=False, ndm_epochs=1).on_test_end(run, module)
    assert len(seen) == 120


def test_accuracies_are_the_same_whatever_else_is_measured(tmp_path, partly_labelled):
    alone = figures_of(tmp_path, partly_labelled)
    beside = figures_of(tmp_path, partly_labelled, ndm_epochs=1)
    assert beside.keys() - alone.keys() == {"ndm/embedding/nats"}
    assert {name: beside[name] for name in alone} == pytest.approx(alone, abs=0.05)


def test_what_cannot_be_measured_is_refused_before_anything_is():
    with pytest.raises(InputError, match=r"4 pixels.*evaluation\.decoder_epochs"):
        CodeMeasures(decoder_epochs=1).check(4, 8, COUNTS)
    with pytest.raises(InputError, match=r"evaluation\.ndm_epochs asks .*the code has one"):
        CodeMeasures(ndm_epochs=2).check(32, 1, COUNTS)
    few = COUNTS | {"val": 9}
    for name in ("mine", "ndm"):
        said = (
            rf"evaluation\.{name}_epochs asks .* the val split has 9 images; expected at least 10"
        )
        with pytest.raises(InputError, match=said):
            CodeMeasures(**{f"{name}_epochs": 1}).check(32, 8, few)
    CodeMeasures(mine_epochs=1, fine_tune_epochs=1).check(4, 1, COUNTS)
    CodeMeasures(decoder_epochs=1).check(32, 1, few)


@pytest.mark.parametrize("size", [8, 9, 28, 32])
def test_every_size_of_image_has_a_decoder(size):
    assert decoder_for(5, size)(torch.zeros(2, 5)).shape == (2, 3, size, size)
