import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers.logger import DummyLogger
from PIL import Image
from tiny_run import digits, tiny_module, trainer, unlabelled

from dim_lightning.callbacks import LinearProbe, Neighbours, OfflineEvaluation, Reconstructions
from dim_lightning.callbacks.neighbours import _Found, chosen_queries
from dim_lightning.errors import InputError
from dim_lightning.evaluation import Extracted, extract, knn_accuracy, neighbours, pixels

NAMES = ("neighbours_cosine", "neighbours_euclidean", "prior_samples")
GREEN, RED = (34, 150, 84), (208, 58, 52)


def count(path, colour):
    """Pixels of exactly this colour."""
    with Image.open(path) as picture:
        return int((np.asarray(picture) == colour).all(axis=2).sum())


def test_the_logged_accuracy_is_that_of_clean_codes(tmp_path, digits_root):
    data, module = digits(digits_root), tiny_module()
    run = trainer(tmp_path, [Neighbours(bank_size=None)])
    run.fit(module, data)
    query, bank = (extract(module.encoder, data.clean_dataloader(s)) for s in ("val", "train"))
    expected = knn_accuracy(query.code, query.labels, bank.code, bank.labels, 10)
    metrics = run.callback_metrics
    assert metrics["knn/cosine/k20_t0.07/top1"] == pytest.approx(expected, abs=1e-6)
    for metric in ("cosine", "euclidean"):
        _, index = neighbours(query.code, bank.code, 9, metric)
        share = (bank.labels[index] == query.labels[:, None]).double().mean().item()
        assert metrics[f"neighbours/{metric}/precision"] == pytest.approx(share, abs=1e-6)


def test_pictures_have_frames_in_the_share_of_their_precision(tmp_path, digits_root):
    data, module = digits(digits_root), tiny_module()
    callback = Neighbours(bank_size=None, num_queries=10)
    trainer(tmp_path, [callback]).fit(module, data)
    val = data.split("val")
    rows = chosen_queries(val.labels, 10, seed=0)
    bank = extract(module.encoder, data.clean_dataloader("train"))
    codes = extract(module.encoder, data.clean_dataloader("val")).code[rows]
    for metric in ("cosine", "euclidean"):
        _, index = neighbours(codes, bank.code, 9, metric)
        share = (bank.labels[index].numpy() == val.labels[rows][:, None]).mean()
        path = tmp_path / "pictures" / f"neighbours_{metric}.png"
        green, red = count(path, GREEN), count(path, RED)
        assert green / (green + red) == pytest.approx(share, abs=0.01)
    assert count(tmp_path / "pictures" / "prior_samples.png", GREEN) == 0


def test_a_method_without_a_prior_has_no_samples_of_it(tmp_path, digits_root):
    module = tiny_module()
    module.code_prior = None
    trainer(tmp_path, [Neighbours()], limit_train_batches=1).fit(module, digits(digits_root))
    drawn = {path.stem for path in (tmp_path / "pictures").iterdir()}
    assert drawn == set(NAMES) - {"prior_samples"}


def test_a_query_is_never_its_own_neighbour(digits_root):
    data = digits(digits_root)
    data.prepare_data()
    data.setup("fit")
    queries, bank = (pixels(data.clean_dataloader(split)) for split in ("val", "train"))
    itself, _ = neighbours(queries, queries, 1, "euclidean")
    nearest, _ = neighbours(queries, bank, 1, "euclidean")
    assert itself.max() < 0.05  # the search does find an image that is there
    assert nearest.min() > 0.1


def test_queries_show_every_class_and_depend_on_labels_and_seed_alone():
    labels = np.repeat(np.arange(5), [100, 50, 3, 1, 20])
    rows = chosen_queries(labels, 5, seed=0)
    assert labels[rows].tolist() == [0, 1, 2, 3, 4]
    torch.manual_seed(9)
    assert chosen_queries(labels, 5, seed=0) == rows
    assert chosen_queries(labels, 5, seed=1) != rows
    assert len(set(chosen_queries(labels, 12, seed=0))) == 12
    assert len(chosen_queries(labels, 1000, seed=0)) == len(labels)
    assert len(chosen_queries(np.full(30, -1), 4, seed=0)) == 4
    few = np.where(np.arange(100) % 10 == 0, labels[:100], -1)
    assert (few[chosen_queries(few, 10, seed=0)] >= 0).all()
    assert (few[chosen_queries(few, 12, seed=0)] >= 0).sum() == 10


class Counting(Neighbours):
    """Notes the epochs, from 1, at which it drew."""

    def __init__(self, **options):
        super().__init__(num_queries=1, bank_size=20, **options)
        self.epochs = []

    def _draw(self, trainer, pl_module, bank):
        self.epochs.append(trainer.current_epoch + 1)
        return super()._draw(trainer, pl_module, bank)


@pytest.mark.parametrize(("every", "expected"), [(1, [1, 2, 3]), (2, [2, 3]), (9, [3])])
def test_it_looks_every_few_epochs_and_on_the_last(tmp_path, digits_root, every, expected):
    callback = Counting(every_n_epochs=every)
    run = trainer(tmp_path, [callback], 3, limit_train_batches=1, limit_val_batches=1)
    run.fit(tiny_module(), digits(digits_root))
    assert callback.epochs == expected


def test_the_last_step_counts_as_the_last_epoch(tmp_path, digits_root):
    callback = Counting(every_n_epochs=9)
    run = trainer(tmp_path, [callback], -1, max_steps=2, val_check_interval=2)
    run.fit(tiny_module(), digits(digits_root))
    assert callback.epochs == [1]


def test_without_labels_there_are_pictures_without_frames(tmp_path):
    run = trainer(tmp_path, [Neighbours(num_queries=2)])
    run.fit(tiny_module(), unlabelled(tmp_path))
    for name in NAMES:
        path = tmp_path / "pictures" / f"{name}.png"
        assert count(path, GREEN) == count(path, RED) == 0
    assert not any("knn" in name or "precision" in name for name in run.callback_metrics)


def test_a_bank_too_small_for_twenty_gives_no_knn_accuracy(tmp_path, digits_root):
    run = trainer(tmp_path, [Neighbours(bank_size=12)])
    run.fit(tiny_module(), digits(digits_root))
    assert "knn/cosine/k20_t0.07/top1" not in run.callback_metrics
    assert "neighbours/cosine/precision" in run.callback_metrics


def test_few_labelled_images_vote_all_of_them(tmp_path, digits_root):
    """A bank of any images would hold next to none of them."""
    data = digits(digits_root)
    data.prepare_data()
    data.setup("fit")
    train = data.split("train")
    train.labels = np.where(np.arange(len(train)) % 29 == 0, train.labels, -1)
    run, module = trainer(tmp_path, [Neighbours(bank_size=30)]), tiny_module()
    run.fit(module, data)
    voters = extract(module.encoder, data.clean_dataloader("train", limit=30, labelled=True))
    assert len(voters.code) == 30
    query = extract(module.encoder, data.clean_dataloader("val"))
    expected = knn_accuracy(query.code, query.labels, voters.code, voters.labels, 10)
    found = run.callback_metrics["knn/cosine/k20_t0.07/top1"].item()
    assert found == pytest.approx(expected, abs=1e-6)


class Gallery(DummyLogger):
    """A logger that takes pictures."""

    def __init__(self):
        super().__init__()
        self.pictures = {}

    def log_image(self, key, images, step=None):
        for path in images:
            with Image.open(path) as picture:
                self.pictures[key] = (picture.format, step)


class Stop(Callback):
    """Ends the training after its third step."""

    def on_train_batch_end(self, trainer, *_):
        trainer.should_stop = trainer.global_step == 3


def test_pictures_go_to_loggers_that_take_some(tmp_path, digits_root):
    """Whenever training stops, and of a checkpoint alone."""
    module, data, path = tiny_module(), digits(digits_root), tmp_path / "end.ckpt"
    expected = {f"pictures/{name}": ("PNG", 3) for name in NAMES}
    gallery = Gallery()
    run = trainer(tmp_path, [Neighbours(num_queries=1), Stop()], epochs=3, logger=gallery)
    run.fit(module, data)
    assert gallery.pictures == expected
    run.save_checkpoint(path)
    gallery = Gallery()
    run = trainer(tmp_path, [Neighbours(num_queries=1)], logger=gallery)
    run.validate(module, data, ckpt_path=path, weights_only=True, verbose=False)
    assert gallery.pictures == expected


def test_the_precision_is_printed_at_the_end(tmp_path, digits_root, capsys):
    run = trainer(tmp_path, [Neighbours(num_queries=1)])
    run.fit(tiny_module(), digits(digits_root))
    cosine = 100 * run.callback_metrics["neighbours/cosine/precision"]
    assert f"query's class: {cosine:.1f} % cosine" in capsys.readouterr().out


def test_no_precision_of_an_earlier_training_is_printed(tmp_path, capsys):
    callback = Neighbours(num_queries=1)
    callback._precision = {"cosine": 0.5}
    run = trainer(tmp_path, [callback], limit_train_batches=1)
    run.fit(tiny_module(), unlabelled(tmp_path))
    assert "query's class" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("bank_labels", "val_labels", "said"),
    [
        ([0, 1, 0], [0, 0], "over all validation images, 66.7% in these rows."),
        ([0, 1, -1], [0, -1], "over the labelled validation images, 50.0% in these rows."),
        ([-1, -1, -1], [0, -1], "over the labelled validation images. 1 validation"),
    ],
)
def test_pairs_without_a_class_are_no_errors_in_the_rows_shown(bank_labels, val_labels, said):
    rows = torch.arange(3)
    bank = Extracted({}, torch.zeros(3, 2), None, torch.tensor(bank_labels), rows)
    callback = Neighbours()
    callback._precision = {"cosine": 0.5}
    found = _Found(None, bank, rows[None], None)
    subtitle = callback._subtitle("cosine", found, torch.tensor([0]), np.array(val_labels))
    assert said in subtitle


@pytest.mark.parametrize(
    ("callback", "key"),
    [
        (Neighbours, "neighbours"),
        (Reconstructions, "reconstructions"),
        (OfflineEvaluation, "evaluation"),
        (LinearProbe, "probe"),
    ],
)
def test_a_seed_that_nothing_can_be_drawn_from_is_refused_before_it_is_needed(callback, key):
    with pytest.raises(InputError, match=rf"{key}\.seed is -1; expected at least 0"):
        callback(seed=-1)
