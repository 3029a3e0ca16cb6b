"""The figures people ask for first, from a run's files."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dim_lightning.run.accuracies import KINDS, flat_figures, layers_of
from dim_lightning.run.environment import known_pictures
from dim_lightning.run.folder import LAST_CHECKPOINT, PICTURES, SUMMARY
from dim_lightning.run.metrics import best, read_metrics
from dim_lightning.run.result import read_result, test_section, transfers
from dim_lightning.run.settings import flat_config

PROBE = "probe/online/top1"
KNN = "knn/cosine/k20_t0.07/top1"
RANK = "geometry/effective_rank"
VAL_LOSS = "val/loss"
ACCURACIES = {PROBE: "online linear probe", KNN: "kNN, k = 20"}
# in result.json: which the figures are of, if of others than those of the training; in
# environment.json of a run that took up another's state: which that one had, and how it dealt them
OTHER_PICTURES = "other_pictures"
OTHER_SHARES = "other_shares"
OTHER_SETTINGS = "other_settings"  # of a test: size, precision, its part of the images, if others
OTHER_CODE = "other_code"  # own classes and functions that were changed between training and test
_OF_WHAT = ("epochs_trained", "steps_trained", "image_size")  # beside the figures of `validate`
_OF_VALIDATION = (*ACCURACIES, VAL_LOSS)


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
            bank = small_bank(run_dir) if name == KNN else None
            searched = f", among {bank:,} training images" if bank else ""
            best_one = f"best {top['value']:.1%} at epoch {top['epoch']}"
            note = f"{_measured(fit, name)}{searched}; {best_one}"
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


def small_bank(run_dir: Path) -> int | None:
    """How many training images kNN searches in validation; None if these are all there are."""
    bank = flat_config(run_dir).get("neighbours.bank_size")
    known = (known_pictures(run_dir) or {}).get("train")  # of early runs it is not
    return None if bank is None or (known is not None and known <= bank) else bank


def transfer_headlines(result: Mapping[str, Any]) -> list[Headline]:
    """The same two of each other data set that the encoder was tested on.

    Args:
        result: the sections of result.json.
    """
    lines = []
    for name, test in transfers(result).items():
        then = caveat_of_test(result, test_section(name))
        for line, _ in offline_headlines(test):
            note = line.note.replace("test,", f"transfer to {name},", 1)
            lines.append(line._replace(note=note + then))
    return lines


def _measured(fit: Mapping[str, Any], name: str) -> str:
    """When a figure of validation was measured: not each is at each epoch."""
    epoch, epochs = fit.get("last_epochs", {}).get(name), fit.get("epochs")  # early runs lack it
    is_earlier = None not in (epoch, epochs) and epoch < epochs
    return f"validation, epoch {epoch}" if is_earlier else "validation, last epoch"


def caveat_of_test(result: Mapping[str, Any], section: str = "test") -> str:
    """What a test is of, if not of the run's end, its pictures, settings or code; else nothing.

    Args:
        result: the sections of result.json.
        section: that of the test.
    """
    test = result.get(section, {})
    words = {
        OTHER_SETTINGS: "with other settings than in its training",
        OTHER_CODE: "by code changed after its training",
    }
    said = [f", {text}: {test[name]}" for name, text in words.items() if test.get(name)]
    return reason_to_repeat(result, section) + "".join(said)


def reason_to_repeat(result: Mapping[str, Any], section: str = "test") -> str:
    """The same without settings, as a table looks at its own, and without code.

    Of that a file may change that nothing depends on.
    """
    change = result.get(section, {}).get(OTHER_PICTURES)
    return _tested_before(result, section) + (f", on other pictures: {change}" if change else "")


def _tested_before(result: Mapping[str, Any], section: str) -> str:
    """After how much of its training a run was tested that has trained on since; else nothing.

    A test may be of the midst of the last epoch, which its steps tell; early runs have none.
    """
    fit, test = result.get("fit", {}), result.get(section, {})
    for unit in ("epoch", "step"):
        tested, trained = test.get(f"{unit}s_trained"), fit.get(f"{unit}s")
        if None not in (tested, trained) and tested < trained:
            return f", after {unit} {tested} of {trained}"
    return ""


def offline_headlines(test: Mapping[str, Any]) -> list[tuple[Headline, float]]:
    """Linear probe and kNN on the code, of the offline evaluation, with the bare fraction."""
    flat, layers = flat_figures(test), layers_of(test)
    lines = []
    for kind, key in {"linear probe": "probe/linear/top1", "kNN, k = 20": KNN}.items():
        prefix = key.removesuffix("top1")
        names = [n for n in flat if n.startswith(prefix) and n.endswith("/top1")]
        names = [n for n in names if "/pixels/" not in n]
        if layers:
            names = [n for n in names if n == f"{prefix}{layers[-1]}/top1"]
        if names:  # early tests wrote the code last
            layer, value = names[-1].split("/")[-2], flat[names[-1]]
            lines.append((Headline(kind, f"{value:.1%}", f"test, layer {layer}, offline"), value))
    return lines


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
        shown = [*headlines(run_dir), *transfer_headlines(result)]
        lines += [f"  {h.label:<24} {h.value:>8}   {h.note}" for h in shown]
    lines += ["", f"run folder  {run_dir}", f"page        {run_dir / SUMMARY}"]
    if (run_dir / PICTURES).is_dir():
        lines.append(f"pictures    {run_dir / PICTURES}")
    lines.append(f"next        {next_command(run_dir, command)}")
    return "\n".join(lines)


def _all_figures(section: Mapping[str, Any]) -> list[str]:
    """A line a figure, shares in percent."""
    shares = (*(f"/{kind}" for kind in KINDS), "/precision")
    return [
        f"  {name:<32} {f'{value:.1%}' if name.endswith(shares) else f'{value:.4g}':>8}"
        for name, value in flat_figures(section).items()
        if name not in _OF_WHAT
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
