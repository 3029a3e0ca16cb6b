"""What a comparison reads of each run, and whether the runs may be compared."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dim_lightning.errors import InputError
from dim_lightning.run.accuracies import KINDS, accuracies_of, row_name
from dim_lightning.run.checkpoint import JOINT_BATCH
from dim_lightning.run.curves import epoch_ends
from dim_lightning.run.environment import known_pictures, num_pictures, read_environment
from dim_lightning.run.folder import existing_run_folder
from dim_lightning.run.metrics import Point, read_metrics
from dim_lightning.run.own_code import changed_code, codes_of
from dim_lightning.run.report import KNN, PROBE, caveat_of_test, offline_headlines, small_bank
from dim_lightning.run.result import read_result, test_section, transfers
from dim_lightning.run.settings import belongs, flat_config, run_name

_TEST_FRACTION = "data.test_fraction"
_SAME = (
    *("data.source", "data.image_size", "data.validation_fraction", _TEST_FRACTION),
    "data.split_seed",
)
_SAME_QUERIES = "neighbours."
_OF_TERMS = {  # what makes the values of terms those of other quantities
    ("local", "global"): ("model.estimator", "model.num_negatives"),
    ("prior",): ("model.prior.class_path",),
}
METHOD, CLASS = "method", ".class_path"
STAGES = ("val", "train")  # of a term, the first where there are both
OF_TRANSFERS = {  # what a test on another data set is of
    "pictures": "the pictures",
    "labels": "the labels",
    "num_train": "the training images",
    "num_test": "the test images",
    "image_size": "the sizes",
}


class RunData(NamedTuple):
    """What a comparison needs of one run.

    Attributes:
        label: experiment and number; the folder where another run has the same.
        folder: of the run.
        config: settings by their full name.
        series: metric -> its values.
        finals: the last accuracies.
        accuracies: all of the tests, by protocol and layer, and by kind if it is not top-1.
        epochs: trained.
        minutes: of training, validation left out, at the end of each epoch.
        tested: of each test, such as "tested on cifar100", after how much of it, if the run has
            trained on since, and on which pictures, if on others than it says; else nothing.
        transfers: name of another data set -> the section of its test in result.json.
    """

    label: str
    folder: Path
    config: dict[str, Any]
    series: dict[str, list[Point]]
    finals: dict[str, float]
    accuracies: dict[str, float]
    epochs: int
    minutes: list[float]
    tested: dict[str, str]
    transfers: dict[str, dict[str, Any]]


def load_runs(folders: Sequence[Path]) -> list[RunData]:
    """The runs to compare.

    Raises:
        InputError: fewer than two, one that is no run, or one that has no figures yet.
    """
    if len(folders) < 2:
        raise InputError(
            f"compare got {len(folders)} run folder(s); expected at least two, such as "
            "runs/digits/1 runs/digits_local/1"
        )
    names = [run_name(existing_run_folder(folder)) for folder in folders]
    labels = [
        name if names.count(name) == 1 else str(folder)
        for name, folder in zip(names, folders, strict=True)
    ]
    return [_load(folder, label) for folder, label in zip(folders, labels, strict=True)]


def not_the_same(runs: Sequence[RunData]) -> list[str]:
    """What must agree for figures to be compared, and does not."""
    known = sorted({key for run in runs for key in run.config})
    pictures = {run.label: known_pictures(run.folder) or {} for run in runs}
    of_data = [key for key in known if belongs(key, _SAME)]
    if all("test" in each for each in pictures.values()):  # nothing is set aside to test
        of_data = [key for key in of_data if key != _TEST_FRACTION]
    queries = [key for key in known if key.startswith(_SAME_QUERIES)]
    warnings = _other_pictures(pictures)
    for key in different(runs, [*of_data, *queries]):
        listed = ", ".join(f"{run.config.get(key)} in {run.label}" for run in runs)
        warnings.append(f"{key} is not the same: {listed}")
    changed = changed_code(code for run in runs for code in codes_of(run.folder))
    warnings += [f"the file of {name} was changed between or in the runs" for name in changed]
    warnings += _other_transfers(runs) + _other_terms(runs)
    return warnings + [
        f"{run.label} was {which}{then.removeprefix(',')}"
        for run in runs
        for which, then in run.tested.items()
        if then
    ]


def _other_transfers(runs: Sequence[RunData]) -> list[str]:
    """The data sets of one name that are not the same, or not dealt in the same way."""
    names = dict.fromkeys(name for run in runs for name in run.transfers)
    warnings = []
    for name in names:
        tests = {run.label: run.transfers[name] for run in runs if name in run.transfers}
        for key, what in OF_TRANSFERS.items():
            values = {label: test.get(key) for label, test in tests.items()}
            if any(value != next(iter(values.values())) for value in values.values()):
                listed = ", ".join(f"{value} in {label}" for label, value in values.items())
                warnings.append(f"{what} of {name} are not the same: {listed}")
    return warnings


def _other_terms(runs: Sequence[RunData]) -> list[str]:
    """The terms that are not of the same kind in all runs that have them."""
    warnings = []
    for terms, keys in _OF_TERMS.items():
        names = {f"{stage}/{term}" for stage in STAGES for term in terms}
        having = [run for run in runs if names & run.series.keys()]
        for key in different(having, keys):
            # of a method without that setting its name says what it has in place of it
            found = [run.config.get(key, run.config.get(METHOD)) for run in having]
            listed = ", ".join(dict.fromkeys(short(str(value)) for value in found))
            which = " and ".join(terms)
            warnings.append(f"{key} is not the same, so {which} terms need not compare: {listed}")
    return warnings


def _other_pictures(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """That the pictures are not the same, as far as they are known of the runs, by label."""
    known = {label: pictures for label, pictures in found.items() if pictures}
    if len({pictures["sha256"] for pictures in known.values()}) < 2:
        return []
    listed = ", ".join(f"{num_pictures(each):,} in {label}" for label, each in known.items())
    return [f"the pictures are not the same, by their names or number: {listed}"]


def different(runs: Sequence[RunData], keys: Sequence[str]) -> list[str]:
    """Those of the keys whose values differ, but for the arguments of classes that differ."""
    found = [k for k in keys if len({str(run.config.get(k)) for run in runs}) > 1]
    others = tuple(f"{k.removesuffix(CLASS)}.init_args" for k in found if k.endswith(CLASS))
    return [k for k in found if not k.startswith(others)]


def short(value: str) -> str:
    """The last name of an import path; anything else as it is."""
    names = value.split(".")
    return names[-1] if all(name.isidentifier() for name in names) else value


def _load(folder: Path, label: str) -> RunData:
    result, series = read_result(folder), read_metrics(folder)
    epochs = result.get("fit", {}).get("epochs")
    if not epochs:
        raise InputError(f"{folder} has no finished epoch yet; expected a run that fit completed")
    last, bank = result["fit"].get("last", {}), small_bank(folder)
    knn = f"kNN among {bank:,}" if bank else "kNN"  # a test searches all, and so finds more
    finals = {
        name: last[key]
        for name, key in (("online probe", PROBE), (knn, KNN))
        if last.get(key) is not None
    }
    finals |= {f"test {h.label}": value for h, value in offline_headlines(result.get("test", {}))}
    others = transfers(result)
    for name, test in others.items():
        finals |= {f"on {name} {h.label}": value for h, value in offline_headlines(test)}
    tested = {"tested": caveat_of_test(result)}
    for name in others:
        tested[f"tested on {name}"] = caveat_of_test(result, test_section(name))
    sections = {"test": result.get("test", {}), **{f"on {n}": t for n, t in others.items()}}
    accuracies = {
        f"{section} {protocol}, {row_name(row)}" + (f", {words}" if kind != "top1" else ""): value
        for section, test in sections.items()
        for kind, words in KINDS.items()
        for (row, protocol), value in accuracies_of(test, kind).items()
    }
    config = flat_config(folder)
    minutes = _minutes(series, _images_a_step(folder, config, result["fit"]))
    return RunData(
        label, folder, config, series, finals, accuracies, epochs, minutes, tested, others
    )


def _minutes(series: Mapping[str, list[Point]], images: float) -> list[float]:
    """Of training at the end of each epoch; those of a run whose state it took up took none.

    Args:
        series: metric -> its values.
        images: of a step.
    """
    # an epoch that was stopped and went on has a second speed, which is of the whole of it
    speeds = {point.epoch: point.value for point in series.get("speed/images_per_second", [])}
    ends, done = epoch_ends(series), np.arange(max(speeds, default=-1) + 2)
    steps = np.diff(np.interp(done, list(ends), list(ends.values())))
    seconds = [images * n / speeds.get(epoch, np.inf) for epoch, n in enumerate(steps)]
    return (np.cumsum(seconds) / 60).tolist()


def _images_a_step(folder: Path, config: Mapping[str, Any], fit: Mapping[str, Any]) -> float:
    """Of all processes together; of an early run, which does not say it, the mean."""
    joint = read_environment(folder).get(JOINT_BATCH)
    if joint:
        return float(joint * (config.get("trainer.accumulate_grad_batches") or 1))
    return fit.get("images_seen", 0) / fit.get("steps", np.inf)
