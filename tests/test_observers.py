"""Callbacks observe: with all of them or none, and whatever the labels, the encoder is the same."""

from functools import partial

import lightning as L
import pytest
import torch
from quiet import trainer

from dim_lightning.callbacks import Geometry, LinearProbe, Neighbours
from dim_lightning.data import Digits, ImageDataModule
from dim_lightning.encoders import BlogEncoder
from dim_lightning.infomax.deep_infomax import DeepInfoMax


def trained(tmp_path, callbacks, relabel=None):
    """The weights after two epochs."""
    L.seed_everything(0, verbose=False)
    encoder = partial(BlogEncoder, widths=(8, 16), embedding_dim=8)
    module = DeepInfoMax(encoder, image_size=16)
    data = ImageDataModule(Digits(), root=str(tmp_path / "data"), image_size=16, batch_size=256)
    data.prepare_data()
    data.setup("fit")
    if relabel is not None:
        split = data.split("train")
        split.labels = relabel(split.labels)
    run = trainer(tmp_path / "run", max_epochs=2, callbacks=callbacks)
    run.fit(module, data)
    return module.state_dict(), run.callback_metrics


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("alone"), [])[0]


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    callbacks = [LinearProbe(), Neighbours(every_n_epochs=1, num_queries=2), Geometry()]
    return trained(tmp_path_factory.mktemp("watched"), callbacks)


def assert_equal(state, other):
    assert state.keys() == other.keys()
    for name, tensor in state.items():
        assert torch.equal(tensor, other[name]), name


def test_the_encoder_does_not_notice_its_observers(alone, watched):
    state, metrics = watched
    assert_equal(alone, state)
    assert {"probe/online/top1", "knn/cosine/k20_t0.07/top1"} <= set(metrics)


def test_labels_reach_the_probe_only(tmp_path, alone, watched):
    state, metrics = trained(tmp_path, [LinearProbe()], lambda labels: labels[::-1].copy())
    assert_equal(alone, state)
    assert metrics["probe/online/train_loss"] != watched[1]["probe/online/train_loss"]
