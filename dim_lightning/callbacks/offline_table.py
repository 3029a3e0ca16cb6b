"""The figures of the offline evaluation by name, and as a table to read."""

import math
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dim_lightning.evaluation.offline import FEW, FINE_TUNED, LINEAR, MLP, PAPER, SVM
from dim_lightning.evaluation.paper_probe import PAPER_EPOCHS
from dim_lightning.evaluation.probes import L2_GRID, MLP_BATCH, mlp_batch_size
from dim_lightning.evaluation.svm import C_GRID
from dim_lightning.run.accuracies import RANDOM, column_name, is_floor, row_name, unsolved

_BOUND = (
    "the Donsker-Varadhan formula on test images, of a network fitted to the training split by a "
    "multi-sample bound for {} epochs, its epoch chosen on the validation split; one seed. Above "
    "log(10 x test images) nats the draws leave it undetermined."
)
_PROTOCOL = (
    "Frozen features of clean images in eval mode. Fitted on the training split, penalty of the "
    "linear probe and of the SVM chosen on the validation split, accuracy (micro average) on the "
    "test split."
)
_PROTOCOLS = {  # what stands in a figure's name -> how it is measured
    LINEAR: (
        "Linear: softmax regression on standardised features, its penalty chosen by rough fits "
        "(1e-4 nats from the smallest objective, 100 products with the Hessian at most), the one "
        "of the chosen penalty solved to 1e-5 nats."
    ),
    SVM: (
        "SVM: one class against the others, 1/2 |(w, b)|^2 + C times the sum of squared hinge "
        "losses as in LIBLINEAR, on standardised features."
    ),
    FEW: (
        "Few labels: the linear probe where only this share of the training images of each class "
        "has a label, at least one, and of the validation images that choose its penalty; of "
        "several draws ({repeats}) mean and standard deviation."
    ),
    MLP: (
        "MLP-200: Linear 200, dropout 0.1, batch norm, ReLU, Linear; Adam 1e-3, {mlp_epochs} "
        "epochs{mlp_batches}, on standardised features."
    ),
    PAPER: (
        "MLP-200 paper: Linear 200, dropout 0.1, batch norm, ReLU, Linear on the features as they "
        "are, batches of 64, Adam 1e-4, divided by ten after epochs 50 and 100 of {paper_epochs}; "
        "mean of the last 100 epochs (mlp200_paper), and the epoch that is best on the validation "
        "split (mlp200_paper_chosen)."
    ),
    "top1_std": (
        "top1_std: standard deviation over {repeats} seeds, MLP probe ({mlp_protocol}), or draws, "
        "few labels."
    ),
    "top5": (
        "top5: share of the test images whose class is among the five of largest score; of equal "
        "scores the lower class comes first, and a class without a vote is not among them."
    ),
    "mean_per_class": (
        "mean_per_class: mean over the classes of the share of each that is classified rightly; of "
        "the classes that have test images."
    ),
    "knn": "kNN: cosine votes are weighted by exp(s / T), Euclidean votes are equal.",
    FINE_TUNED: (
        "Fine-tuned: a copy of the whole encoder and a linear layer on its code, batches of 64, "
        "Adam 1e-3, divided by ten for the last third and again for the last sixth of "
        "{fine_tune_epochs} epochs; accuracy after the last, one seed."
    ),
    "decoder": (
        "Decoder: MS-SSIM and mean square error of test images made of their codes after "
        "{decoder_epochs} epochs, one seed."
    ),
    "mine": f"MINE, of image (at most 32 x 32) and code: {_BOUND.format('{mine_epochs}')}",
    "ndm": f"NDM, of the dimensions of the code: {_BOUND.format('{ndm_epochs}')}",
    RANDOM.rstrip(
        "/"
    ): "Floors: the same encoder with random weights, and pixels (at most 32 x 32).",
}
_OTHERS = {
    "ms_ssim": "MS-SSIM of decoded images (1 = equal)",
    "square_error": "square error of decoded images",
    "mine": "MINE, image and code, nats",
    "ndm": "NDM, dimensions of the code, nats",
}
_WIDEST = 11  # of a line above a column

Rows = Mapping[str, Mapping[str, Mapping[str, float]]]  # row -> protocol -> name -> figure


def protocol_text(
    names: Iterable[str], settings: Mapping[str, Any], num_train: int | None = None
) -> str:
    """How the figures of these names are measured, in words, a line each kind.

    Args:
        names: of the figures.
        settings: of the evaluation.
        num_train: the labelled training images; None if there are none.
    """
    lines = [_PROTOCOL, *_kinds(names)]
    size = MLP_BATCH if num_train is None else mlp_batch_size(num_train)
    batches = f" of batches of {size}" if size < MLP_BATCH else ""
    return "\n".join(lines).format(paper_epochs=PAPER_EPOCHS, mlp_batches=batches, **settings)


def lines_about(names: Iterable[str], text: str) -> list[str]:
    """The lines of an earlier protocol that say how the figures of these names were measured."""
    heads = set(map(_head, _kinds(names)))
    return [line for line in text.splitlines() if _head(line) in heads]


def figure_name(row: str, protocol: str, ending: str = "top1") -> str:
    """The full name of a figure, such as knn/cosine/k20_t0.07/conv/top1."""
    prefix = RANDOM if row.startswith(RANDOM) else ""
    return f"{prefix}{protocol}/{row.removeprefix(RANDOM)}/{ending}"


def by_protocol(rows: Rows) -> dict[str, float]:
    """The accuracies by their full name, floors last."""
    named = {
        figure_name(row, protocol, ending): value
        for protocol in _protocols(rows)
        for row, figures in rows.items()
        for ending, value in figures.get(protocol, {}).items()
    }
    return dict(sorted(named.items(), key=lambda item: item[0].startswith(RANDOM)))


def table(rows: Rows, facts: Mapping[str, Any]) -> str:
    """The top-1 accuracies in percent, a row a layer, the floors below, and how they were measured.

    Args:
        rows: accuracies in [0, 1].
        facts: what else there is to know.
    """
    protocols = _protocols(rows)
    names = (textwrap.wrap(column_name(p), _WIDEST, break_on_hyphens=False) for p in protocols)
    heads = [["layer"], ["size"], *names]
    height = max(map(len, heads))
    upper = list(zip(*([""] * (height - len(head)) + head for head in heads), strict=True))
    cells = [
        [row_name(row), f"{facts['dim'][row]:,}"] + [_cell(figures.get(p, {})) for p in protocols]
        for row, figures in rows.items()
    ]
    columns = list(zip(*upper, *cells, strict=True))
    widths = [max(len(cell) for cell in column) for column in columns]

    def line(texts: Sequence[str]) -> str:
        first, *others = (f"{t:>{w}}" for t, w in zip(texts, widths, strict=True))
        return "  ".join([first.lstrip().ljust(widths[0]), *others]).rstrip()

    rule = "-" * (sum(widths) + 2 * len(widths) - 2)
    lines = [_title(facts), "", *map(line, upper)]
    floor_before = None
    for row, texts in zip(rows, cells, strict=True):
        if is_floor(row) != floor_before:
            lines.append(rule)
        floor_before = is_floor(row)
        lines.append(line(texts))
    return "\n".join(["", *lines, rule, *_notes(facts), *_also(rows)])


def others_list(figures: Mapping[str, float], facts: Mapping[str, Any]) -> str:
    """The figures of the code that are no accuracies, one a line; nothing if there are none.

    Args:
        figures: by their full name.
        facts: what else there is to know: the estimates' epochs, and how many were asked for.
    """
    parts = {name: name.split("/") for name in figures}

    def note(kind: str, name: str) -> str:
        estimate = facts["estimates"].get(f"{kind}/{name}")
        is_last = estimate is not None and estimate["epoch"] == facts["settings"][f"{kind}_epochs"]
        return "   best after the last epoch: more may find more" if is_last else ""

    lines = [
        f"  {_OTHERS[kind if kind in _OTHERS else last]:<38}  {figures[key]:8.4g}{note(kind, name)}"
        for key, (kind, name, last) in parts.items()
    ]
    return "\n".join(["", "Of the code, test images:", *lines]) if lines else ""


def _kinds(names: Iterable[str]) -> list[str]:
    """The lines, to be filled in, of the protocols of these figures."""
    known = [f"{name}/" for name in names]
    return [t for kind, t in _PROTOCOLS.items() if any(f"{kind}/" in name for name in known)]


def _head(line: str) -> str:
    return re.split("[:,]", line, maxsplit=1)[0]


def _protocols(rows: Rows) -> list[str]:
    """All that were measured, the linear probe first even if the first layer went without."""
    found = dict.fromkeys(p for figures in rows.values() for p in figures)
    return sorted(found, key=lambda protocol: protocol != LINEAR)


def _cell(figures: Mapping[str, float]) -> str:
    shown = (figures[name] for name in ("top1", "top1_std") if name in figures)
    return " ± ".join(f"{100 * value:.2f}" for value in shown)


def _title(facts: Mapping[str, Any]) -> str:
    epochs = facts["epochs_trained"]
    of = f" of {facts['transfer']}" if "transfer" in facts else ""
    return (
        f"Accuracy in percent on {facts['num_test']:,} test images{of}, fitted on "
        f"{facts['num_train']:,} training images, after {epochs} epoch{'s' * (epochs != 1)}"
    )


def _notes(facts: Mapping[str, Any]) -> list[str]:
    chosen = f"chosen on {facts['num_val']:,} validation images: "
    lines = [f"always the largest training class: {100 * facts['chance']:.2f}"]
    penalties = {
        "L2 of the linear probe": (facts["l2"], L2_GRID),
        "C of the SVM": (facts.get("svm_c", {}), C_GRID),
    }
    for name, (values, grid) in penalties.items():
        ends = min(grid), max(grid)
        listed = ", ".join(
            f"{row_name(row)} {value:g}{' (end of the grid)' * (value in ends)}"
            for row, value in values.items()
        )
        if listed or name.startswith("L2"):
            text = f"{name}, {chosen}{listed or 'none'}"
            lines += textwrap.wrap(text, 100, subsequent_indent="  ")
    if unsolved(facts):
        text = f"ended before they converged: {', '.join(unsolved(facts))}"
        lines += textwrap.wrap(text, 100, subsequent_indent="  ")
    if facts.get("repeats", 1) > 1:
        lines.append(
            f"±: standard deviation over {facts['repeats']} seeds of the MLP probe, or draws"
        )
    half, most = (100 * math.sqrt(p * (1 - p) / facts["num_test"]) for p in (0.5, 0.9))
    error = f"standard error, by the number of test images: {half:.2f} at 50 %, {most:.2f} at 90 %"
    return [*lines, error, f"measured in {facts['seconds']:,.0f} s"]


def _also(rows: Rows) -> list[str]:
    """What there is beside the accuracies of the table, if there is anything."""
    names = {n for figures in rows.values() for found in figures.values() for n in found}
    others = [name for name in ("top5", "mean_per_class") if name in names]
    return [f"also in result.json: {', '.join(others)}"] * bool(others)
