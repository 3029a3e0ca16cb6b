"""Nearest neighbours while training: the accuracy of their vote, and pictures to look at."""

from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from dim_lightning.callbacks.observation import (
    INTERVAL,
    after_epochs,
    code_prior_of,
    data_of,
    features_of,
    is_due,
    part_of,
    picture_path,
    send_pictures,
    tensors_of,
)
from dim_lightning.callbacks.pictures import Block, write_grid
from dim_lightning.data import Batch
from dim_lightning.errors import check_least
from dim_lightning.evaluation import Extracted, neighbours, vote
from dim_lightning.evaluation.code_prior import CodePrior
from dim_lightning.evaluation.knn import METRICS, neighbours_by
from dim_lightning.processes import total
from dim_lightning.seeding import check_seed, generator_for

_K, _TEMPERATURE = 20, 0.07
_SHOWN = 9
_NAMES = {"cosine": "cosine similarity", "euclidean": "Euclidean distance"}


class Neighbours(Callback):
    """Looks up validation images among clean training images, in the space of the codes.

    Logs, every few epochs and on the last,
    `knn/cosine/k20_t0.07/top1`: accuracy of the weighted vote, over all validation images, and
    `neighbours/<metric>/precision`: share of their nine nearest that have their class,
    both in [0, 1]; and draws in `pictures/`, of the same queries each time,
    `neighbours_cosine.png`, `neighbours_euclidean.png`: a query and its nine nearest, and
    `prior_samples.png`: the images nearest to codes drawn from the prior, if the method has one.

    Queries are validation images and the bank is of training images, so that no query finds
    itself. Where some have no label, those that have one are counted, among as many labelled
    training images as the bank has at most. Without labels there is no accuracy and there are no
    frames; the pictures stay.

    Args:
        every_n_epochs: how often; also in the last epoch, unless training stops early.
        bank_size: number of training images to search, a seeded choice; all of them if None.
        num_queries: rows of the pictures, a validation image each.
        seed: of the choice of queries and of the codes drawn from the prior.
    """

    def __init__(
        self,
        *,
        every_n_epochs: int = 5,
        bank_size: int | None = 10_000,
        num_queries: int = 10,
        seed: int = 0,
    ):
        check_least("neighbours.every_n_epochs", every_n_epochs, 1, INTERVAL)
        check_least("neighbours.bank_size", bank_size, 1)
        check_least("neighbours.num_queries", num_queries, 1)
        check_seed("neighbours.seed", seed)
        self.every_n_epochs = every_n_epochs
        self.bank_size = bank_size
        self.num_queries = num_queries
        self.seed = seed
        self._queries: list[tuple[Tensor, Tensor]] = []
        self._precision: dict[str, float] = {}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Forgets the figures of an earlier training."""
        self._precision = {}

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Looks for the encoder, before an epoch is over.

        Raises:
            InputError: the module has none.
        """
        part_of(pl_module, "encoder")

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forgets the codes of the validation before."""
        self._queries = []

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Keeps the codes that the model has just computed.

        Raises:
            InputError: the module's step gives no codes or no labels.
        """
        if not data_of(trainer).labelled:
            return
        asked = ("embedding", "labels")
        codes, labels = tensors_of(pl_module, "validation_step", outputs, asked)
        if is_due(trainer, self.every_n_epochs):
            self._queries.append((codes.float().cpu(), labels.cpu()))

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Searches, logs and draws."""
        if not is_due(trainer, self.every_n_epochs):
            return
        batches = data_of(trainer).clean_dataloader("train", limit=self.bank_size)
        bank = features_of(trainer, pl_module, batches, layers=())
        if self._queries:
            self._log_accuracy(trainer, pl_module, self._voters(trainer, pl_module, bank))
            self._queries = []
        if trainer.is_global_zero:
            send_pictures(trainer, pl_module, self._draw(trainer, pl_module, bank))

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Prints the last precisions."""
        if self._precision:
            figures = ", ".join(f"{100 * p:.1f} % {m}" for m, p in self._precision.items())
            pl_module.print(f"share of the nine nearest with the query's class: {figures}")

    def _voters(
        self, trainer: L.Trainer, pl_module: L.LightningModule, bank: Extracted
    ) -> Extracted:
        """The images that vote: the bank, or as many labelled ones where some are not."""
        data = data_of(trainer)
        if bool((bank.labels >= 0).all()):  # of all of a stream they would be fetched
            return bank
        batches = data.clean_dataloader("train", limit=self.bank_size, labelled=True)
        return features_of(trainer, pl_module, batches, layers=())

    def _log_accuracy(
        self, trainer: L.Trainer, pl_module: L.LightningModule, bank: Extracted
    ) -> None:
        device = pl_module.device  # a GPU searches in no time
        codes, labels = (torch.cat(parts).to(device) for parts in zip(*self._queries, strict=True))
        bank = bank._replace(code=bank.code.to(device), labels=bank.labels.to(device))
        known = labels >= 0
        figures = _counts(codes[known], labels[known], bank, data_of(trainer).num_classes or 0)
        for name, right in figures.items():
            pair = torch.tensor([right, float(known.sum())], device=pl_module.device)
            right, count = total(pair).tolist()  # no image is another process's too
            figures[name] = right / max(count, 1)
            pl_module.log(name, figures[name], sync_dist=True)
        self._precision = {
            m: figures[key] for m in METRICS if (key := f"neighbours/{m}/precision") in figures
        }

    def _draw(
        self, trainer: L.Trainer, pl_module: L.LightningModule, bank: Extracted
    ) -> list[Path]:
        data, after = data_of(trainer), after_epochs(trainer, pl_module)
        val = data.split("val")
        rows = chosen_queries(val.labels, self.num_queries, self.seed)
        images, labels = val.pictures(torch.tensor(rows)), torch.from_numpy(val.labels[rows])
        query = Batch(images, labels, torch.tensor(rows))
        codes = features_of(trainer, pl_module, [query], layers=()).code
        paths = []
        for metric in METRICS:
            index = neighbours(codes, bank.code, _shown(bank), metric)[1]
            found = _Found(data.split("train"), bank, index, data.class_names)
            path = picture_path(trainer, f"neighbours_{metric}")
            title = f"Nearest neighbours by {_NAMES[metric]}, {after}"
            write_grid(
                path,
                title,
                self._subtitle(metric, found, labels, val.labels),
                [_query_block(query, data.class_names), found.block(labels)],
                legend=data.labelled,
            )
            paths.append(path)
        prior = code_prior_of(pl_module)
        return [*paths, self._draw_prior(trainer, bank, after, prior)] if prior else paths

    def _subtitle(
        self, metric: str, found: "_Found", labels: Tensor, val_labels: np.ndarray
    ) -> str:
        bank_size = len(found.bank.labels)
        searched = f"{len(labels)} validation images among {bank_size:,} training images"
        if metric not in self._precision:
            return f"{searched}, by the codes of the encoder"
        known = (found.labels >= 0) & (labels >= 0)[:, None]
        right = (found.labels == labels[:, None])[known].double()
        here = f", {right.mean().item():.1%} in these rows" if len(right) else ""
        which = "all" if bool((val_labels >= 0).all()) else "the labelled"
        over = f"{self._precision[metric]:.1%} over {which} validation images"
        return f"Precision of the nine: {over}{here}. {searched}."

    def _draw_prior(
        self, trainer: L.Trainer, bank: Extracted, after: str, prior: CodePrior
    ) -> Path:
        path = picture_path(trainer, "prior_samples")
        data, shown = data_of(trainer), min(5, len(bank.code))
        generator = generator_for(self.seed, 1)
        draws = prior.draws(self.num_queries, bank.code.shape[1], generator)
        blocks = []
        for metric in METRICS:
            index = neighbours(draws, bank.code, shown, metric)[1]
            block = _Found(data.split("train"), bank, index, data.class_names).block(None)
            blocks.append(block._replace(heading=f"nearest by {_NAMES[metric]}"))
        title = f"Training images nearest to draws from the prior, {after}"
        searched = f"{len(bank.code):,} training images were searched"
        subtitle = f"One code a row, drawn from the prior ({prior.name}); {searched}."
        write_grid(path, title, subtitle, blocks)
        return path


class _Found(NamedTuple):
    """What a search in the bank gave: `rows` [q, k] of it."""

    split: Any
    bank: Extracted
    rows: Tensor
    class_names: list[str] | None

    @property
    def labels(self) -> Tensor:
        return self.bank.labels[self.rows]

    def block(self, query_labels: Tensor | None) -> Block:
        """The pictures, with the names of their classes and, beside a query, frames."""
        images = self.split.pictures(self.bank.indices[self.rows.flatten()])
        captions = frames = None
        if self.class_names is not None:
            captions = [[_name(self.class_names, c) for c in row] for row in self.labels.tolist()]
            if query_labels is not None:
                frames = [
                    [None if -1 in (q, c) else q == c for c in row]
                    for q, row in zip(query_labels.tolist(), self.labels.tolist(), strict=True)
                ]
        images = images.unflatten(0, tuple(self.rows.shape))
        return Block("nearest training images, the nearest first", images, captions, frames)


def chosen_queries(labels: np.ndarray, count: int, seed: int) -> list[int]:
    """Positions of `count` images, as many classes as there can be, in order of class.

    Labelled ones before others. They depend on the labels and the seed alone, so that runs show
    the same queries.
    """
    order = torch.randperm(len(labels), generator=generator_for(seed, 0)).tolist()
    seen: dict[int, int] = {}
    ranked = []
    for position, row in enumerate(order):
        label = int(labels[row])
        seen[label] = seen.get(label, 0) + 1
        ranked.append((seen[label] if label >= 0 else len(labels), position, row))
    chosen = [row for _, _, row in sorted(ranked)[:count]]
    return sorted(chosen, key=lambda row: int(labels[row]))


def _counts(codes: Tensor, labels: Tensor, bank: Extracted, num_classes: int) -> dict[str, float]:
    """Accuracy and precisions times the queries; what the bank is too small for is left out."""
    figures: dict[str, float] = {}
    most = min(_K, len(bank.code))
    for metric, (similarity, index) in neighbours_by(METRICS, codes, bank.code, most).items():
        found = bank.labels[index]
        if metric == "cosine" and most == _K:
            predicted = vote(similarity, found, num_classes, _TEMPERATURE)
            name = f"knn/cosine/k{_K}_t{_TEMPERATURE}/top1"
            figures[name] = float((predicted == labels).sum())
        same = found[:, :_SHOWN] == labels[:, None]
        figures[f"neighbours/{metric}/precision"] = int(same.sum()) / same.shape[1]
    return figures


def _query_block(query: Batch, class_names: list[str] | None) -> Block:
    captions = None
    if class_names is not None:
        captions = [[_name(class_names, label)] for label in query.labels.tolist()]
    return Block("query", query.images[:, None], captions)


def _name(class_names: list[str], label: int) -> str:
    """The name of a class, without the synonyms that follow a comma."""
    return class_names[label].split(",")[0] if label >= 0 else "?"


def _shown(bank: Extracted) -> int:
    return min(_SHOWN, len(bank.code))
