"""The figures to publish: what can be read off the frozen features of the test images."""

import re
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from dim_lightning.callbacks.code_measures import (
    NAMES,
    CodeMeasures,
    code_figures,
    fine_tuned_accuracies,
)
from dim_lightning.callbacks.observation import (
    data_of,
    features_of,
    part_of,
    state_of,
)
from dim_lightning.callbacks.offline_layers import (
    LAYER_SETTINGS,
    MeasuredLayers,
    measured_layers,
)
from dim_lightning.callbacks.offline_section import (
    encoder_code,
    joined,
    tensors_hash,
    weights_hash,
)
from dim_lightning.callbacks.offline_table import (
    by_protocol,
    others_list,
    protocol_text,
    table,
)
from dim_lightning.callbacks.so_far import SoFar
from dim_lightning.data import ImageDataModule
from dim_lightning.errors import InputError, check_least
from dim_lightning.evaluation.offline import (
    FINE_TUNED,
    MLPProtocol,
)
from dim_lightning.evaluation.untrained import check_drawable
from dim_lightning.run.environment import own_commit
from dim_lightning.run.own_code import OWN_CODE, package_code
from dim_lightning.run.result import TRANSFER_NAME, change_result, test_section
from dim_lightning.seeding import check_seed
from dim_lightning.version import version


class OfflineEvaluation(Callback):
    """Measures every layer after `test`, prints the table and writes it into result.json.

    Linear probe, the paper's MLP probe with 200 units, and kNN (k = 20, T = 0.07 and k = 200,
    T = 0.1; cosine and Euclidean) on each layer of the encoder; beside them the floors: the same on
    each layer of the same encoder with random weights, and on raw pixels. All labelled training
    images are used. The features of all layers are held in memory at once, 4 bytes each. The table
    has top1; result.json also has top5, of more than 10 classes, and mean_per_class, where classes
    have different numbers of test images, as `evaluation.accuracies` gives them.

    Pictures of another data set, for which `transfer` is a name, have a section of their own: all
    is fitted and measured on them, with the encoder as it is (transfer). What the method logs of
    its own pictures, its terms, is left out then.

    What was measured before a test was stopped, or failed, is not measured again by the next one of
    the same features and settings.

    The rest of the paper's measures is there for the asking. Those of the decoder, MINE and NDM
    need no labels, and take all images; MINE holds them in memory as floats, as the floor of pixels
    does those with a label. The figures are sent to the run's loggers as well.

    Attributes:
        figures: name -> figure of the last test, such as probe/linear/conv/top1, in [0, 1]; on the
            first process only.

    Args:
        mlp_epochs: of the short MLP probe; 0 leaves out the MLP probe of either protocol.
        floors: whether to measure a random encoder and raw pixels as well.
        seed: of everything drawn here: networks, orders, the random encoder.
        linear_dim: linear probe and SVM leave out layers of more features than this; none if None.
            With hundreds of classes, thousands of features take tens of minutes.
        svm: whether to fit a linear SVM to each layer. Minutes on two cores with tens of thousands
            of images and thousands of features. Beside the features, 8 bytes of memory for each
            value, and of up to 8,192 features 24 for each pair.
        mlp_protocol: how the MLP probe is trained and reported: short (mlp_epochs at 1e-3, the last
            accuracy), or paper (200 epochs at 1e-4, divided by ten after 50 and 100, mean of the
            last 100).
        repeats: how many seeds the MLP probe is fitted with, and few labels are drawn by; mean and
            standard deviation are given.
        few_labels: shares of the labelled images, such as [0.01, 0.1], to which the linear probe is
            fitted as well: what the code is worth where few pictures have a label.
        decoder_epochs: of a decoder on the frozen code, for the MS-SSIM of its images; 0 is off.
        mine_epochs: of the estimate of the information between image and code; 0 is off.
        ndm_epochs: of the estimate of how the code's dimensions depend on each other; 0 is off.
        fine_tune_epochs: of training a copy of the whole encoder further, with labels; 0 is off.
        transfer: a name for the pictures of another data set than the run was trained on, under
            which their figures are kept beside those of its own; null: they are its own.

    Raises:
        InputError: a number is out of its range, or the name has other characters than letters,
            digits, -, _ and the point.
    """

    def __init__(
        self,
        *,
        mlp_epochs: int = 30,
        floors: bool = True,
        seed: int = 0,
        linear_dim: int | None = None,
        svm: bool = False,
        mlp_protocol: MLPProtocol = "short",
        repeats: int = 1,
        few_labels: Sequence[float] = (),
        decoder_epochs: int = 0,
        mine_epochs: int = 0,
        ndm_epochs: int = 0,
        fine_tune_epochs: int = 0,
        transfer: str | None = None,
    ):
        check_least("evaluation.repeats", repeats, 1, "one seed")
        check_least("evaluation.linear_dim", linear_dim, 0)
        check_seed("evaluation.seed", seed)
        _check_shares(few_labels)
        measures = CodeMeasures(decoder_epochs, mine_epochs, ndm_epochs, fine_tune_epochs)
        for name, epochs in {"mlp_epochs": mlp_epochs, **measures._asdict()}.items():
            check_least(f"evaluation.{name}", epochs, 0, "which is off")
        if transfer is not None and not re.fullmatch(TRANSFER_NAME, transfer):
            raise InputError(
                f"evaluation.transfer is {transfer!r}; expected a name of letters, digits, -, _ "
                "and points, such as cifar100, for the data set that is tested on"
            )
        self.mlp_epochs = mlp_epochs
        self.floors = floors
        self.seed = seed
        self.linear_dim = linear_dim
        self.svm = svm
        self.mlp_protocol = mlp_protocol
        self.repeats = repeats
        self.few_labels = sorted(few_labels)
        self.measures = measures
        self.transfer = transfer
        self.figures: dict[str, float] = {}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Looks, before a test, whether what is asked for can be measured.

        Raises:
            InputError: it cannot, or the module has no encoder or embedding_dim.
        """
        if stage == "test":
            part_of(pl_module, "encoder")
            code_dim = part_of(pl_module, "embedding_dim")
            data = data_of(trainer)
            counts = {str(name): len(data.split(name)) for name in NAMES}
            self.measures.check(data.image_size, code_dim, counts)
            pl_module.is_transferred = self.transfer is not None  # type: ignore[assignment]

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Says, before hours of training, which floor a test of it will lack."""
        data, encoder = getattr(trainer, "datamodule", None), getattr(pl_module, "encoder", None)
        is_asked = self.floors and isinstance(data, ImageDataModule) and data.labelled
        if not (is_asked and isinstance(encoder, nn.Module)):
            return
        try:
            check_drawable(encoder)
        except InputError as error:
            pl_module.print(f"test will have no floor of an untrained encoder: {error}")

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """What is tested next may be the pictures of the training."""
        pl_module.is_transferred = False  # type: ignore[assignment]

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Measures, prints and writes, on the first process."""
        self.figures = {}
        if not trainer.is_global_zero:
            return
        labelled = data_of(trainer).labelled
        if not labelled:
            pl_module.print("offline evaluation: no accuracies, since the pictures have no labels")
            if not self.measures.without_labels:
                return
        with torch.inference_mode(False), torch.no_grad():  # probes need tensors that can learn
            self._report(trainer, pl_module, labelled)

    def _report(self, trainer: L.Trainer, pl_module: L.LightningModule, labelled: bool) -> None:
        start = time.monotonic()
        state = state_of(trainer, pl_module)
        run_dir = Path(trainer.default_root_dir)
        of_all = self.measures.without_labels
        which = "all images" if of_all else "all images with a label"
        pl_module.print(f"offline evaluation: taking the features of {which}")
        loaders = [data_of(trainer).clean_dataloader(name, labelled=not of_all) for name in NAMES]
        layers = None if labelled else ()
        taken = [features_of(trainer, pl_module, each, layers, labelled=True) for each in loaders]
        seen = tensors_hash(
            each for part in taken for each in (part.code, part.labels, *part.layers.values())
        )
        code = {"version": version(), **own_commit()}
        so_far = SoFar(run_dir, {"features": seen, "code": package_code()})
        name = list(taken[0].layers)[-1] if labelled else "code"
        rows, rest = MeasuredLayers({}, {})
        if labelled:
            settings = {name: getattr(self, name) for name in LAYER_SETTINGS}
            rows, rest = measured_layers(trainer, pl_module, taken, so_far, self.floors, settings)
        others, estimates = code_figures(
            trainer, pl_module, taken, self.measures, name, self.seed, so_far.once
        )
        if labelled and self.measures.fine_tune_epochs:
            settings = {"epochs": self.measures.fine_tune_epochs, "seed": self.seed}
            tune = partial(fine_tuned_accuracies, trainer, pl_module, **settings)
            rows[name][FINE_TUNED] = so_far.once(FINE_TUNED, settings, tune)
        figures = by_protocol(rows) | others
        self.figures = dict(figures)
        facts = rest | {
            **state,
            "estimates": estimates,
            "repeats": self.repeats,
            "seconds": round(so_far.seconds + time.monotonic() - start, 1),
            "protocol": protocol_text(figures, self._asked(), rest.get("num_train")),
            **self._subject(trainer, pl_module, code),
        }
        section = test_section(self.transfer)
        change_result(run_dir, section, partial(joined, figures=figures, facts=facts))
        so_far.end()
        for logger in trainer.loggers:
            logger.log_metrics(_named(figures, self.transfer), step=state["steps_trained"])
        if labelled:
            pl_module.print(table(rows, facts))
        if others:
            pl_module.print(others_list(others, facts))

    def _subject(
        self, trainer: L.Trainer, pl_module: L.LightningModule, code: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Of which encoder and pictures the figures are, and what was asked of which code."""
        data = data_of(trainer)
        facts = {
            "weights": weights_hash(pl_module.encoder),  # type: ignore[arg-type]
            OWN_CODE: encoder_code(pl_module),
            "pictures": data.contents.sha256,
            "labels": tensors_hash(torch.tensor(data.split(name).labels) for name in NAMES),
            "shares": data.shares._asdict(),
            "settings": self._asked(),
            "commits": [
                f"{code['commit'] or code['version']}"
                + ", with uncommitted changes" * bool(code["uncommitted_changes"])
            ],
        }
        return facts if self.transfer is None else {**facts, "transfer": self.transfer}

    def _asked(self) -> dict[str, Any]:
        """What it was given, by name: with which settings the figures were found."""
        names = ("floors", *LAYER_SETTINGS)
        return {name: getattr(self, name) for name in names} | self.measures._asdict()


def _check_shares(few_labels: Sequence[float]) -> None:
    for share in few_labels:
        if not 0 < share < 1 or few_labels.count(share) > 1:
            raise InputError(
                f"evaluation.few_labels is {list(few_labels)}; expected shares between 0 and 1, "
                "each once, such as [0.01, 0.1]; set evaluation.few_labels"
            )


def _named(figures: Mapping[str, float], transfer: str | None) -> dict[str, float]:
    """The figures by the names that loggers have them under."""
    prefix = "" if transfer is None else f"{test_section(transfer)}/"
    return {f"{prefix}{name}": value for name, value in figures.items()}
