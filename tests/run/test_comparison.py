"""Several runs in one figure, and what makes them hard to compare."""

import csv
import io

import numpy as np
import pytest
from PIL import Image

from dim_lightning.cli import main
from dim_lightning.errors import InputError
from dim_lightning.run.accuracies import flat_figures
from dim_lightning.run.compared import load_runs, not_the_same
from dim_lightning.run.comparison import _figure, _neighbours_png, timed
from dim_lightning.run.curves import Curve
from dim_lightning.run.environment import write_environment
from dim_lightning.run.metrics import MetricsFile
from dim_lightning.run.result import read_result, update_result


@pytest.fixture
def runs(tmp_path, make_run):
    local = "data: {split_seed: 0}\nmodel: {local_weight: 0}\n"
    return [
        make_run(tmp_path / "both" / "1"),
        make_run(tmp_path / "global_only" / "1", 0.5, local),
    ]


def test_one_command_draws_them(runs, tmp_path, capsys):
    assert main(["compare", *map(str, runs)]) == 0
    output = tmp_path / "comparisons" / "1"
    assert str(output / "comparison.png") in capsys.readouterr().out
    figure = np.asarray(Image.open(output / "comparison.png").convert("RGB"))
    assert figure.shape[1] > 1000
    assert len(np.unique(figure.reshape(-1, 3), axis=0)) > 50
    with Image.open(output / "neighbours.png") as sheet:
        assert sheet.width > 2 * 60
    with (output / "comparison.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == ["both/1", "global_only/1"]
    assert [row["local_weight"] for row in rows] == ["1.5", "0"]
    assert [row["online probe, %"] for row in rows] == ["80.0", "40.0"]
    tested = flat_figures(read_result(runs[0])["test"])
    expected = {f"{100 * value:.1f}" for name, value in tested.items() if name.endswith("/top1")}
    assert {v for name, v in rows[0].items() if name.startswith("test ")} == expected
    assert rows[0]["test linear probe, conv, %"] == "80.0"
    assert main(["compare", *map(str, runs)]) == 0
    assert (tmp_path / "comparisons" / "2").is_dir()


def test_of_classes_that_differ_there_is_the_name(make_run, tmp_path, capsys):
    def encoder(name, argument):
        arguments = f"{{class_path: dim_lightning.{name}, init_args: {argument}}}"
        prior = f"{{class_path: a.Prior, init_args: {{n: {len(name)}}}}}"
        return f"model: {{encoder: {arguments}, prior: {prior}}}\n"

    runs = [
        make_run(tmp_path / "one" / "1", 0.5, encoder("BlogEncoder", "{embedding_dim: 8}")),
        make_run(tmp_path / "two" / "1", 0.5, encoder("PaperEncoder", "{hidden_dim: 9}")),
    ]
    assert main(["compare", *map(str, runs), "--output", str(tmp_path / "mine")]) == 0
    capsys.readouterr()
    with (tmp_path / "mine" / "comparison.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["encoder"] for row in rows] == ["BlogEncoder", "PaperEncoder"]
    assert [row["prior.init_args.n"] for row in rows] == ["11", "12"]  # of the same class
    assert not any("embedding_dim" in key or "hidden_dim" in key for key in rows[0])


def test_of_methods_that_differ_there_is_the_name(make_run, tmp_path, capsys):
    encoder, data = "encoder: {n: 8}", "{split_seed: 0, source: {class_path: a.A}}"
    configs = {
        "dim": f"method: DeepInfoMax\nmodel: {{{encoder}, local_weight: 1.5}}\ndata: {data}\n",
        "vae": f"method: mine.VAE\nmodel: {{encoder: {{n: 9}}, beta: 1.0}}\ndata: {data}\n",
    }
    runs = [make_run(tmp_path / name / "1", config=text) for name, text in configs.items()]
    assert main(["compare", *map(str, runs), "--output", str(tmp_path / "mine")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("| run | method | encoder.n | epochs |")
    assert lines[2].startswith("| dim/1 | DeepInfoMax | 8 | 3 |")
    assert lines[3].startswith("| vae/1 | VAE | 9 | 3 |")
    assert not any(line.startswith("warning") for line in lines)


def test_of_sources_that_differ_the_class_is_said(make_run, tmp_path):
    configs = [
        "data: {source: {class_path: a.Digits}}\n",
        "data: {source: {class_path: a.CIFAR10, init_args: {download: true}}}\n",
    ]
    runs = [make_run(tmp_path / f"{n}" / "1", config=text) for n, text in enumerate(configs)]
    said = "data.source.class_path is not the same: a.Digits in 0/1, a.CIFAR10 in 1/1"
    assert not_the_same(load_runs(runs)) == [said]


def test_runs_of_a_table_are_told_apart(make_run, tmp_path, capsys):
    rows = {name: f"experiment: {name}/seed0\n" for name in "ab"}
    rows["other"] = "experiment: a/seed0\n"  # a run of another folder of runs, of the same name
    places = {"a": "runs/a", "b": "runs/b", "other": "elsewhere/a"}
    runs = [
        make_run(tmp_path / places[name] / "seed0" / "1", config=config)
        for name, config in rows.items()
    ]
    assert [run.label for run in load_runs(runs[:2])] == ["a/seed0/1", "b/seed0/1"]
    assert main(["compare", *map(str, runs[:2])]) == 0
    assert str(tmp_path / "runs" / "comparisons" / "1") in capsys.readouterr().out
    labels = [run.label for run in load_runs(runs)]
    assert labels == [str(runs[0]), "b/seed0/1", str(runs[2])]


def test_the_table_of_figures_has_the_other_accuracies_too(runs, tmp_path):
    others = {"probe/linear/conv/top5": 0.95, "knn/cosine/k20_t0.07/y/mean_per_class": 0.4}
    update_result(runs[0], "test", others)
    assert main(["compare", *map(str, runs), "--output", str(tmp_path / "mine")]) == 0
    with (tmp_path / "mine" / "comparison.csv").open() as file:
        one, other = csv.DictReader(file)
    assert one["test linear probe, conv, top-5, %"] == "95.0"
    assert one["test linear probe, conv, %"] == "80.0"
    assert one["test kNN cosine k=20 T0.07, y, mean per class, %"] == "40.0"
    assert other["test linear probe, conv, top-5, %"] == ""
    assert "top-5" not in (tmp_path / "mine" / "comparison.md").read_text()


def test_to_a_folder_of_ones_own(runs, tmp_path):
    """In which nothing of a former comparison stays."""
    output = tmp_path / "deep" / "own"
    output.mkdir(parents=True)
    (output / "neighbours.png").touch()
    (runs[0] / "pictures" / "neighbours_cosine.png").unlink()
    assert main(["compare", *map(str, runs), "--output", str(output)]) == 0
    assert (output / "comparison.md").is_file()
    assert not (output / "neighbours.png").exists()


def test_other_data_is_said(runs, make_run, tmp_path, capsys):
    other = make_run(tmp_path / "other" / "1", config="data: {split_seed: 7}\n")
    assert not_the_same(load_runs(runs)) == []
    assert main(["compare", str(runs[0]), str(other)]) == 0
    assert "data.split_seed is not the same: 0 in both/1, 7 in other/1" in capsys.readouterr().out


def test_other_pictures_are_said(runs, make_run, tmp_path):
    runs.append(make_run(tmp_path / "early" / "1"))  # which does not know its own
    for run in runs[:2]:
        write_environment(run, {"pictures": {"train": 1000, "test": 20, "sha256": "a"}})
    assert not_the_same(load_runs(runs)) == []
    write_environment(runs[1], {"pictures": {"train": 50, "sha256": "b"}})
    said = "the pictures are not the same, by their names or number: 1,020 in both/1, 50 in "
    assert not_the_same(load_runs(runs)) == [f"{said}global_only/1"]


def test_another_share_to_test_by_is_said_where_one_is_set_aside(make_run, tmp_path):
    runs = [
        make_run(tmp_path / str(share) / "1", config=f"data: {{test_fraction: {share}}}\n")
        for share in (0.2, 0.5)
    ]
    said = "data.test_fraction is not the same: 0.2 in 0.2/1, 0.5 in 0.5/1"
    assert not_the_same(load_runs(runs)) == [said]
    for run in runs:
        write_environment(run, {"pictures": {"train": 40, "test": 9, "sha256": "a"}})
    assert not_the_same(load_runs(runs)) == []


def test_a_test_of_an_earlier_state_is_said(runs):
    update_result(runs[1], "test", {"epochs_trained": 2})
    said = f"{load_runs(runs)[1].label} was tested after epoch 2 of 3"
    assert not_the_same(load_runs(runs)) == [said]
    update_result(runs[1], "test", {"other_pictures": "there are more"})
    said += ", on other pictures: there are more"
    assert not_the_same(load_runs(runs)) == [said]
    update_result(runs[1], "test", {"other_code": "nets.Net"})
    said += ", by code changed after its training: nets.Net"
    assert not_the_same(load_runs(runs)) == [said]


def test_other_data_sets_are_compared(runs, tmp_path, capsys):
    for run, top1 in zip(runs, (0.61, 0.62), strict=True):
        facts = {"pictures": "a", "image_size": 32, "epochs_trained": 3}
        update_result(run, "transfer/stl10", {"probe/linear/embedding/top1": top1, **facts})
    assert main(["compare", *map(str, runs), "--output", str(tmp_path)]) == 0
    table = (tmp_path / "comparison.md").read_text()
    assert "on stl10 linear probe, %" in table
    assert "61.0" in table
    assert "62.0" in table
    assert "warning" not in capsys.readouterr().out
    update_result(runs[0], "transfer/stl10", {"pictures": "b"})
    update_result(runs[1], "transfer/stl10", {"epochs_trained": 2})
    first, second = (run.label for run in load_runs(runs))
    assert not_the_same(load_runs(runs)) == [
        f"the pictures of stl10 are not the same: b in {first}, a in {second}",
        f"{second} was tested on stl10 after epoch 2 of 3",
    ]


def test_terms_of_other_estimators_and_priors_need_not_compare(make_run, tmp_path):
    rows = {
        "jsd": ("e.jensen_shannon", 1, "p.GaussianKL"),
        "nce": ("e.info_nce", "all", "p.SIGReg"),
    }
    runs = []
    for name, (estimator, negatives, prior) in rows.items():
        model = (
            f"estimator: {estimator}, num_negatives: {negatives}, prior: {{class_path: {prior}}}"
        )
        runs.append(make_run(tmp_path / name / "1", config=f"model: {{{model}}}\n"))
    so = "is not the same, so local and global terms need not compare"
    said = [
        f"model.estimator {so}: jensen_shannon, info_nce",
        f"model.num_negatives {so}: 1, all",
    ]
    assert not_the_same(load_runs(runs)) == said  # neither has a term of the prior
    for run in runs:
        MetricsFile(run).log_metrics({"val/prior": 1.0, "epoch": 2}, 29)
    so = "is not the same, so prior terms need not compare"
    said.append(f"model.prior.class_path {so}: GaussianKL, SIGReg")
    assert not_the_same(load_runs(runs)) == said
    (runs[1] / "config.yaml").write_text("method: mine.AAE\nmodel: {}\n")
    assert "prior terms need not compare: GaussianKL, AAE" in not_the_same(load_runs(runs))[-1]


def test_a_panel_of_a_term_says_what_it_is_of(make_run, tmp_path):
    folders = [make_run(tmp_path / str(n) / "1") for n in range(2)]
    for folder in folders:
        terms = {"val/prior": 1.0, "train/global": 2.0, "epoch": 2}
        MetricsFile(folder).log_metrics(terms, 29)
    runs = load_runs(folders)

    def shown():
        panels = _figure(runs, [], "epochs").axes[3:]
        return [(axes.get_title(), axes.get_ylabel(), len(axes.lines)) for axes in panels]

    assert shown() == [
        ("Local term, validation", "nats", 2),
        ("Global term, training", "nats", 2),
        ("Prior term, validation", "", 2),  # SIGReg's is a statistic
    ]
    del runs[1].series["val/local"]  # it had no validation: what both have is shown
    assert shown()[0] == ("Local term, training", "nats", 2)
    for key in ("model.estimator", "model.estimator.class_path"):  # a function, a class
        runs[0].config[key] = "dim_lightning.infomax.estimators.pearson_chi2"
        assert shown()[0] == ("Local term, training", "", 2)  # of one unit they are not
        del runs[0].config[key]


def test_the_knn_of_validation_names_the_few_it_searches(make_run, tmp_path):
    config = "neighbours: {bank_size: 10000}\n"
    runs = [make_run(tmp_path / str(n) / "1", config=config) for n in range(2)]
    for run in runs:
        update_result(run, "fit", {"last": {"knn/cosine/k20_t0.07/top1": 0.5}})
    assert list(load_runs(runs)[0].finals)[::2] == ["kNN among 10,000", "test kNN, k = 20"]


def test_many_runs_are_told_apart(make_run, tmp_path):
    name = "local_and_global_critic_of_512_units_64_locations"
    runs = load_runs([make_run(tmp_path / f"{name}_{n}" / "1") for n in range(10)])
    figure = _figure(runs, [], "epochs")
    figure.draw_without_rendering()
    probe, _, bars, *_ = figure.axes
    assert len({(line.get_color(), line.get_linestyle()) for line in probe.lines}) == 10
    kinds = {
        (each.patches[0].get_facecolor(), each.patches[0].get_hatch()) for each in bars.containers
    }
    assert len(kinds) == 10
    assert not bars.texts  # figures would lie on one another
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width
    assert len(_figure(runs[:2], [], "epochs").axes[2].texts) == 6  # three accuracies each


def test_a_run_without_figures(runs, tmp_path):
    (tmp_path / "new" / "1").mkdir(parents=True)
    (tmp_path / "new" / "1" / "config.yaml").write_text("data: {}\n")
    with pytest.raises(InputError, match="no finished epoch"):
        load_runs([runs[0], tmp_path / "new" / "1"])


@pytest.mark.parametrize("names", [("опыт", "тест"), ("αβγδ", "δεζη")])
def test_headings_in_any_alphabet_are_told_apart(make_run, tmp_path, names):
    runs = load_runs([make_run(tmp_path / name / "1") for name in names])
    assert [run.label for run in runs] == [f"{name}/1" for name in names]
    pixels = np.asarray(Image.open(io.BytesIO(_neighbours_png(runs))))
    first, second = pixels[:44, :60], pixels[:44, 84:]  # 60 pixels each, with 24 between them
    assert (first != second).any()


def log_speeds(run, ends, first=0):
    """Of ten images a second, at the last step of each epoch."""
    for epoch, end in enumerate(ends, first):
        values = {"speed/images_per_second": 10.0, "epoch": epoch}
        MetricsFile(run).log_metrics(values, end - 1)


def test_minutes_of_a_run_from_anothers_state_are_by_its_own_steps(make_run, tmp_path):
    config = "trainer: {accumulate_grad_batches: 3}\n"
    run = make_run(tmp_path / "more" / "1", config=config)
    (run / "metrics.csv").unlink()
    write_environment(run, {"joint_batch_size": 20})
    log_speeds(run, [32, 34, 36], first=2)
    update_result(run, "fit", {"epochs": 5, "images_seen": 999})  # those of the other's among them
    minutes = 20 * 3 * 2 / 10 / 60
    assert load_runs([run, run])[0].minutes == pytest.approx(minutes * np.array([0, 0, 1, 2, 3]))


def test_an_epoch_that_was_broken_off_takes_no_other_one_longer(make_run, tmp_path):
    run = make_run(tmp_path / "stopped" / "1")
    write_environment(run, {"joint_batch_size": 60})
    (run / "metrics.csv").unlink()
    log_speeds(run, [10])
    update_result(run, "fit", {"epochs": 1, "images_seen": 1140})
    assert load_runs([run, run])[0].minutes == [1.0]


def test_against_minutes(runs, tmp_path):
    words = ["compare", *map(str, runs), "--against", "minutes", "--output", str(tmp_path / "own")]
    assert main(words) == 2  # these runs have no speeds
    for run in runs:
        log = MetricsFile(run)
        # the second epoch was stopped and went on
        for epoch, speed in ((0, 10.0), (1, 70.0), (1, 5.0), (2, 10.0)):
            log.log_metrics({"speed/images_per_second": speed, "epoch": epoch}, 10 * epoch + 9)
    found = load_runs(runs)[0]
    images = 1000 / 3
    assert found.minutes == pytest.approx([images / 600, images / 200, images / 150])
    middle = timed(Curve("", [0.5, 1.0, 3.0], [1.0, 2.0, 3.0]), found.minutes)
    assert middle.epochs == pytest.approx([images / 1200, images / 600, images / 150])
    assert middle.values == [1.0, 2.0, 3.0]
    assert main(words) == 0
