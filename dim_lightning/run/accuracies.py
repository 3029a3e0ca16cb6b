"""The accuracies that the offline evaluation found, by row and column of a table."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dim_lightning.run.settings import flat_settings

# the ends of the names of figures that are accuracies, as a person reads them
KINDS = {"top1": "top-1", "top5": "top-5", "mean_per_class": "mean per class"}
PIXELS, RANDOM = "pixels", "random/"  # rows of the offline evaluation that are floors
_PROBES = {
    "linear": "linear probe",
    "svm": "linear SVM",
    "mlp200": "MLP-200 probe",
    "mlp200_paper": "MLP-200, paper",
    "mlp200_paper_chosen": "MLP-200, paper, epoch chosen",
}


def accuracy_table(test: Mapping[str, Any], kind: str = "top1") -> dict[str, Any] | None:
    """The accuracies of the offline evaluation: a row a layer, a column a protocol, in percent.

    Floors, an untrained encoder's features and raw pixels, come last. None if there are none.

    Args:
        test: a section of result.json.
        kind: one of KINDS.
    """
    values = accuracies_of(test, kind)
    spread = {
        _place(name): value
        for name, value in flat_figures(test).items()
        if name.endswith(f"/{kind}_std")
    }
    if not values:
        return None
    rows = _in_order(dict.fromkeys(row for row, _ in values), layers_of(test))
    columns = list(dict.fromkeys(column for _, column in values))
    tops = {c: max(v for (_, column), v in values.items() if column == c) for c in columns}

    def cell(row: str, column: str) -> dict[str, Any]:
        value = values.get((row, column))
        if value is None:
            return {"text": "", "best": False}
        text = f"{100 * value:.1f}"
        if (row, column) in spread:
            text += f" ± {100 * spread[row, column]:.1f}"
        return {"text": text, "best": value == tops[column]}

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


def accuracies_of(test: Mapping[str, Any], kind: str = "top1") -> dict[tuple[str, str], float]:
    """Row and column of the table -> accuracy of a kind, in [0, 1]."""
    return {_place(n): v for n, v in flat_figures(test).items() if n.endswith(f"/{kind}")}


def layers_of(test: Mapping[str, Any]) -> list[str]:
    """Those that the last test has looked at, in the encoder's order, the code last."""
    return [name for name in test.get("dim", {}) if not is_floor(name)]


def unsolved(test: Mapping[str, Any]) -> list[str]:
    """The probes that ended before they were solved, as a person reads it."""
    places = [_place(name) for name in test.get("not_converged", [])]
    return [f"{column} on {row_name(row)}" for row, column in places]


def row_name(row: str) -> str:
    """A row of the offline evaluation, conv, random/conv or pixels, as a person reads it."""
    if row.startswith(RANDOM):
        return f"random encoder, {row.removeprefix(RANDOM)}"
    return "raw pixels" if row == PIXELS else row


def column_name(protocol: str) -> str:
    """A column of the offline evaluation, such as probe/svm, as a person reads it."""
    parts = protocol.split("/")
    if parts[:2] == ["probe", "few_labels"]:
        return f"linear probe, {100 * float(parts[2]):g} % of the labels"
    if parts[0] == "probe":
        return _PROBES.get(parts[1], " ".join(parts))
    if protocol == "fine_tuned":
        return "fine-tuned"
    return " ".join(parts).replace("knn", "kNN").replace("_t", " T").replace(" k", " k=")


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


def _place(name: str) -> tuple[str, str]:
    """Row and column of an accuracy such as random/knn/cosine/k20_t0.07/y/top1."""
    floor = RANDOM if name.startswith(RANDOM) else ""
    *protocol, layer, _ = name.removeprefix(RANDOM).split("/")
    if not protocol:  # test/top1, of a network trained with labels
        return "its own classifier", "no probe"
    return f"{floor}{layer}", column_name("/".join(protocol))


def _in_order(rows: Iterable[str], layers: Sequence[str]) -> list[str]:
    """Layers in the encoder's order, others behind them, floors last."""
    order = {name: place for place, name in enumerate(layers)}
    return sorted(rows, key=lambda row: (is_floor(row), order.get(row, len(order))))
