"""A run of seconds, made once."""

from pathlib import Path

import pytest
import yaml

from dim_lightning.cli import main

TINY = {
    "experiment": "tiny",
    "data": {"image_size": 8, "batch_size": 32},
    "model": {
        "encoder": {
            "class_path": "dim_lightning.encoders.BlogEncoder",
            "init_args": {"widths": [4], "embedding_dim": 8},
        }
    },
    "neighbours": {"num_queries": 2},
    "evaluation": {"mlp_epochs": 0, "floors": False},
    "trainer": {
        "max_epochs": 1,
        "limit_train_batches": 3,
        "log_every_n_steps": 2,
        "accelerator": "cpu",
    },
}


class Workshop:
    """Runs commands on the tiny configuration in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = folder / "runs"
        self.config = self.write("tiny.yaml", TINY)
        self._places = ["--data.root", str(folder / "data"), "--runs_dir", str(self.runs)]

    def write(self, name, content):
        path = self.folder / name
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return str(path)

    def fit(self, *words):
        return main(["fit", "--config", self.config, *self._places, *words])

    def made(self):
        return sorted(str(path.relative_to(self.runs)) for path in self.runs.glob("*/*"))


@pytest.fixture(autouse=True)
def _plain(plain_figures):
    pass


@pytest.fixture(scope="session")
def workshop(tmp_path_factory):
    return Workshop(tmp_path_factory.mktemp("cli"))


@pytest.fixture(scope="session")
def finished(workshop):
    """The folder of a finished run of one epoch."""
    assert workshop.fit("--experiment", "finished") == 0
    return workshop.runs / "finished" / "1"
