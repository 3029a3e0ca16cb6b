"""The figures people ask for first, from a run's files."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dim_lightning.run.folder import LAST_CHECKPOINT, PICTURES, SUMMARY
from dim_lightning.run.metrics import best, read_metrics
from dim_lightning.run.result import read_result
from dim_lightning.run.settings import flat_settings

PROBE = "probe/online/top1"
KNN = "knn/cosine/k20_t0.07/top1"
RANK = "geometry/effective_rank"
VAL_LOSS = "val/loss"
ACCURACIES = {PROBE: "online linear probe", KNN: "kNN, k = 20"}
# in result.json: which the figures are of, if of others than those of the training; in
# environment.json of a run that took up another's state: which that one had, and how it dealt them
OTHER_PICTURES = "other_pictures"
OTHER_SHARES = "other_shares"
OTHER_CODE = "other_code"  # own classes and functions that were changed between training and test
PIXELS, RANDOM = "pixels", "random/"  # rows of the offline evaluation that are floors
_OF_VALIDATION = (*ACCURACIES, VAL_LOSS)
_PROBES = {
    "linear": "linear probe",
    "svm": "linear SVM",
    "mlp200": "MLP-200 probe",
    "mlp200_paper": "MLP-200, paper",
    "mlp200_paper_chosen": "MLP-200, paper, epoch chosen",
}


class Headline(NamedTuple):
    """One figure as a person reads it: what it is, the figure, and the small print."""

    label: str
    value: str
    note: str


def final_figures(run_dir: Path) -> dict[str, Any]:
    """Last value of every metric, and the best accuracies; epochs, from 1, of what has a note."""
    series = read_metrics(run_dir)
    tops = {name: best(points) for name, points in series.items() if name in ACCURACIES}
    return {
        "last": {name: points[-1].value for name, points in sorted(series.items())},
        "last_epochs": {n: series[n][-1].epoch + 1 for n in _OF_VALIDATION if n in series},
        "best": {n: {"value": p.value, "epoch": p.epoch + 1} for n, p in tops.items()},
    }


def headlines(run_dir: Path) -> list[Headline]:
    """Accuracies first, then losses; only those the run has."""
    result = read_result(run_dir)
    fit, test = result.get("fit", {}), result.get("test", {})
    then = caveat_of_test(result)
    lines = [line._replace(note=line.note + then) for line, _ in offline_headlines(test)]
    if "test/top1" in test:
        note = "test, of the network trained with labels itself" + then
        lines.append(Headline("its own classifier", f"{test['test/top1']:.1%}", note))
    for name, label in ACCURACIES.items():
        top = fit.get("best", {}).get(name)
        if top:
            note = f"{_measured(fit, name)}; best {top['value']:.1%} at epoch {top['epoch']}"
            lines.append(Headline(label, f"{fit['last'][name]:.1%}", note))
    losses = {"train/loss": "training, last step logged", VAL_LOSS: _measured(fit, VAL_LOSS)}
    for name, note in losses.items():
        value = fit.get("last", {}).get(name)
        if value is not None:
            lines.append(Headline(name.replace("/", " "), f"{value:.3f}", note))
    rank = fit.get("last", {}).get(RANK)
    if rank is not None:
        lines.append(Headline("effective rank", f"{rank:.1f}", "of the validation codes"))
    return lines


def _measured(fit: Mapping[str, Any], name: str) -> str:
    """When a figure of validation was measured: not each is at each epoch."""
    epoch, epochs = fit.get("last_epochs", {}).get(name), fit.get("epochs")  # early runs lack it
    is_earlier = None not in (epoch, epochs) and epoch < epochs
    return f"validation, epoch {epoch}" if is_earlier else "validation, last epoch"


def caveat_of_test(result: Mapping[str, Any]) -> str:
    """What a test is of, if not of the run's end, its pictures or its code; else nothing.

    Args:
        result: the sections of result.json.
    """
    code = result.get("test", {}).get(OTHER_CODE)
    return reason_to_repeat(result) + (f", by code changed after its training: {code}" * bool(code))


def reason_to_repeat(result: Mapping[str, Any]) -> str:
    """The same without its code, of which a file may change that nothing depends on."""
    change = result.get("test", {}).get(OTHER_PICTURES)
    return _tested_before(result) + (f", on other pictures: {change}" if change else "")


def _tested_before(result: Mapping[str, Any]) -> str:
    """After how much of its training a run was tested that has trained on since; else nothing.

    A test may be of the midst of the last epoch, which its steps tell; early runs have none.
    """
    fit, test = result.get("fit", {}), result.get("test", {})
    for unit in ("epoch", "step"):
        tested, trained = test.get(f"{unit}s_trained"), fit.get(f"{unit}s")
        if None not in (tested, trained) and tested < trained:
            return f", after {unit} {tested} of {trained}"
    return ""


def offline_headlines(test: Mapping[str, Any]) -> list[tuple[Headline, float]]:
    """Linear probe and kNN on the code, of the offline evaluation, with the bare fraction."""
    return [(_test_headline(name, value), value) for name, value in _chosen(test).items()]


def unsolved(test: Mapping[str, Any]) -> list[str]:
    """The probes that ended before they were solved, as a person reads it."""
    places = [_place(name) for name in test.get("not_converged", [])]
    return [f"{column} on {row_name(row)}" for row, column in places]


def row_name(row: str) -> str:
    """A row of the offline evaluation, conv, random/conv or pixels, as a person reads it."""
    if row.startswith(RANDOM):
        return f"random encoder, {row.removeprefix(RANDOM)}"
    return "raw pixels" if row == PIXELS else row


def is_floor(row: str) -> bool:
    """Whether a row is there to be compared with."""
    return row == PIXELS or row.startswith(RANDOM)


def flat_figures(values: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a section of result.json by their full name."""
    return {
        name: float(value)
        for name, value in flat_settings(values, separator="/").items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def opening_message(
    run_dir: Path,
    num_parameters: int,
    splits: Mapping[str, int],
    num_classes: int | None,
    place: str = "",
) -> str:
    """What starts, on how much, and where.

    Args:
        run_dir: the run's folder.
        num_parameters: of the model, critics included.
        splits: name of a split -> its number of images.
        num_classes: of their labels; None if they have none.
        place: from `trained_on`.
    """
    images = ", ".join(f"{count:,} {name}" for name, count in splits.items())
    classes = "no labels" if num_classes is None else f"{num_classes} classes"
    size = f"{num_parameters / 1e6:.2f} M parameters"
    parts = [f"{run_dir}: {images} images", classes, size, place]
    return ", ".join(filter(None, parts))


def trained_on(device: str, processes: int, joint_batch_size: int) -> str:
    """What trains together, such as '4 x NVIDIA A100, joint batch 256'; nothing of one CPU."""
    if (device, processes) == ("CPU", 1):
        return ""
    return f"{processes} x {device}, joint batch {joint_batch_size}"


def closing_message(run_dir: Path, command: str) -> str:
    """What was reached, where it lies, and what to try next."""
    result = read_result(run_dir)
    fit = result.get("fit", {})
    seconds, speed = fit.get("seconds", 0.0), fit.get("images_per_second", 0.0)
    lines = []
    if command == "fit":
        epochs = fit.get("epochs", 0)
        unit = "epoch" if epochs == 1 else "epochs"
        lines.append(f"{epochs} {unit} in {duration(seconds)}, {speed:,.0f} images/s")
    if command == "validate":  # of which the page and the other commands say nothing
        lines += _all_figures(result.get("validate", {}))
    else:
        lines += [f"  {h.label:<24} {h.value:>8}   {h.note}" for h in headlines(run_dir)]
    lines += ["", f"run folder  {run_dir}", f"page        {run_dir / SUMMARY}"]
    if (run_dir / PICTURES).is_dir():
        lines.append(f"pictures    {run_dir / PICTURES}")
    lines.append(f"next        {next_command(run_dir, command)}")
    return "\n".join(lines)


def _all_figures(section: Mapping[str, Any]) -> list[str]:
    """A line a figure, shares in percent."""
    shares = ("/top1", "/precision")
    return [
        f"  {name:<32} {f'{value:.1%}' if name.endswith(shares) else f'{value:.4g}':>8}"
        for name, value in flat_figures(section).items()
    ]


def next_command(run_dir: Path, command: str) -> str:
    """What one would type next; without labels, training or checkpoint nothing is tested."""
    run, fit = shlex.quote(str(run_dir)), read_result(run_dir).get("fit", {})
    is_saved = (run_dir / LAST_CHECKPOINT).is_file()
    if command == "fit" and not (fit.get("epochs") or is_saved):
        return f"python -m dim_lightning fit --resume {run} --trainer.max_epochs 1"
    to_test = "test" if ACCURACIES.keys() & fit.get("best", {}).keys() else "predict"
    after = {"fit": to_test, "validate": to_test, "test": "predict"}.get(command)
    if after is None or not is_saved:
        return f"python -m dim_lightning compare {run} ANOTHER_RUN"
    return f"python -m dim_lightning {after} --run {run}"


def duration(seconds: float) -> str:
    """`seconds` in the units a person would use."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def accuracy_table(test: Mapping[str, Any]) -> dict[str, Any] | None:
    """The accuracies of the offline evaluation: a row a layer, a column a protocol, in percent.

    Floors, an untrained encoder's features and raw pixels, come last. None if there are none.
    """
    flat = {n: v for n, v in flat_figures(test).items() if n.endswith("/top1")}
    values = {_place(name): value for name, value in flat.items()}
    if not values:
        return None
    rows = _in_order(dict.fromkeys(row for row, _ in values), _layers(test))
    columns = list(dict.fromkeys(column for _, column in values))
    tops = {c: max(v for (_, column), v in values.items() if column == c) for c in columns}

    def cell(row: str, column: str) -> dict[str, Any]:
        value = values.get((row, column))
        if value is None:
            return {"text": "", "best": False}
        return {"text": f"{100 * value:.1f}", "best": value == tops[column]}

    return {
        "columns": columns,
        "rows": [
            {
                "name": row_name(row),
                "floor": is_floor(row),
                "cells": [cell(row, c) for c in columns],
            }
            for row in rows
        ],
    }


def _place(name: str) -> tuple[str, str]:
    """Row and column of an accuracy such as random/knn/cosine/k20_t0.07/y/top1."""
    *protocol, layer, _ = name.split("/")
    if not protocol:  # test/top1, of a network trained with labels
        return "its own classifier", "no probe"
    if f"{protocol[0]}/" == RANDOM:
        return f"{RANDOM}{layer}", _protocol(protocol[1:])
    return layer, _protocol(protocol)


def _protocol(parts: list[str]) -> str:
    if parts[0] == "probe":
        return _PROBES.get(parts[1], " ".join(parts))
    if parts == ["fine_tuned"]:
        return "fine-tuned"
    return " ".join(parts).replace("knn", "kNN").replace("_t", " T").replace(" k", " k=")


def _layers(test: Mapping[str, Any]) -> list[str]:
    """Those that the last test has looked at, in the encoder's order, the code last."""
    return [name for name in test.get("dim", {}) if not is_floor(name)]


def _in_order(rows: Iterable[str], layers: Sequence[str]) -> list[str]:
    """Layers in the encoder's order, others behind them, floors last."""
    order = {name: place for place, name in enumerate(layers)}
    return sorted(rows, key=lambda row: (is_floor(row), order.get(row, len(order))))


def _chosen(test: Mapping[str, Any]) -> dict[str, float]:
    """The linear probe and kNN on the code, of the offline evaluation."""
    flat, layers = flat_figures(test), _layers(test)
    chosen: dict[str, float] = {}
    for prefix in ("probe/linear/", KNN.removesuffix("top1")):
        names = [n for n in flat if n.startswith(prefix) and n.endswith("/top1")]
        names = [n for n in names if "/pixels/" not in n]
        if layers:
            names = [n for n in names if n == f"{prefix}{layers[-1]}/top1"]
        if names:
            chosen[names[-1]] = flat[names[-1]]  # early tests wrote the code last
    return chosen


def _test_headline(name: str, value: float) -> Headline:
    kind = "linear probe" if name.startswith("probe/linear") else "kNN, k = 20"
    layer = name.split("/")[-2]
    return Headline(kind, f"{value:.1%}", f"test, layer {layer}, offline")
