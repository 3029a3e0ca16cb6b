"""The commands that make the runs of a table."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dim_lightning.run.folder import CONFIG, next_number
from dim_lightning.run.result import TRANSFER
from dim_lightning.run.settings import WHERE, belongs, flat_config
from dim_lightning.table.cell import Cell
from dim_lightning.table.protocol import EVALUATION
from dim_lightning.table.runs import BATCH_SIZE


def settings_words(cell: Cell) -> list[str]:
    """What `fit` is given but where its run lies."""
    words = ["fit", "--config", str(cell.row.config), *as_options(cell.row.overrides)]
    return [*words, f"--seed_everything={cell.seed}"]


def words_of(cell: Cell, missing: str, run: Path | None) -> list[str]:
    """The command line, after the program's name, that does what is missing.

    Args:
        cell: a row and a seed.
        missing: fit, resume, test, or the section of a test on another data set.
        run: the run to go on with or to test.
    """
    if missing == "fit":
        place = [f"--runs_dir={cell.runs_dir}", f"--experiment={cell.experiment}"]
        return [*settings_words(cell), *place]
    free = (*WHERE, BATCH_SIZE) if missing == "resume" else WHERE
    settings = {key: v for key, v in cell.row.overrides.items() if belongs(key, free)}
    if missing == "resume":
        return ["fit", "--resume", str(run), *as_options(settings)]
    settings |= _evaluation(cell, run)
    if missing.startswith(TRANSFER):
        name = missing.removeprefix(TRANSFER)
        settings |= {**cell.transfers[name].settings, f"{EVALUATION}.transfer": name}
    return ["test", "--run", str(run), *as_options(settings)]


def next_run(cell: Cell) -> Path:
    """The folder that the next run of a cell will have."""
    return cell.folder / str(next_number(cell.folder))


def _evaluation(cell: Cell, run: Path | None) -> dict[str, Any]:
    """What a test has to be told: what the run's own settings do not say, or say otherwise."""
    stored = cell.settings  # a run to come will have them
    if run is not None and (run / CONFIG).is_file():
        stored = flat_config(run)
    return {
        key: value
        for key, value in {**cell.settings, **cell.row.overrides}.items()
        if belongs(key, (EVALUATION,))
        and (key in cell.row.overrides or key not in stored or stored[key] != value)
    }


def as_options(settings: Mapping[str, Any]) -> list[str]:
    """Settings, by their full names, as the command line takes them."""
    return [f"--{key}={as_word(value)}" for key, value in settings.items()]


def as_word(value: Any) -> str:
    """A value as the command line takes it."""
    return value if isinstance(value, str) else json.dumps(value)
