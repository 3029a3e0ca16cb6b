"""What a module of one's own, which is no EncoderModule, has to have and to give."""

import pickle

import lightning as L
import numpy as np
import pytest
import torch
from tiny_run import trainer

from dim_lightning.callbacks import (
    EmbeddingWriter,
    EpochLines,
    Geometry,
    LinearProbe,
    Neighbours,
    NonFiniteGuard,
    OfflineEvaluation,
    RunningBest,
    TerminalBar,
)
from dim_lightning.callbacks.observation import LastTrained, is_due
from dim_lightning.callbacks.run_record import RunRecord
from dim_lightning.data import Arrays, ImageDataModule
from dim_lightning.encoders import BlogEncoder
from dim_lightning.errors import InputError

ASKED = ("embedding", "labels")


class Plain(L.LightningModule):
    """Has an encoder and the size of its codes; its steps give the loss, and what they are told."""

    def __init__(self, without=None, training=ASKED, validation=ASKED, predict=()):
        super().__init__()
        self.encoder = self.network = BlogEncoder(16, widths=(4, 8), embedding_dim=6)
        self.embedding_dim = 6
        self.training_gives, self.validation_gives = training, validation
        self.predict_gives = predict
        if without:
            delattr(self, without)

    def step(self, batch, names):
        codes = self.network(batch.images).mean
        loss = codes.square().mean()
        found = {"embedding": codes.detach(), "labels": batch.labels}
        return {"loss": loss, **{name: found[name] for name in names}} if names else loss

    def training_step(self, batch, batch_idx):
        return self.step(batch, self.training_gives)

    def validation_step(self, batch, batch_idx):
        return self.step(batch, self.validation_gives)

    test_step = validation_step

    def predict_step(self, batch, batch_idx):
        found = {"labels": batch.labels, "indices": batch.indices}
        found["embedding"] = self.network(batch.images).mean
        return {name: found[name] for name in self.predict_gives}

    def configure_optimizers(self):
        return torch.optim.Adam(self.network.parameters())


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (80, 16, 16, 3), dtype=np.uint8)
    source, root = Arrays(images, np.arange(80) % 3), str(tmp_path_factory.mktemp("data"))
    return ImageDataModule(source, root=root, image_size=16, batch_size=8)


@pytest.mark.usefixtures("plain_figures")
def test_callbacks_serve_a_module_that_gives_what_they_ask_for(tmp_path, data, capsys):
    evaluation = OfflineEvaluation(mlp_epochs=0, floors=False)
    observers = [
        *(LinearProbe(), Neighbours(every_n_epochs=1, num_queries=1), Geometry(), RunningBest()),
        *(evaluation, NonFiniteGuard(), EpochLines()),  # take the loss for the only term
    ]
    torch.manual_seed(0)
    run, module = trainer(tmp_path, observers, enable_checkpointing=False), Plain()
    run.fit(module, data)
    found = run.callback_metrics
    assert {"best/probe/online/top1", "neighbours/cosine/precision"} <= set(found)
    assert "geometry/effective_rank" in found
    assert "epoch 1/1  loss 0." in capsys.readouterr().out
    run.test(module, data, verbose=False)
    assert 0 <= evaluation.figures["probe/linear/embedding/top1"] <= 1


LACKING = [
    (LinearProbe, {"without": "embedding_dim"}, "Plain has no embedding_dim"),
    (LinearProbe, {"validation": ()}, r"Plain\.validation_step gives no embedding"),
    (LinearProbe, {"validation": ("embedding",)}, r"Plain\.validation_step gives no labels"),
    (LinearProbe, {"training": ()}, r"Plain\.training_step gives no embedding"),
    (Neighbours, {"without": "encoder"}, "Plain has no encoder"),
    (Neighbours, {"validation": ()}, r"Plain\.validation_step gives no embedding"),
    (Geometry, {"without": "encoder"}, "Plain has no encoder"),
    (TerminalBar, {"training": ()}, r"Plain\.training_step gives no embedding"),
]
NEEDED = "; the callbacks of dim_lightning need a module that has an encoder and its embedding_dim,"


@pytest.mark.parametrize(("callback", "module", "said"), LACKING)
def test_what_a_module_lacks_is_said_before_its_epoch_is_over(
    tmp_path, data, callback, module, said
):
    lacking = Plain(**module)
    run = trainer(tmp_path, [callback()], enable_progress_bar=callback is TerminalBar)
    with pytest.raises(InputError, match=f"^{said}{NEEDED}"):
        run.fit(lacking, data)
    assert run.current_epoch == 0
    assert run.global_step <= 1


@pytest.mark.parametrize("name", ["encoder", "embedding_dim"])
def test_what_a_test_lacks_is_said_before_it(tmp_path, data, name):
    run = trainer(tmp_path, [OfflineEvaluation()])
    with pytest.raises(InputError, match=f"^Plain has no {name}{NEEDED}"):
        run.test(Plain(without=name), data, verbose=False)


@pytest.mark.parametrize(
    ("gives", "lacking"), [(ASKED, "indices"), (("indices", "embedding"), "labels")]
)
def test_what_a_prediction_lacks_is_said(tmp_path, data, gives, lacking):
    run = trainer(tmp_path, [EmbeddingWriter()])
    with pytest.raises(InputError, match=f"^Plain.predict_step gives no {lacking}{NEEDED}.*indic"):
        run.predict(Plain(predict=gives), data)
    assert not list(tmp_path.glob("embeddings*"))
    run.predict(Plain(predict=(*ASKED, "indices")), data)
    assert (tmp_path / "embeddings.parquet").is_file()


def test_a_record_needs_codes_to_count(tmp_path, data):
    run = trainer(None, [RunRecord(tmp_path)])
    with pytest.raises(InputError, match=f"^Plain.training_step gives no embedding{NEEDED}"):
        run.fit(Plain(training=()), data)


def test_another_process_knows_of_no_module():
    last, module = LastTrained(), Plain()
    assert not last.changes_to(module)
    assert not last.changes_to(module)
    assert not pickle.loads(pickle.dumps(last)).changes_to(Plain())
    assert last.changes_to(Plain())


@pytest.mark.parametrize(
    ("max_epochs", "between", "expected"),
    [
        (12, 1, [5, 10, 12]),
        (12, None, [5, 10, 12]),  # validations by steps
        (5, 2, [4]),
        (12, 2, [6, 10, 12]),
        (30, 4, [8, 12, 16, 20, 28]),
        (14, 7, [7, 14]),
        (-1, 1, [5, 10, 15, 20, 25, 30]),
    ],
)
def test_a_look_that_falls_between_two_validations_comes_with_the_next(
    max_epochs, between, expected
):
    at = {"max_epochs": max_epochs, "check_val_every_n_epoch": between}
    at["val_check_interval"] = 1.0 if between else 100
    run = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, **at)
    run.state.fn = "fit"

    def due(epochs):
        run.fit_loop.epoch_progress.current.completed = epochs - 1
        return is_due(run, 5)

    last = max_epochs if max_epochs > 0 else 30
    validated = range(between or 1, last + 1, between or 1)
    assert [epochs for epochs in validated if due(epochs)] == expected
