"""Training, validation and test images of any source, as batches."""

from collections.abc import Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
from jsonargparse import lazy_instance
from lightning import LightningDataModule
from torch.utils.data import DataLoader

from dim_lightning.data.augmentation import Augmentation, to_float
from dim_lightning.data.batch import Batch, Split
from dim_lightning.data.cache import Cached, cached
from dim_lightning.data.checks import (
    check_fraction,
    check_predicted,
    check_source,
    check_split,
    check_training_batches,
    check_view_sizes,
    check_views,
    check_workers,
    shared_batch_size,
)
from dim_lightning.data.contents import Contents
from dim_lightning.data.decoding import MAX_UNREADABLE
from dim_lightning.data.joint_order import JointOrder, Sampling, processes_of, training_share
from dim_lightning.data.loading import loader
from dim_lightning.data.shards import Stream
from dim_lightning.data.sources import Digits, Source
from dim_lightning.data.splits import (
    PREDICTED,
    Predicted,
    Shares,
    SplitName,
    Splits,
    check_labels,
    check_sizes,
    mapped_splits,
)
from dim_lightning.data.views import Views
from dim_lightning.errors import InputError, check_least
from dim_lightning.seeding import check_seed

DEFAULT_SOURCE = lazy_instance(Digits)


class ImageDataModule(LightningDataModule):
    """Images of a source: decoded once or streamed, split by a seed, served in batches.

    Validation is a share of the training part. Testing uses the test part of the source, or a share
    set aside where it has none. The order of training depends on `seed` and the epoch and on
    nothing else; each loader has a generator of its own, so that reading one moves no other.

    Two views by two different augmentations, such as those of BYOL, are num_views 1 with
    `augmentation` and num_small_views 1 with `small_augmentation`, whatever the size of the second.

    Attributes (after `prepare_data` and `setup`):
        class_names: name of each class, None where the pictures are unlabelled.
    """

    def __init__(
        self,
        source: Source | Stream = DEFAULT_SOURCE,
        *,
        root: str = "data",
        image_size: int = 32,
        batch_size: int = 64,
        eval_batch_size: int = 256,
        validation_fraction: float = 0.1,
        test_fraction: float = 0.2,
        split_seed: int = 0,
        seed: int = 0,
        augmentation: Augmentation | None = None,
        num_views: int = 1,
        view_sizes: Sequence[tuple[int, int]] = (),
        small_augmentation: Augmentation | None = None,
        num_small_views: int = 0,
        num_workers: int = 0,
        cache_dir: str | None = None,
        max_unreadable: float = MAX_UNREADABLE,
        predicted: Predicted | None = None,
    ) -> None:
        """Choose the images.

        Args:
            source: the data set, e.g. CIFAR10, TinyImageNet, PictureFolder, or a Stream.
            root: folder in which data sets are looked for, and into which they are downloaded.
            image_size: height and width in pixels, to which every picture is brought.
            batch_size: images per training step and process; also per batch of validation and test,
                whose terms then have as many negatives.
            eval_batch_size: images per batch where only features are computed, as for `predict`.
            validation_fraction: share of the training images that validation takes.
            test_fraction: share set aside for testing where the source has no test part.
            split_seed: draws these shares; keep it where runs are compared.
            seed: of the order and the augmentation; the command line takes it from seed_everything.
            augmentation: random change of the training images; none if None.
            num_views: how often `augmentation` draws from each training image: the first view is
                the batch's `images`, the others are the first of its `more_views`.
            view_sizes: [epoch, pixels] each: the size of these views from that epoch on, the first
                [0, ...]; if empty, that of `augmentation`. Small views first save time.
                Source: Tan and Le, 2021 (EfficientNetV2), section 4.
            small_augmentation: makes the small views; their size is a setting of it.
            num_small_views: further views by `small_augmentation`, the last of `more_views`.
                Source of many small crops: Caron et al., 2020 (SwAV), multi-crop.
            num_workers: processes that fetch batches; a copy from memory needs none, a stream takes
                none.
            cache_dir: folder of decoded pictures; <root>/cache if None.
            max_unreadable: share of the pictures, in [0, 1), at which decoding ends with an error,
                as too many cannot be read; fewer are left out.
            predicted: the images of `predict`: 'train' (those of training and validation), 'test'
                or 'all'; if None 'test' where the source has a test part, else 'all'.

        Raises:
            InputError: a number is out of its range, or the source is none.
        """
        super().__init__()
        check_source(source)
        check_least("data.image_size", image_size, 1, "a size in pixels")
        negatives = "an image's negatives are others of its batch"
        check_least("data.batch_size", batch_size, 2, negatives)
        check_least("data.eval_batch_size", eval_batch_size, 2, "as in data.batch_size")
        check_workers(isinstance(source, Stream), num_workers)
        check_views("views", num_views, 1, augmentation)
        check_views("small_views", num_small_views, 0, small_augmentation)
        check_view_sizes(view_sizes, augmentation)
        check_fraction("validation_fraction", validation_fraction)
        check_fraction("test_fraction", test_fraction)
        check_fraction("max_unreadable", max_unreadable, zero=True)
        check_seed("data.split_seed", split_seed)
        check_seed("data.seed", seed)
        check_predicted(predicted)
        self.source = source
        self.root = Path(root).expanduser()
        self.image_size = image_size
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.shares = Shares(validation_fraction, test_fraction, split_seed)
        self.seed = seed
        self.augmentation = augmentation
        self.num_views = num_views
        self.view_sizes = view_sizes
        self.small_augmentation = small_augmentation
        self.num_small_views = num_small_views
        self.num_workers = num_workers
        self.cache_dir = Path(cache_dir).expanduser() if cache_dir else self.root / "cache"
        self.max_unreadable = max_unreadable
        self.predicted = predicted
        self.class_names: list[str] | None = None
        self._cached: Cached | None = None
        self._splits: Splits | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What was chosen, argument by argument; folders as texts."""
        chosen = {**vars(self), **self.shares._asdict()}
        chosen |= {name: str(chosen[name]) for name in ("root", "cache_dir")}
        return {name: chosen[name] for name in signature(ImageDataModule).parameters}

    @property
    def labelled(self) -> bool:
        """Whether the pictures have classes."""
        return self.class_names is not None

    @property
    def num_classes(self) -> int | None:
        """How many classes there are, None where the pictures are unlabelled."""
        return None if self.class_names is None else len(self.class_names)

    @property
    def origin(self) -> str:
        """Where the data set was found, for people to read."""
        return self._ready().origin

    @property
    def contents(self) -> Contents:
        """Which pictures the data set consists of."""
        return self._ready().contents()

    def prepare_data(self) -> None:
        """Find or download the pictures, and decode them if that was not done before.

        Raises:
            InputError: they are missing or unreadable, or the cache cannot be written.
        """
        if isinstance(self.source, Stream):
            self._splits = self._splits or self.source.splits(
                self.image_size, self.shares, self.cache_dir
            )
        elif self._cached is None:
            found = self.source.find(self.root)
            self._cached = cached(found, self.image_size, self.cache_dir, self.max_unreadable)

    def setup(self, stage: str | None = None) -> None:
        """Open the decoded pictures and split them; quick where `prepare_data` came before.

        Args:
            stage: the command; 'predict' needs no splits, so that a single picture will do.

        Raises:
            InputError: there are too few images, or labels for them.
        """
        self.prepare_data()  # in other processes than the first: finds what that one decoded
        if self._splits is None:
            assert self._cached is not None
            self._splits = mapped_splits(self._cached, self.shares)
        self.class_names = self._splits.class_names
        if self._cached is not None and stage != "predict":
            train, val, test, *_ = self._splits
            splits = {"train": train, "val": val, "test": test}
            check_sizes(self._cached.parts["train"], {n: len(s) for n, s in splits.items()})
            check_labels(self.class_names, {name: s.labels for name, s in splits.items()})
        if stage in (None, "fit"):
            processes, _ = processes_of(self.trainer)
            check_training_batches(len(self._splits.train), processes, self.batch_size)

    def teardown(self, stage: str | None = None) -> None:
        """End what is read ahead, which the process would wait for at its end."""
        if self._splits is not None:
            self._splits.train.close()

    def on_exception(self, exception: BaseException) -> None:
        """The same where training ends so."""
        self.teardown()

    def split(self, name: SplitName) -> Split:
        """The images of a split, uint8 and unchanged.

        Raises:
            InputError: there is no such split, or the data is not set up.
        """
        check_split(name)
        return getattr(self._ready(), name)

    def clean_dataloader(
        self, split: SplitName, limit: int | None = None, labelled: bool = False
    ) -> DataLoader[Batch]:
        """Batches of uint8 images in a fixed order, never augmented; for use outside of training.

        Args:
            split: which images.
            limit: most images; which of them is drawn by `split_seed`, their order stays. Of the
                training images of a stream it is the first: they were shuffled when written.
            labelled: whether to take images with a label only.

        Raises:
            InputError: there is no such split, `limit` is negative, or the data is not set up.
        """
        check_least("limit", limit, 0, "a number of images")
        images = self.split(split)
        known = np.flatnonzero(images.labels >= 0) if labelled else np.arange(len(images))
        count = len(known) if limit is None else min(limit, len(known))
        if count == len(images):
            return self._loader(images, self.eval_batch_size)
        among = None if len(known) == len(images) else known
        chosen = images.chosen(count, self.shares.split_seed, among)
        return self._loader(images, self.eval_batch_size, sampler=chosen)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled batches, all of them full; each process has its share of every joint batch."""
        images = self.split("train")
        sampling = training_share(self.trainer, self.batch_size)
        return self._loader(
            images,
            self.batch_size,
            sampler=images.shuffled(sampling, self.seed),
            drop_last=True,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        """The validation images in the split's order, a random one that stays; no augmentation.

        Each process has its share, and no image is doubled.

        Batches are as large as in training, since the terms of many objectives depend on their
        size; the last one may be smaller.
        """
        return self._shared_loader("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        """The test images in the split's order, shared likewise."""
        return self._shared_loader("test")

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The images that `predicted` asks for; in order, a stream's by its shards.

        Raises:
            InputError: there are none, as of few pictures none is set apart for testing.
        """
        splits = self._ready()
        wanted = self.predicted or ("test" if splits.own_test else "all")
        images = splits.joined(PREDICTED[wanted])
        if not len(images):
            raise InputError(f"data.predicted is {wanted}, and no picture is; set it to all")
        return self._loader(images, self.eval_batch_size)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """The batch with floats in [0, 1], on the model's device; when training, its views."""
        images = to_float(batch.images)
        if self.trainer is None or not self.trainer.training:
            return batch._replace(images=images, more_views=())
        # Lightning counts a batch as ready only after this hook.
        step = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready
        small = self.small_augmentation, self.num_small_views  # as a script may have set them
        views = Views(self.augmentation, self.num_views, self.view_sizes, *small, self.seed)
        first, *more = views.of(images, self.trainer.current_epoch, step)
        small_views = tuple(more[len(more) - views.num_small :])
        return batch._replace(images=first, more_views=tuple(more), small_views=small_views)

    def _ready(self) -> Splits:
        if self._splits is None:
            raise InputError(
                "the pictures are not read yet; call setup(), as a Trainer does, first"
            )
        return self._splits

    def _shared_loader(self, split: SplitName) -> DataLoader[Batch]:
        images, (processes, rank) = self.split(split), processes_of(self.trainer)
        size = shared_batch_size(len(images), processes, self.batch_size, split)
        order = JointOrder(images, Sampling(size, processes, rank))
        return self._loader(images, size, sampler=order)

    def _loader(self, images: Split, batch_size: int, **options: Any) -> DataLoader[Batch]:
        return loader(images, batch_size, self.trainer, self.seed, **options)
