"""Every experiment's config builds, trains a batch, and says what it is and how it is run.

Of the tables among them, the settings of each row are looked at.
"""

import re
from pathlib import Path

import pytest
import yaml
from small_data import cifar10_folders, picture, tiny_imagenet

from dim_lightning.cli import main
from dim_lightning.table.definition import read_table

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
CONFIGS = sorted(
    str(path.relative_to(EXPERIMENTS))
    for path in EXPERIMENTS.rglob("*.yaml")
    if path.name != "wandb.yaml"
    and path.parent.name not in ("sweeps", "paper")
    and EXPERIMENTS / "records" not in path.parents  # what runs had, not what to run
)
TABLES = sorted(path.name for path in (EXPERIMENTS / "paper").glob("*.yaml"))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    cifar10_folders(root)
    tiny_imagenet(root)
    for i in range(90):
        picture(root / "mine" / f"{i}.jpg", 70, i)
    return root


@pytest.mark.parametrize("name", CONFIGS)
def test_one_batch(name, root, tmp_path):
    own = ["--data.source.path", str(root / "mine")] if name.startswith("pictures/") else []
    if name.endswith("supervised.yaml"):
        own = ["--model.num_classes", "6"]  # the CIFAR-10 of the test has but six
    if name.endswith(("two_views.yaml", "fast_10.yaml", "fast_60.yaml")):
        own = ["--data.batch_size", "8"]  # it has few pictures, too
    options = {
        "data.root": root,
        "runs_dir": tmp_path,
        "trainer.max_epochs": 1,
        "trainer.limit_train_batches": 1,
        "trainer.precision": "32-true",
        "trainer.accelerator": "cpu",
    }
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    assert main(["fit", "--config", str(EXPERIMENTS / name), *words, *own]) == 0
    experiment = yaml.safe_load((EXPERIMENTS / name).read_text())["experiment"]
    run = tmp_path / experiment / "1"
    metrics = (run / "metrics.csv").read_text()
    assert "train/loss" in metrics
    assert (run / "checkpoints" / "last.ckpt").is_file()


@pytest.mark.parametrize("name", CONFIGS)
def test_opens_with_its_command(name):
    comment = re.match(r"(#.*\n)+", (EXPERIMENTS / name).read_text())
    assert comment
    assert f"fit --config experiments/{name}" in comment[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLES)
def test_rows_of_tables_can_be_built(name, tmp_path, capsys):
    words = ["--dry", "--runs_dir", str(tmp_path)]
    assert main(["table", str(EXPERIMENTS / "paper" / name), *words]) == 0
    rows = read_table(EXPERIMENTS / "paper" / name).rows
    commands = [line for line in capsys.readouterr().out.splitlines() if line.startswith("python")]
    assert len(commands) == 2 * sum(len(row.seeds) for row in rows)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_opens_with_its_command(name):
    comment = re.match(r"(#.*\n)+", (EXPERIMENTS / "paper" / name).read_text())
    assert comment
    assert f"table experiments/paper/{name}" in comment[0]


def test_the_cifar10_table_has_a_row_for_each_config():
    rows = read_table(EXPERIMENTS / "paper" / "cifar10.yaml").rows
    configs = set((EXPERIMENTS / "paper" / "cifar10").glob("*.yaml"))
    assert {row.config for row in rows if row.config is not None} == configs
