"""The numbers of a table and the files that show them."""

import csv
import re

import pytest
from table_files import CONTENT, SETTINGS, write_run, write_table

from dim_lightning.errors import InputError
from dim_lightning.run.result import update_result
from dim_lightning.run.settings import flat_config
from dim_lightning.table.cell import Cell
from dim_lightning.table.definition import read_table
from dim_lightning.table.figures import (
    check_columns,
    check_labels,
    check_layers,
    lines_of,
    protocols,
)
from dim_lightning.table.floors import check_floors
from dim_lightning.table.mixed import mixed_code, mixed_pictures, other_tests
from dim_lightning.table.notes import About
from dim_lightning.table.report import COLUMNS, write_report
from dim_lightning.table.runs import state_of

KNN = "knn/cosine/k20_t0.07"
FIGURES = {
    **{"probe/mlp200/y/top1": 0.64, f"{KNN}/y/top1": 0.5},
    **{f"random/{KNN}/y/top1": 0.3, f"{KNN}/pixels/top1": 0.35},
}


class Scene:
    """A table file with runs."""

    def __init__(self, folder, **changes):
        self.folder = folder
        self.table = read_table(write_table(folder, **changes))
        runs = folder / "runs"
        self.cells = [
            Cell(row, seed, runs, {**SETTINGS, "seed_everything": seed})
            for row in self.table.rows
            for seed in row.seeds
        ]

    def found(self):
        return [(cell, state_of(cell, flat_config)) for cell in self.cells]

    def lines(self, failures=()):
        return lines_of(self.table, self.found(), dict(failures))

    def write(self, failures=()):
        found = self.found()
        about = About("python -m x", "now", protocols(found), ["A run less."])
        return write_report(self.folder / "out", self.table, self.lines(failures), about)

    def rows(self):
        with self.write()[1].open() as file:
            return list(csv.DictReader(file))


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path)


def test_before_there_is_anything(scene):
    assert [line.state for line in scene.lines()] == ["not run"] * 4
    assert all(figure.mean is None for line in scene.lines() for figure in line.figures)
    check_columns(scene.table, scene.found())


def test_means_deviations_and_differences(scene):
    first, second, _ = scene.cells
    write_run(first, figures=FIGURES)
    line = scene.lines()[0]
    assert line.state == "1 of 2 seeds"
    assert line.figures[0].mean == pytest.approx(64.0)
    assert line.figures[0].deviation is None
    write_run(second, epochs=5, figures={**FIGURES, "probe/mlp200/y/top1": 0.66})
    line = scene.lines()[0]
    assert (line.state, line.epochs, line.seconds) == ("done", (4, 5), 270.0)
    assert line.figures[0].mean == pytest.approx(65.0)
    assert line.figures[0].deviation == pytest.approx(2**0.5)
    assert line.figures[0].difference == pytest.approx(65.0 - 66.96)
    assert line.figures[1].difference is None


def test_floors_are_those_of_the_first_test(scene):
    write_run(scene.cells[0], figures=FIGURES)
    *_, random, pixels = scene.lines()
    assert [figure.values for figure in random.figures] == [(), (30.0,)]
    assert [figure.values for figure in pixels.figures] == [(), (35.0,)]
    assert random.state == "measured by test of DIM(L) JSD, seed 0"


def test_the_floor_of_a_spread_is_that_of_the_pixels(tmp_path):
    key = "probe/few_labels/0.1/y/top1_std"
    scene = Scene(tmp_path, columns={key: "Y"})
    floors = {f"random/{key}": 0.02, key.replace("/y/", "/pixels/"): 0.03}
    write_run(scene.cells[0], figures={**FIGURES, key: 0.01, **floors})
    *_, random, pixels = scene.lines()
    assert [line.figures[0].mean for line in (random, pixels)] == pytest.approx([2, 3])


def test_a_classifiers_own_accuracy_has_no_floor(tmp_path):
    scene = Scene(tmp_path, columns={"test/top1": "Y", f"{KNN}/y/top1": "kNN Y"})
    write_run(scene.cells[0], figures={**FIGURES, "test/top1": 0.7})
    *_, random, pixels = scene.lines()
    assert [figure.values for figure in random.figures] == [(), (30.0,)]
    assert [figure.values for figure in pixels.figures] == [(), (35.0,)]


OTHER = {**FIGURES, f"random/{KNN}/y/top1": 0.4, f"{KNN}/pixels/top1": 0.45}
FLOORS = [
    {"name": "of JSD", "floor": "random", "of": "DIM(L) JSD"},
    {"name": "of VAE", "floor": "random", "of": "VAE"},
    {"name": "pixels of VAE", "floor": "pixels", "of": "VAE"},
]


def test_floors_are_those_of_the_row_that_they_name(tmp_path):
    scene = Scene(tmp_path, rows=[*CONTENT["rows"][:2], *FLOORS])
    first, _, vae = scene.cells
    write_run(first, figures=FIGURES, environment={"data": "CIFAR-10"})
    assert [line.state for line in scene.lines()[3:]] == ["not run", "not run"]
    write_run(vae, figures=OTHER, environment={"data": "Tiny ImageNet"})
    shown = [line.figures[1].values for line in scene.lines()[2:]]
    assert shown == [(30.0,), (40.0,), (45.0,)]
    data = {row["row"]: row["data"] for row in scene.rows()}
    assert [data[row["name"]] for row in FLOORS] == ["CIFAR-10", "Tiny ImageNet", "Tiny ImageNet"]


def test_floors_are_of_tests_that_are_to_measure_them_alone(scene):
    off = {"evaluation.floors": False}
    scene.cells = [
        cell._replace(settings={**cell.settings, **off} if cell.row.name == "VAE" else SETTINGS)
        for cell in scene.cells
    ]
    write_run(scene.cells[2], figures=OTHER)  # measured by hand
    assert [line.state for line in scene.lines()[2:]] == ["not run"] * 2
    write_run(scene.cells[0], figures=FIGURES)
    assert scene.lines()[2].figures[1].values == (30.0,)
    scene.cells = [c._replace(settings={**c.settings, **off}) for c in scene.cells]
    assert scene.lines()[2].state == "not measured: evaluation.floors is false"


@pytest.mark.parametrize(
    ("setting", "value", "refused"),
    [
        ("model.encoder.init_args.widths", [8], {"random"}),
        ("data.source.class_path", "mine.Other", {"random", "pixels"}),
        ("data.image_size", 64, {"random", "pixels"}),
        ("evaluation.mlp_epochs", 5, {"random", "pixels"}),
        ("data.source.init_args.keep_mb", 9, set()),
        ("model.lr", 1.0, set()),
    ],
)
def test_rows_whose_floors_differ_have_to_be_named(tmp_path, setting, value, refused):
    rows = CONTENT["rows"]
    for row in rows[2:]:
        scene = Scene(tmp_path, rows=[*rows[:2], row])
        *dim, vae = scene.cells
        cells = [*dim, vae._replace(settings={**vae.settings, setting: value})]
        if row["floor"] in refused:
            was = vae.settings.get(setting)
            with pytest.raises(InputError) as error:
                check_floors(scene.table, cells)
            said = f"row {row['name']}: DIM(L) JSD and VAE have other floors: {setting} is {was} "
            assert f"{said}in the first and {value} in the second; " in str(error.value)
            assert "; add `of: DIM(L) JSD`" in str(error.value)
        else:
            check_floors(scene.table, cells)
        off = {**cells[-1].settings, "evaluation.floors": False}
        check_floors(scene.table, [*dim, vae._replace(settings=off)])
        check_floors(Scene(tmp_path, rows=[*rows[:2], row | {"of": "VAE"}]).table, cells)


def test_states_of_rows(scene):
    first, _, vae = scene.cells
    write_run(first, status="interrupted", epochs=1)
    assert scene.lines()[0].state == "0 of 2 seeds; interrupted after epoch 1 of 4"
    assert scene.lines({str(vae): "loading\nerror: no"})[1].state == "failed: error: no"


def test_markdown(scene):
    write_run(scene.cells[0], figures=FIGURES)
    text = scene.write()[0].read_text()
    assert text.startswith("# Small\n\n|  | Y | paper | difference | kNN Y | seeds | epochs |")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({row.count("|") for row in rows}) == 1
    assert "| DIM(L) JSD | 64.00 | 66.96 | -2.96 | 50.00 | 1 of 2 | 4 | 4 min 00 s |" in text
    assert "| VAE |  | 54.61 [m] |  |  | 0 of 1 |  |  | not run |" in text
    said = " ".join(text.split())
    assert "A run less. Written now, by python -m x" in said
    assert "[m]: the paper's number from memory, not checked" in said
    assert "Where no row says otherwise: trainer.max_epochs 4." in said
    assert "Commit of the code: 0123456789. Protocol: Frozen features." in said


def test_csv_is_long_and_has_always_the_same_columns(scene):
    write_run(scene.cells[0], figures=FIGURES)
    write_run(scene.cells[1], figures={**FIGURES, "probe/mlp200/y/top1": 0.66})
    rows = scene.rows()
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 4 * 2
    first = rows[0]
    assert (first["row"], first["figure"]) == ("DIM(L) JSD", "probe/mlp200/y/top1")
    assert (first["mean"], first["n"], first["values"]) == ("65", "2", "64;66")
    assert (first["paper"], first["difference"]) == ("66.96", "-1.96")
    assert [row["paper_from_memory"] for row in rows[:3]] == ["false", "false", "true"]


def test_only_the_papers_numbers_from_memory_are_marked(tmp_path):
    row = {**CONTENT["rows"][0], "paper": {"Y": 66.96, "kNN Y": 60}}
    texts = {}
    for given in (["kNN Y"], []):
        scene = Scene(tmp_path, rows=[{**row, "from_memory": given}])
        texts[len(given)] = scene.write()[0].read_text()
        marks = [row["paper_from_memory"] for row in scene.rows()]
        assert marks == ["false", "true" if given else "false"]
    assert "| DIM(L) JSD |  | 66.96 |  |  | 60.00 [m] |  |" in texts[1]
    assert "[m]: the paper's number from memory" in " ".join(texts[1].split())
    assert "[m]" not in texts[0]


def test_the_page_needs_nothing_else(tmp_path):
    rows = [{"name": "<b>bold</b>", "config": "dim.yaml", "paper": {"Y": 60}}]
    scene = Scene(tmp_path, rows=rows)
    run = write_run(scene.cells[0], figures=FIGURES)
    assert "summary.html" not in scene.write()[2].read_text()
    (run / "summary.html").touch()
    page = scene.write()[2].read_text()
    assert "<script" not in page
    assert not re.findall(r"https?://", page)
    assert "&lt;b&gt;bold" in page
    assert "<b>bold" not in page
    assert 'href="../runs/b_bold_b/seed0/1/summary.html"' in page
    assert "+4.00" in page
    assert "1 of\n  1 runs" in page


def test_figures_that_are_no_accuracies_keep_their_size(tmp_path):
    scene = Scene(tmp_path, columns={"reconstruction/ms_ssim": "Y"})
    write_run(scene.cells[0], figures={"reconstruction": {"ms_ssim": 0.72}})
    assert scene.lines()[0].figures[0].mean == pytest.approx(0.72)
    assert "| DIM(L) JSD | 0.72 |" in scene.write()[0].read_text()


def test_a_bar_in_a_heading_begins_no_cell(tmp_path):
    scene = Scene(tmp_path, columns={"probe/mlp200/y/top1": "linear | conv", f"{KNN}/y/top1": "Y"})
    text = scene.write()[0].read_text()
    assert "|  | linear \\| conv | Y | paper |" in text


@pytest.mark.parametrize("name", ["top1_std", "top5", "mean_per_class"])
def test_deviations_and_other_accuracies_are_in_percent_as_well(tmp_path, name):
    scene = Scene(tmp_path, columns={f"probe/mlp200/y/{name}": "Y"})
    write_run(scene.cells[0], figures={f"probe/mlp200/y/{name}": 0.0012})
    assert "| DIM(L) JSD | 0.12 |" in scene.write()[0].read_text()


def test_a_column_may_be_about_a_term_of_a_method_whose_rows_are_to_come(tmp_path):
    scene = Scene(tmp_path, columns={"test/top1": "Y"})
    for done, cell in enumerate(scene.cells):
        if done:
            check_columns(scene.table, scene.found())
        write_run(cell, figures=FIGURES)
    with pytest.raises(InputError, match="no test has this figure"):
        check_columns(scene.table, scene.found())


def test_what_the_protocols_of_the_runs_share_is_said_once_and_the_rest_of_its_rows(scene):
    first, second, third = scene.cells
    write_run(first, figures={**FIGURES, "protocol": "Frozen.\nMLP: long."})
    write_run(second, figures={**FIGURES, "protocol": "Frozen.\nNDM: 9 epochs.\nMLP: long."})
    assert "Protocol: Frozen. MLP: long.\n" in scene.write()[0].read_text()
    write_run(third, figures={**FIGURES, "protocol": "Frozen.\nNDM: 9 epochs."})
    said = (
        "Protocol: Frozen.\n\nProtocol of single rows:\n\n"
        "- MLP: long: DIM(L) JSD\n- NDM: 9 epochs: DIM(L) JSD; VAE\n\n"
    )
    assert said in scene.write()[0].read_text()


def test_seeds_that_were_trained_on_other_pictures_are_named(tmp_path):
    row = {"name": "mine", "config": "dim.yaml", "seeds": [0, 1, 2, 3]}
    scene = Scene(tmp_path, rows=[row])
    kinds = [{"train": 1000, "test": 20, "sha256": "a"}, {"train": 2000, "sha256": "b"}]
    for cell, pictures in zip(scene.cells[:3], [*kinds, kinds[0]], strict=True):
        assert mixed_pictures(scene.found()[:1]) == []
        write_run(cell, figures=FIGURES, environment={"pictures": pictures})
    write_run(scene.cells[3], figures=FIGURES)  # an early one
    said = "mine was not trained on the same pictures with all seeds, by their names or number: "
    assert mixed_pictures(scene.found()) == [f"{said}1,020 with 0, 2; 2,000 with 1"]


def test_seeds_that_were_trained_by_other_code_of_ones_own_are_named(tmp_path):
    row = {"name": "mine", "config": "dim.yaml", "seeds": [0, 1, 2, 3]}
    scene = Scene(tmp_path, rows=[row])
    old, new = ({"own_code": {"nets.Critic": code, "nets.Encoder": "e"}} for code in "ab")
    went_on = {**old, "resumed": [new]}
    for cell, environment in zip(scene.cells, [old, old, new, went_on], strict=True):
        write_run(cell, figures=FIGURES, environment=environment)
    said = "mine was not all trained by the same code, as the file of nets.Critic changed: seeds "
    assert mixed_code(scene.found()[:2]) == []
    assert mixed_code(scene.found()[:3]) == [f"{said}0, 1; 2"]
    assert mixed_code(scene.found()) == [f"{said}0, 1; 2; 3 (as it went on)"]


def test_seeds_that_were_tested_by_other_code_of_ones_own_are_named(tmp_path):
    row = {"name": "mine", "config": "dim.yaml", "seeds": [0, 1, 2]}
    scene = Scene(tmp_path, rows=[row])
    for cell, changed in zip(scene.cells, ["nets.Net", None, "nets.Net"], strict=True):
        write_run(cell, figures={**FIGURES, "other_code": changed})
    said = "mine was tested by code changed after its training, the file of nets.Net: seeds 0, 2"
    assert other_tests(scene.found()) == [said]
    change = "trainer.precision is bf16-mixed now, 32-true then"
    update_result(scene.found()[1][1].run, "test", {"other_settings": change})
    other = f"mine was tested with other settings than in its training: {change}: seeds 1"
    assert other_tests(scene.found()) == [said, other]


def test_figures_of_other_data_sets_and_their_floors(tmp_path):
    column = f"transfer/cifar3/{KNN}/y/top1"
    scene = Scene(tmp_path, columns={f"{KNN}/y/top1": "Y", column: "Y, CIFAR-3"})
    run = write_run(scene.cells[0], figures=FIGURES)
    check_columns(scene.table, scene.found())  # not tested on it yet
    assert scene.lines()[0].figures[1].mean is None
    others = {name: value / 10 for name, value in FIGURES.items()} | {"epochs_trained": 4}
    update_result(run, "transfer/cifar3", others)
    check_columns(scene.table, scene.found())
    first, *_, random, pixels = scene.lines()
    assert [line.figures[1].mean for line in (first, random, pixels)] == pytest.approx([5, 3, 3.5])
    update_result(run, "transfer/cifar3", {"other_settings": "data.image_size is 8 now, 9 then"})
    told = other_tests(scene.found(), scene.table.columns)
    assert told == [
        "DIM(L) JSD was tested on cifar3 with other settings than in its training: "
        "data.image_size is 8 now, 9 then: seeds 0"
    ]
    assert other_tests(scene.found()) == []
    other = write_run(scene.cells[1], figures={f"{KNN}/y/top1": 0.5})
    update_result(other, "transfer/cifar3", {"epochs_trained": 4, "pictures": "b"})
    told = other_tests(scene.found(), scene.table.columns)
    said = "the pictures of cifar3 are not the same in all tests on it: those of DIM(L) JSD, seed 0"
    assert told[1:] == [f"{said} and DIM(L) JSD, seed 1 differ"]
    update_result(run, "transfer/cifar3", {"epochs_trained": 3})  # before it trained on
    assert scene.lines()[0].figures[1].mean is None
    update_result(run, "transfer/cifar3", {"epochs_trained": 4})
    scene = Scene(tmp_path, columns={column.replace("knn", "kn"): "Y"})
    with pytest.raises(InputError, match=f"did you mean {column}"):
        check_columns(scene.table, scene.found())


def test_a_floor_is_that_of_the_test_that_has_most_of_it(tmp_path):
    column = f"transfer/cifar3/{KNN}/y/top1"
    scene = Scene(tmp_path, columns={f"{KNN}/y/top1": "Y", column: "Y, CIFAR-3"})
    for cell in scene.cells[:2]:
        run = write_run(cell, figures=FIGURES)
    update_result(run, "transfer/cifar3", FIGURES)
    random = scene.lines()[-2]
    assert [figure.values for figure in random.figures] == [(30.0,), (30.0,)]
    assert random.state == "measured by test of DIM(L) JSD, seed 1"


def test_columns_of_another_data_set_need_no_labels_of_ones_own(tmp_path):
    scene = Scene(tmp_path, columns={f"transfer/cifar3/{KNN}/y/top1": "Y"})
    check_labels(scene.table, [False])
    with pytest.raises(InputError, match="no row have labels"):
        check_labels(Scene(tmp_path).table, [False])


def test_columns_that_no_test_has(tmp_path):
    scene = Scene(tmp_path, columns={"probe/mlp20/y/top1": "Y"})
    check_columns(scene.table, scene.found())
    write_run(scene.cells[0], figures=FIGURES)
    with pytest.raises(InputError) as error:
        check_columns(scene.table, scene.found())
    said = "columns.probe/mlp20/y/top1: no test has this figure; did you mean probe/mlp200/y/top1?"
    assert said in str(error.value)


@pytest.mark.parametrize(
    "figure", ["probe/mlp200/{}/top1", "probe/svm/{}/top1_std", "knn/a/{}/top5", "mine/{}/nats"]
)
def test_columns_may_be_about_a_layer_of_rows_to_come(tmp_path, figure):
    scene = Scene(tmp_path, columns={figure.format("y"): "Y"})
    for cell in scene.cells:
        check_columns(scene.table, scene.found())
        write_run(cell, figures={figure.format("embedding"): 0.5})
    with pytest.raises(InputError, match="no test has this figure"):
        check_columns(scene.table, scene.found())


def test_columns_of_layers_that_no_encoder_has(scene):
    check_layers(scene.table, {"a": ["conv"], "b": ["conv", "y"]})
    with pytest.raises(InputError, match="no row's encoder has the layer 'y'; expected one of c"):
        check_layers(scene.table, {"a": ["conv"]})
    spread = scene.table._replace(columns={"probe/mlp200/z/top1_std": "spread"})
    with pytest.raises(InputError, match="no row's encoder has the layer 'z'; expected one of c"):
        check_layers(spread, {"a": ["conv", "y"]})


def test_what_rows_have_of_their_own_stands_below(tmp_path):
    common = {"trainer.max_epochs": 4, "evaluation.floors": False}
    narrow = {"model.width": 8, "evaluation.floors": False}
    rows = [
        {"name": "a, narrow", "config": "dim.yaml", "overrides": narrow},
        {"name": "b", "config": "vae.yaml", "overrides": narrow},
        {"name": "c", "config": "vae.yaml", "overrides": {"trainer.precision": "32-true"}},
        {"name": "d", "config": "vae.yaml"},
    ]
    scene = Scene(tmp_path, overrides=common, rows=rows, note="Of another network.")
    markdown, _, page = scene.write()
    assert "\n\nOf another network.\n\n" in markdown.read_text()
    assert "Of another network." in page.read_text()
    own = ["model.width 8: a, narrow; b", "trainer.precision 32-true: c"]
    listed = "\n".join(f"- {item}" for item in own)
    assert f"\n\nSettings of single rows:\n\n{listed}\n\n" in markdown.read_text()
    assert "".join(f"<li>{item}</li>" for item in own) in page.read_text()
    settings = {row["row"]: row["settings"] for row in scene.rows()}
    assert settings["d"] == "trainer.max_epochs 4; evaluation.floors false"
    assert settings["c"] == f"{settings['d']}; trainer.precision 32-true"
    assert "single rows" not in Scene(tmp_path).write()[0].read_text()


def test_what_the_configs_of_rows_have_otherwise_stands_below(tmp_path):
    """Of what all methods have: encoder, pictures, optimiser and length."""
    rows = [{"name": name, "config": "dim.yaml"} for name in "abcd"]
    rows[3]["overrides"] = {"model.optimizer": {"init_args": {"lr": 0.1}}}
    scene = Scene(tmp_path, rows=rows)
    optimizer = "model.optimizer.init_args.lr"
    own = {
        "a": {"data.num_views": 1, optimizer: 0.1, "model.beta": 1.0, "seed_everything": 3},
        "b": {"data.num_views": 2, optimizer: 0.1, "model.beta": 4.0},
        "c": {"data.num_views": 1, optimizer: 0.1, "model.encoder.init_args.depth": 4},
        "d": {"data.num_views": 1, optimizer: 0.2},  # which its overrides have
    }
    scene.cells = [c._replace(settings={**c.settings, **own[c.row.name]}) for c in scene.cells]
    text = scene.write()[0].read_text()
    listed = "- data.num_views 2 in place of 1: b"
    assert f"\n\nThe configs of rows also have:\n\n{listed}\n\n" in text
    assert "The configs" not in Scene(tmp_path).write()[0].read_text()


def test_on_which_images_and_machines_the_rows_were_trained(scene):
    source = {"data.source.class_path": "dim_lightning.data.CIFAR10"}
    fast = [*[{}] * 2, {"trainer.precision": "bf16-mixed"}]
    scene.cells = [
        cell._replace(settings={**cell.settings, **source, **own})
        for cell, own in zip(scene.cells, fast, strict=True)
    ]
    first, second, vae = scene.cells
    sizes = {"num_train": 45000, "num_val": 5000, "num_test": 10000}
    here = {"cpu": "EPYC", "threads": 2}
    run = write_run(first, figures={**FIGURES, **sizes}, environment=here)
    text = scene.write()[0].read_text()
    assert "Data: CIFAR10.\n" in text
    assert "Images: 45,000 to train on, 5,000 to validate, 10,000 to test.\n" in text
    assert "Trained on: EPYC, 2 threads, 32-true.\n" in text
    settings = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(f"{settings}matmul_precision: high\n")
    text = scene.write()[0].read_text()
    assert "Trained on: EPYC, 2 threads, 32-true with products in high.\n" in text
    (run / "config.yaml").write_text(settings)

    gpu = {"gpus": ["A100"], "cpu": "Xeon", "threads": 1}
    moved = {**here, "resumed": [{"started": "later"}, {"gpus": ["A100"], "commit": "f" * 40}]}
    unsolved = {"not_converged": ["probe/svm/y/top1"]}
    write_run(second, figures={**FIGURES, **unsolved}, environment=moved)
    named = {**gpu, "data": "CIFAR-10 (JPEG)"}
    write_run(vae, figures=FIGURES, environment=named)
    text = scene.write()[0].read_text()
    of_cifar10 = "- CIFAR10: DIM(L) JSD; random encoder; raw pixels\n"
    assert f"Data:\n\n{of_cifar10}- CIFAR-10 (JPEG): VAE\n\n" in text
    assert (
        "Trained on:\n\n- EPYC, 2 threads, 32-true: DIM(L) JSD\n"
        "- EPYC, 2 threads, then A100, EPYC, 2 threads, 32-true: DIM(L) JSD\n"
        "- A100, Xeon, 1 thread, bf16-mixed: VAE\n"
    ) in text
    assert "Ended before they converged:\n\n- linear SVM on y: DIM(L) JSD\n" in text
    row = scene.rows()[0]
    assert row["data"] == "CIFAR10"
    assert row["trained_on"].startswith("EPYC, 2 threads, 32-true; EPYC, 2 threads, then A100")


def test_the_commits_of_each_row_are_named(tmp_path):
    rows = [{**CONTENT["rows"][0], "seeds": [0, 1, 2]}, *CONTENT["rows"][1:]]
    scene = Scene(tmp_path, rows=rows)
    old, new = "a" * 40, "b" * 40
    changed = {"commit": new, "uncommitted_changes": True}
    went_on = {"commit": old, "resumed": [{"started": "later"}, {"commit": new}]}
    runs = [{"commit": old}, changed, {"commit": old}, went_on]
    for cell, environment in zip(scene.cells, runs, strict=True):
        write_run(cell, figures=FIGURES, environment=environment)
    text = scene.write()[0].read_text()
    assert (
        "Commit of the code:\n\n- aaaaaaaaaa: DIM(L) JSD\n- bbbbbbbbbb+changes: DIM(L) JSD\n"
        "- aaaaaaaaaa, then bbbbbbbbbb: VAE\n\n"
    ) in text
    assert "<li>aaaaaaaaaa, then bbbbbbbbbb: VAE</li>" in scene.write()[2].read_text()
    told = {row["row"]: row["commits"] for row in scene.rows()}
    assert told == {
        "DIM(L) JSD": "aaaaaaaaaa; bbbbbbbbbb+changes; aaaaaaaaaa",  # one a seed
        "VAE": "aaaaaaaaaa, then bbbbbbbbbb",
        "random encoder": "",  # measured by the test of another row
        "raw pixels": "",
    }
