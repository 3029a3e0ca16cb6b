"""A sweep of trials that take no time."""

import csv
from pathlib import Path

import pytest
import yaml

from dim_lightning.cli import main

STAND_IN = str(Path(__file__).with_name("stand_in.py"))
SWEEP = {
    "name": "small",
    "method": "grid",
    "metric": {"name": "best/x", "goal": "maximize"},
    "command": ["${env}", "${interpreter}", STAND_IN, "--config", "${args_json_file}"],
    "parameters": {"quality": {"values": [0.1, 0.3, 0.2]}},
}


class Bench:
    """Runs sweeps in a folder of their own."""

    def __init__(self, folder):
        self.file = folder / "sweep.yaml"
        self.output = folder / "out"

    def write(self, **changes):
        content = {key: value for key, value in {**SWEEP, **changes}.items() if value is not None}
        self.file.write_text(yaml.safe_dump(content))

    def sweep(self, *words):
        return main(["sweep", str(self.file), "--output", str(self.output), *words])

    def rows(self):
        with (self.output / "sweep.csv").open() as file:
            return list(csv.DictReader(file))


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    made.write()
    return made
