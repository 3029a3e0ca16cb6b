"""A run that a table asks for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dim_lightning.table.definition import Row
from dim_lightning.table.transfers import Transfer


class Cell(NamedTuple):
    """A row with one of its seeds.

    Attributes:
        row: the row.
        seed: of the run.
        runs_dir: the folder of the table's runs.
        settings: all that a run of it has, by their full names.
        transfers: name of another data set that it is tested on as well -> that test.
    """

    row: Row
    seed: int
    runs_dir: Path
    settings: Mapping[str, Any]
    transfers: Mapping[str, Transfer] = {}

    @property
    def experiment(self) -> str:
        """The name under which its runs lie below `runs_dir`."""
        return f"{self.row.folder}/seed{self.seed}"

    @property
    def folder(self) -> Path:
        """Where its runs lie."""
        return self.runs_dir / self.experiment

    def __str__(self) -> str:
        return f"{self.row.name}, seed {self.seed}"
