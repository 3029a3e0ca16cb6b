"""Whether a test measured what a table asks for, and as it asks for it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dim_lightning.evaluation.offline import OPTIONAL
from dim_lightning.run.result import TRANSFER, read_result
from dim_lightning.run.settings import belongs, changed, flat_config
from dim_lightning.table.cell import Cell
from dim_lightning.table.transfers import other_source

EVALUATION = "evaluation"
_IMAGE_SIZE = "data.image_size"
_MLP_EPOCHS = f"{EVALUATION}.mlp_epochs"
_OF_MLP = (f"{EVALUATION}.mlp_protocol", f"{EVALUATION}.repeats")
_FEW_LABELS = f"{EVALUATION}.few_labels"
_LINEAR_DIM = f"{EVALUATION}.linear_dim"  # up to which a test measures layers; null: all
# what a test measures beside the rest, or, at 0 or false, leaves out
_SWITCHES = {f"{EVALUATION}.{name}" for name in ("floors", *(names[0] for names in OPTIONAL))}


def other_test(cell: Cell, run: Path, section: str) -> list[str]:
    """In what the protocol of its figures is not the one asked for.

    A setting that a test was too early to know is no reason to repeat it, unless the table names
    it. Neither is one by which more was measured than is asked for: tables that share runs have
    them tested once.

    Args:
        cell: a row and a seed.
        run: its folder.
        section: of the figures in result.json.
    """
    stored, asked = _tested_with(run, section), _evaluation(cell.settings)
    if asked.get(_MLP_EPOCHS) == 0:  # then these play no part
        idle = _OF_MLP[:1] if asked.get(_FEW_LABELS) else _OF_MLP
        asked = {key: value for key, value in asked.items() if key not in idle}
    name = section.removeprefix(TRANSFER)
    transfer = cell.transfers.get(name) if section.startswith(TRANSFER) else None
    settings = {**cell.settings, **(transfer.settings if transfer else {})}
    size = read_result(run).get(section, {}).get("image_size")
    if size is not None and _IMAGE_SIZE in settings:
        stored[_IMAGE_SIZE], asked[_IMAGE_SIZE] = size, settings[_IMAGE_SIZE]
    named = {key for key in asked if key not in stored and key in cell.row.overrides}
    other = {
        key
        for key, value in asked.items()
        if key in stored and stored[key] != value and not _is_more(key, stored[key], value)
    }
    found = [changed(key, stored.get(key), asked[key]) for key in asked if key in named | other]
    source = other_source(run, name, transfer) if transfer else ""
    return [*found, *filter(None, [source])]


def _is_more(key: str, stored: Any, asked: Any) -> bool:
    """Whether a test with another value measured what is asked for, and more."""
    if key == _LINEAR_DIM:
        return stored is None or (asked is not None and stored > asked)
    if key == _FEW_LABELS:
        return set(asked) <= set(stored)
    return key in _SWITCHES and not asked


def _tested_with(run: Path, section: str) -> dict[str, Any]:
    """The settings of a test; early ones did not note them, and had those of the run."""
    settings = read_result(run).get(section, {}).get("settings")
    if settings is None:
        return _evaluation(flat_config(run))
    return {f"{EVALUATION}.{name}": value for name, value in settings.items()}


def _evaluation(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if belongs(key, (EVALUATION,))}
