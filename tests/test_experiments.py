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


@pytest.mark.usefixtures("plain_figures")
@pytest.mark.parametrize("name", CONFIGS)
def test_one_batch(name, root, tmp_path):
    own = ["--data.source.path", str(root / "mine")] if name.startswith("pictures/") else []
    if name.endswith("supervised.yaml"):
        own = ["--model.num_classes", "6"]  # the CIFAR-10 of the test has but six
    options = {
        "data.root": root,
        "data.batch_size": 8,
        "runs_dir": tmp_path,
        "trainer.max_epochs": 1,
        "trainer.limit_train_batches": 1,
        "trainer.precision": "32-true",
        "trainer.accelerator": "cpu",
        "neighbours.num_queries": 2,
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


def _settings(name):
    return yaml.safe_load((EXPERIMENTS / name).read_text())


def test_the_articles_row_has_its_objective_and_the_rest_of_the_papers_rows():
    made, paper = (_settings(f"paper/cifar10/{name}.yaml") for name in ("blog", "dim_lg"))
    article = _settings("cifar10/blog.yaml")["model"]
    model = made.pop("model")
    assert model["encoder"].pop("class_path") == "PaperEncoder"
    assert model["encoder"]["init_args"].pop("gaussian")
    assert model["encoder"]["init_args"] == paper["model"]["encoder"]["init_args"]
    assert model["optimizer"] == paper["model"]["optimizer"]
    weights = ("global_weight", "local_weight", "prior_weight", "global_aspect")
    assert {name: model[name] for name in weights} == {name: article[name] for name in weights}
    critic = {"class_path": article["local_critic"], "init_args": {"widths": [256, 256, 256]}}
    assert model["local_critic"] == model["global_critic"] == critic
    assert model["estimator"].endswith(".jensen_shannon")
    assert (model["num_negatives"], model["prior"]) == (1, "GaussianKL")
    assert {key: paper[key] for key in made if key != "experiment"} | {
        "experiment": "paper_cifar10_blog"
    } == made


def test_the_plain_row_of_the_structure_table_differs_in_its_encoder_alone():
    made, plain = (
        _settings(f"paper/cifar10/{name}.yaml")
        for name in ("dim_l_infonce_residual", "dim_l_infonce")
    )
    assert made["model"].pop("encoder") == {
        "class_path": "ResidualEncoder",
        "init_args": {
            **{"widths": [64, 128, 256], "blocks": [2, 2, 2], "bottleneck": True},
            **{"stem_stride": 2, "local_stage": 2, "pool": False},
            **{"hidden_dim": 1024, "embedding_dim": 64},
        },
    }
    plain["model"].pop("encoder")
    assert made == {**plain, "experiment": "paper_cifar10_dim_l_infonce_residual"}


def _rows(name):
    return {row.name: row for row in read_table(EXPERIMENTS / "paper" / name).rows}


def test_what_the_structure_tables_rows_add_is_counted_from_a_row_of_it():
    rows = _rows("cifar10.yaml")
    plain = rows["DIM(L) infoNCE, residual encoder"]
    assert plain.paper == {"conv": 77.46, "fc": 73.33, "Y": 70.65}
    assert plain.overrides == rows["DIM(L) infoNCE, coordinates"].overrides
    assert rows["the article's, with the paper's encoder"].paper == {}


def test_the_measures_are_of_all_layers_and_of_all_trainings_of_the_cifar10_table():
    rows, trained = _rows("measures.yaml"), _rows("cifar10.yaml")
    conv = {name: row.paper.get("SVM conv") for name, row in rows.items()}
    assert conv == {
        **{"VAE": 53.83, "AAE": 55.22, "BiGAN": 56.40, "NAT": 48.62},
        **{"DIM(G)": 46.80, "DIM(L) JSD": 63.25, "DIM(L+G)": None},
        **{"the article's, with the paper's encoder": None, "random encoder": None},
    }
    assert {row.overrides["evaluation.linear_dim"] for row in rows.values()} == {256 * 4 * 4}
    assert rows["DIM(L) JSD"].seeds == trained["DIM(L) JSD"].seeds == (0, 1, 2)


def test_each_encoder_of_ones_own_pictures_has_its_floor():
    rows = _rows("pictures.yaml")
    measured = {row.folder for row in rows.values() if row.overrides.get("evaluation.floors")}
    assert measured == {row.of for row in rows.values() if row.floor == "random"}
    assert len(measured) == 2


def test_three_hours_of_tiny_imagenet_are_rows_of_the_whole_table_but_for_time_and_width():
    short, whole = _rows("tiny_imagenet_three_hours.yaml"), _rows("tiny_imagenet.yaml")
    assert len(short) == 4
    for name, row in short.items():
        assert (row.config, row.paper) == (whole[name].config, whole[name].paper)
        own = {
            key: value
            for key, value in row.overrides.items()
            if whole[name].overrides.get(key) != value
        }
        width = {"model.local_critic.init_args.width": 512} if "DIM" in name else {}
        assert own == {"trainer.max_epochs": 200, "trainer.max_time": "00:03:00:00", **width}
