"""The scripts of experiments/benchmarks run, at the smallest sizes, and say what they measured."""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from small_data import cifar10_folders

from dim_lightning.cli import main
from dim_lightning.encoders import BlogEncoder, StridedEncoder
from dim_lightning.errors import InputError
from dim_lightning.evaluation.offline import Splits
from dim_lightning.run.folder import CONFIG, METRICS, RESULT

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "experiments" / "benchmarks"
DIGITS = ROOT / "experiments" / "digits" / "blog.yaml"
# what Lightning 2.6 calls in jsonargparse 4
parses = pytest.mark.filterwarnings(
    "ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning"
)


@pytest.fixture
def benchmark(monkeypatch):
    """Name -> the names of a script, whose imports and own processes find what they need."""
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return lambda name: runpy.run_path(str(FOLDER / f"{name}.py"))


@pytest.fixture
def run(benchmark, monkeypatch, tmp_path):
    """Runs a script in this process, with other values for some of its names; its JSON."""
    threads = torch.get_num_threads()

    def run_script(name, *words, **values):
        script = benchmark(name)
        for key, value in values.items():
            monkeypatch.setitem(script["main"].__globals__, key, value)
        output = tmp_path / f"{name}.json"
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *words, "--output", str(output)])
        script["main"]()
        return json.loads(output.read_text())

    yield run_script
    torch.set_num_threads(threads)


@pytest.fixture
def in_this_process(plain_figures):
    """Does the commands of a script in this process, which is quicker."""

    def run(command, **_):
        assert command[:3] == [sys.executable, "-m", "dim_lightning"]
        return SimpleNamespace(returncode=main(command[3:]), stderr="")

    return {"subprocess": SimpleNamespace(run=run)}


@pytest.mark.slow
def test_all_pairs(run, benchmark, tmp_path, monkeypatch):
    here = {"in_own_process": benchmark("all_pairs")["measure"]}
    words = ["--batches", "4", "6", "--plain-up-to", "4"]
    found = run("all_pairs", *words, **here)
    assert [row["tiled"] for row in found["rows"]] == [True, False, True] * 2
    assert all(row["seconds"] > 0 for row in found["rows"])
    assert "step" in run("all_pairs", "--batches", "4", "--step", **here)
    figure = tmp_path / "all_pairs.png"
    drawn = ["--draw", str(FOLDER / "all_pairs.json"), "--output", str(figure)]
    monkeypatch.setattr(sys, "argv", ["all_pairs.py", *drawn])
    benchmark("all_pairs")["main"]()
    assert figure.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_augmentation(run, benchmark):
    found = run("augmentation", "--sizes", "8", "--batch", "3", "--batches", "1", "--repeats", "2")
    names = list(benchmark("augmentation")["ways"](8))
    assert [row["way"] for row in found["rows"]] == names * 2
    assert all(row["images_per_second"] > 0 for row in found["rows"])


def test_every_way_of_augmentation_makes_views_of_the_same_kind(benchmark):
    images = torch.randint(256, (5, 3, 12, 12), dtype=torch.uint8)
    for way in benchmark("augmentation")["ways"](12).values():
        views = way(images)
        assert (views.shape, views.dtype) == (images.shape, torch.float32)
        assert ((views >= 0) & (views <= 1)).all()


@pytest.mark.slow
@pytest.mark.parametrize(("words", "count"), [([], 6), (["--probe"], 2), (["--svm"], 6)])
def test_linear_probe(run, words, count):
    sizes = ["--images", "200", "--dim", "8", "--classes", "3"]
    assert len(run("linear_probe", *sizes, *words)["rows"]) == count


@pytest.mark.parametrize(("way", "most"), [("to 1e-7", 5000), ("as it is", 100)])
def test_only_the_probe_as_it_is_has_few_products_a_penalty(benchmark, monkeypatch, way, most):
    script = benchmark("linear_probe")
    limits, fit = [], script["Counting"].fit

    def noting(solver, l2, max_products, *rest):
        limits.append(max_products)
        return fit(solver, l2, max_products, *rest)

    monkeypatch.setattr(script["Counting"], "fit", noting)
    train, val = script["made_up"](60, 4, 2)
    script["measure_probe"](way, "made up", Splits(train, val, val), 2)
    assert len(limits) > 2
    assert set(limits[:-1]) == {most}  # the last one is of the penalty that was chosen


@pytest.mark.slow
def test_neighbours(run):
    words = ["--dims", "16", "--queries", "40", "--bank", "200", "--k", "5", "--repeats", "1"]
    (row,) = run("neighbours", *words)["rows"]
    assert row["equal_rows"] > 0.9


@pytest.mark.slow
def test_start_up(benchmark, tmp_path):
    script = benchmark("start_up")
    data = ["--data.root", str(tmp_path)]
    commands = script["commands"]([DIGITS], data, str(tmp_path))
    assert list(commands) == ["--help", "fit --help", "fit digits/blog.yaml"]
    for name in ("--help", "fit digits/blog.yaml"):  # the third is measured as the first is
        row = {"command": name, "round": 1, **script["measure"](commands[name])}
        assert row["processor"] > 0
        assert script["summary"](name, [row]).startswith(f"| `{name}` | ")


@pytest.mark.slow
def test_stream(run):
    rows = run("stream", "--mb", "1", "--sizes", "16", "--repeats", "1")
    assert [row["way"] for row in rows] == ["mapped", "stream", "stream over HTTP"] * 2
    assert all(row["images_per_second"] > 0 for row in rows)


@pytest.mark.slow
def test_training_step(run, benchmark, in_this_process, tmp_path):
    """Each kind in this process."""
    cifar10_folders(tmp_path, 40)
    kinds = benchmark("training_step")["KINDS"]
    here = {"in_own_process": lambda kind, *rest: kinds[kind](*rest)}
    kinds["bare"].__globals__.update(WARM_UP=1, **in_this_process)
    words = ["--root", str(tmp_path), "--rounds", "1", "--steps", "1", "--precision", "32-true"]
    found = run("training_step", *words, **here)
    assert found["precision"] == "32-true"
    assert all(found[kind]["images_per_second"] > 0 for kind in kinds)


@parses
@pytest.mark.slow
def test_where_time_goes(run, tmp_path, monkeypatch):
    import roofline

    cifar10_folders(tmp_path, 70)
    monkeypatch.setattr(roofline, "PRODUCTS", (16, 32))
    widths = {BlogEncoder: [4, 4, 4], StridedEncoder: [4, 4, 4, 4]}
    monkeypatch.setattr(roofline, "WIDTHS", widths)
    words = ["--root", str(tmp_path), "--precision", "32-true"]
    found = run("where_time_goes", *words, FIRST=1, STEPS=1, WIDTHS=widths)
    assert found["precision"] == "32-true"
    assert found["processor"]
    assert list(found["steps"]) == ["BlogEncoder", "StridedEncoder"]
    for name in ("flame", "where_time_goes", "roofline"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_roof_is_the_largest_rate_of_any_product(benchmark, monkeypatch):
    script = benchmark("roofline")
    products = []

    def times(run, repeats):
        products.append([run.args[1].shape[0], run.args[1].is_contiguous()])
        return [4.0, 2.0, 8.0] if products[-1] == [32, False] else [16.0] * repeats

    monkeypatch.setitem(script["_peak"].__globals__, "_times", times)
    monkeypatch.setitem(script["_peak"].__globals__, "PRODUCTS", (16, 32))
    assert script["_peak"](torch.float32) == pytest.approx(2 * 32**3 / 2.0 / 1e9)
    assert products == [[16, True], [16, False], [32, True], [32, False]]


METRIC = "knn/cosine/k20_t0.07/top1"


def made_run(folder, rows, header=f"epoch,step,{METRIC},speed/images_per_second", **fit):
    folder.mkdir(parents=True)
    (folder / CONFIG).touch()
    (folder / METRICS).write_text("\n".join([header, *rows]) + "\n")
    (folder / RESULT).write_text(json.dumps({"fit": fit}))
    return folder


def test_minutes_are_of_training_until_the_first_validation_that_is_as_good(benchmark, tmp_path):
    """Epochs of 600 images in 10 steps, at 10 images a second, then at 20."""
    rows = ["0,9,.2,", "0,9,,10", "1,19,.5,", "1,19,,5", "1,19,,20", "2,24,.9,"]
    run = made_run(tmp_path / "1", rows, images_seen=1500, steps=25)
    script = benchmark("time_to_accuracy")
    found = script["minutes_to"](run, METRIC, [20, 30, 50, 51])
    assert found == [pytest.approx(1.0), pytest.approx(1.5), pytest.approx(1.5), None]


def test_minutes_ask_for_a_run_of_its_own_with_metric_and_speed(benchmark, tmp_path):
    minutes_to = benchmark("time_to_accuracy")["minutes_to"]
    run = made_run(tmp_path / "1", ["0,9,.2,", "0,9,,10"], images_seen=600, steps=10)
    with pytest.raises(InputError, match="has no val/loss; give --metric one of knn/cosine"):
        minutes_to(run, "val/loss", [20])
    run = made_run(tmp_path / "2", ["0,9,.2,"], images_seen=600, steps=10)
    with pytest.raises(InputError, match="expected a run that finished an epoch"):
        minutes_to(run, METRIC, [20])
    run = made_run(tmp_path / "3", ["5,69,.2,", "5,69,,10"], images_seen=600, steps=70)
    with pytest.raises(InputError, match="began with another run's checkpoint"):
        minutes_to(run, METRIC, [20])


def test_runs_of_an_experiment_share_a_row_that_says_how_many_got_there(run, tmp_path, capsys):
    places = ["a/seed0/1", "a/seed1/1", "b/1", "b/2"]
    for place, top1 in zip(places, (0.2, 0.4, 0.1, 0.1), strict=True):
        rows = [f"0,9,{top1},", "0,9,,10"]
        made_run(tmp_path / place, rows, images_seen=600, steps=10)
    runs = [str(tmp_path / place) for place in places]
    found = run("time_to_accuracy", "--runs", *runs, "--levels", "20", "30")
    assert [row["minutes"] for row in found["rows"][:2]] == [[1.0, None], [1.0, 1.0]]
    assert capsys.readouterr().out.splitlines()[2:] == [
        "| a | 1.00 (1.00 to 1.00), 2 of 2 | 1.00 (1.00 to 1.00), 1 of 2 |",
        "| b | 0 of 2 | 0 of 2 |",
    ]


def test_options_of_fit_are_refused_where_nothing_is_trained(run, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run("time_to_accuracy", "--runs", str(tmp_path), "--levels", "20", "--data.root", "data")
    assert "--data.root data: expected options of fit only beside --fit" in capsys.readouterr().err


@pytest.mark.slow
def test_time_to_accuracy_trains_configs_in_turn(run, in_this_process, tmp_path, capsys):
    words = ["--fit", str(DIGITS), "--rounds", "2", "--levels", "1", "100"]
    words += ["--runs_dir", str(tmp_path), "--data.root", str(tmp_path)]
    words += ["--trainer.limit_train_batches", "2", "--trainer.max_epochs", "1"]
    rows = run("time_to_accuracy", *words, **in_this_process)["rows"]
    assert [Path(row["run"]).name for row in rows] == ["1", "2"]
    assert all(row["minutes"][0] > 0 and row["minutes"][1] is None for row in rows)
    assert "| time_to_accuracy_digits_blog |" in capsys.readouterr().out


def test_ratios_are_those_of_each_round(benchmark, capsys):
    script = benchmark("turns")
    found = script["summary"]({"a": [10, 20], "b": [30, 20]}, "a", "first")
    assert found["a"]["ratio_to_first"] == 1
    assert found["a"]["ratio_spread"] == 0
    assert (found["b"]["ratio_to_first"], found["b"]["images_per_second"]) == (2, 25)
    assert found["b"]["ratio_spread"] == pytest.approx(2**0.5)
    script["say"](found, "first")
    assert "b: 25 +- 7 images/s, 2.00 +- 1.41 of first, n = 2" in capsys.readouterr().out


@pytest.mark.slow
@parses
def test_the_rows_of_a_table_take_turns(run, in_this_process, tmp_path):
    table, words = tmp_path / "table.yaml", ["--rounds", "2", "--steps", "1"]
    rows = [{"name": name, "config": str(DIGITS)} for name in ("one", "two")]
    columns = {"probe/linear/conv/top1": "conv"}
    table.write_text(json.dumps({"columns": columns, "rows": rows}))
    words += ["--set", f"data.root={tmp_path}"]
    found = run("table_rows", str(table), *words, **in_this_process)["rows"]
    assert list(found) == ["one", "two"]
    assert found["one"]["ratio_to_first"] == 1
    assert found["two"]["images_per_second"] > 0
    assert len(found["two"]["rounds"]) == 2


def test_make_bench_finds_data_and_environment_wherever_they_are(tmp_path):
    command = ["make", "-n", "bench", f"VENV={tmp_path}/venv", f"ROOT={tmp_path}/data"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    loops = re.findall(r"for script in (.*?); do\s(.*?)done", shown.replace("\\\n", " "), re.DOTALL)
    assert len(loops) == 2
    for scripts, recipe in loops:
        assert recipe.strip().startswith(f"{tmp_path}/venv/bin/python ")
        for name in re.findall(r"(\w+)\.py", scripts):
            takes_root = re.search(r'"--root".*default', (FOLDER / f"{name}.py").read_text())
            assert bool(takes_root) == (f"--root {tmp_path}/data" in recipe)
