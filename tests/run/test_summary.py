"""The page of a run and the words at its end."""

import json
import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from matplotlib.figure import Figure

from dim_lightning.run.accuracies import accuracy_table
from dim_lightning.run.curves import Curve, Panel, epoch_ends, panel_svg, panels, run_curve
from dim_lightning.run.environment import write_environment
from dim_lightning.run.glossary import meaning, unit
from dim_lightning.run.metrics import MetricsFile, Point, read_metrics
from dim_lightning.run.report import (
    closing_message,
    duration,
    final_figures,
    headlines,
    offline_headlines,
    opening_message,
    trained_on,
)
from dim_lightning.run.result import read_result, update_result
from dim_lightning.run.summary import write_summary


def test_the_page_is_complete_in_itself(run):
    page = write_summary(run).read_text()
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)
    for part in ("digits / 1", "completed", "80.0%", "Effective rank", "local_weight: 1.5"):
        assert part in page
    assert page.count("<svg") == len(panels(read_metrics(run)))
    assert page.count("data:image/png;base64,") == 1
    assert "nats" in page


def test_the_title_names_the_row_of_a_table(make_run, tmp_path):
    run = make_run(tmp_path / "dim_g" / "seed0" / "1", config="experiment: dim_g/seed0\n")
    assert "<h1>dim_g / seed0 / 1<" in write_summary(run).read_text()


def test_a_page_of_a_run_that_has_only_begun(tmp_path):
    (tmp_path / "config.yaml").write_text("a: <b>&")
    page = write_summary(tmp_path).read_text()
    assert "started" in page
    assert "a: &lt;b&gt;&amp;" in page


def test_the_same_run_draws_the_same_page(run):
    assert write_summary(run).read_text() == write_summary(run).read_text()


def test_curves_are_drawn_against_epochs_of_training_done(run):
    MetricsFile(run).log_metrics({"lr-Adam": 0.1}, 29)  # as Lightning's monitor does
    series = read_metrics(run)
    assert epoch_ends(series) == {0: 0, 1: 10, 2: 20, 3: 30}
    loss = next(panel for panel in panels(series) if panel.title == "Loss")
    assert loss.curves[0].epochs == [1, 2, 3]
    assert loss.curves[0].values == [3, 2, 1]
    ET.fromstring(panel_svg(loss))


def test_every_term_of_the_objective_has_its_picture():
    terms = ("patches", "relative_coordinates", "penalty", "global_nwj", "local_pearson_chi2")
    others = ("top1", "contrast", "contrast_step", "loss_epoch")
    series = {f"train/{name}": [Point(0, 9, 1.0)] for name in (*terms, *others)}
    assert [(panel.title, panel.unit) for panel in panels(series)] == [
        ("Patches term", "nats"),
        ("Relative coordinates term", "nats"),
        ("Penalty term", ""),
        ("Global term by nwj", "nats"),
        ("Local term by pearson_chi2", ""),
        ("Contrast term", ""),  # of a method of somebody's own
    ]
    (accuracy,) = panels({"val/top1": [Point(0, 9, 0.5)]})
    assert (accuracy.curves[0].label, accuracy.curves[0].values) == ("own classifier", [50.0])


@pytest.mark.parametrize("estimator", ["squared_hellinger", "jensen_shannon"])
def test_what_has_no_unit_is_not_said_to_be_in_nats(make_run, tmp_path, estimator):
    path = f"dim_lightning.infomax.estimators.{estimator}"
    run = make_run(tmp_path / "1", config=f"experiment: a\nmodel:\n  estimator: {path}\n")
    series = {name: [Point(0, 9, 1.0)] for name in ("train/loss", "train/local")}
    MetricsFile(run).log_metrics({"train/local": 0.1}, 9)
    unit_of_terms = "nats" if estimator == "jensen_shannon" else ""
    assert {panel.unit for panel in panels(series, estimator)} == {unit_of_terms}
    curves = re.findall(r"<svg.*?</svg>", write_summary(run).read_text(), re.DOTALL)
    terms = [each for each in curves if re.search(r">(Loss|Local term)<", each)]
    assert len(terms) == 2
    assert all((">nats<" in each) == bool(unit_of_terms) for each in terms)


@pytest.mark.parametrize("factor", [1e-7, 1.0, 3e7])
def test_all_labels_of_a_curve_are_on_its_picture(factor, monkeypatch):
    """Also those that are wider once a power of ten has taken some of the height."""
    drawn, epochs = [], list(range(1, 31))
    monkeypatch.setattr(Figure, "savefig", lambda figure, buffer, **_: _kept(figure, buffer, drawn))
    values = np.log(epochs) * factor
    curves = [Curve(name, epochs, list(share * values)) for name, share in (("a", 1), ("b", 0.9))]
    panel_svg(Panel("Term", "nats", curves))
    (figure,) = drawn
    (axes,) = figure.axes
    for artist in (axes.yaxis, axes.xaxis, axes._left_title):
        box = artist.get_tightbbox()
        assert 0 <= box.x0 < box.x1 <= figure.bbox.width
        assert 0 <= box.y0 < box.y1 <= figure.bbox.height


def _kept(figure, buffer, drawn):
    drawn.append(figure)
    figure.draw_without_rendering()
    buffer.write("<svg/>")


@pytest.mark.parametrize(("before", "own"), [(703, 175), (175, 703)])
def test_epochs_of_a_run_from_anothers_state_have_its_own_steps(before, own):
    ends = [10 * before + own * epoch for epoch in range(1, 11)]
    steps = [
        Point(10, ends[0] - own // 2, 0.0),
        *(Point(9 + n, end - 1, 0.0) for n, end in enumerate(ends, 1)),
    ]
    epochs = run_curve("", {"train/loss": steps}, "train/loss").epochs
    assert epochs[0] == pytest.approx(10.5, abs=0.01)
    assert epochs[1:] == pytest.approx(range(11, 21))


def test_an_epoch_that_has_not_ended_is_no_whole_one():
    series = {"val/loss": [Point(0, 9, 0.0), Point(1, 19, 0.0), Point(2, 24, 0.0)]}
    assert run_curve("", series, "val/loss").epochs == [1, 2, 2.5]
    assert run_curve("", {"val/loss": [Point(3, 79, 0.0)]}, "val/loss").epochs == [4]


def test_long_curves_stay_small():
    points = [Point(step // 100, step, 1.0) for step in range(20_000)]
    panel = panels({"train/loss": points})[0]
    assert len(panel.curves[0].values) == 200


def test_headlines_begin_with_the_test_figures(run):
    lines = headlines(run)
    assert [line.value for line in lines[:3]] == ["75.0%", "70.0%", "80.0%"]
    assert lines[2].note == "validation, last epoch; best 90.0% at epoch 1"
    update_result(run, "fit", {"epochs": 5})  # of which the last two had no validation
    assert headlines(run)[2].note == "validation, epoch 3; best 90.0% at epoch 1"
    update_result(run, "fit", {"last_epochs": {}})  # an early run
    assert headlines(run)[2].note == "validation, last epoch; best 90.0% at epoch 1"


def test_where_knn_searches_fewer_training_images_than_there_are_it_is_said(run):
    MetricsFile(run).log_metrics({"knn/cosine/k20_t0.07/top1": 0.5, "epoch": 2}, 29)
    update_result(run, "fit", final_figures(run))
    (run / "config.yaml").write_text("neighbours: {bank_size: 10000}\n")
    bank, best = ", among 10,000 training images", "; best 50.0% at epoch 3"
    for train, said in ((None, bank), (50_000, bank), (10_000, ""), (1797, "")):
        write_environment(run, {"pictures": train and {"train": train, "sha256": "a"}})
        assert headlines(run)[3].note == f"validation, last epoch{said}{best}"
    assert not any("among" in line.note for line in headlines(run) if "kNN" not in line.label)
    (run / "config.yaml").write_text("neighbours: {bank_size: null}\n")
    assert "among" not in headlines(run)[3].note


def test_the_first_line_says_on_what_a_run_trains_but_for_one_cpu(tmp_path):
    def opening(*place):
        return opening_message(tmp_path, 3_000_000, {"training": 45_000}, 10, trained_on(*place))

    beginning = f"{tmp_path}: 45,000 training images, 10 classes, 3.00 M parameters"
    assert "4 training images, no labels, 0" in opening_message(tmp_path, 3, {"training": 4}, None)
    assert opening("CPU", 1, 64) == beginning
    assert opening("NVIDIA A100", 4, 256) == f"{beginning}, 4 x NVIDIA A100, joint batch 256"
    assert opening("CPU", 2, 64) == f"{beginning}, 2 x CPU, joint batch 64"


def test_the_table_has_a_row_a_layer_and_floors_last(run):
    table = accuracy_table(read_result(run)["test"])
    names = [row["name"] for row in table["rows"]]
    assert names == ["conv", "embedding", "raw pixels", "random encoder, embedding"]
    assert [row["floor"] for row in table["rows"]] == [False, False, True, True]
    assert table["columns"][0] == "linear probe"
    best = [cell["text"] for row in table["rows"] for cell in row["cells"] if cell["best"]]
    assert best == ["80.0", "70.0"]
    assert accuracy_table({"test/loss": 1.0}) is None


def test_the_code_is_the_last_layer_of_the_encoder_however_figures_came_together(run):
    figures = read_result(run)["test"]
    late = {f"{protocol}/conv/top1": 0.9 for protocol in ("probe/linear", "knn/cosine/k20_t0.07")}
    for name in late:
        figures.pop(name, None)
    dim = {"conv": 64, "embedding": 8, "random/embedding": 8, "pixels": 12}
    test = {**figures, **late, "dim": dim}
    assert [value for _, value in offline_headlines(test)] == [0.75, 0.7]
    assert [row["name"] for row in accuracy_table(test)["rows"]][:2] == ["conv", "embedding"]
    del test["probe/linear/embedding/top1"]  # a code of too many features
    assert [line.label for line, _ in offline_headlines(test)] == ["kNN, k = 20"]


def test_probes_that_were_not_solved_are_named(run):
    names = ["probe/linear/conv/top1", "random/probe/few_labels/0.015/embedding/top1"]
    update_result(run, "test", {"not_converged": names})
    few = "linear probe, 1.5 % of the labels"
    said = f"converged: linear probe on conv, {few} on random encoder, embedding.</p>"
    assert said in write_summary(run).read_text()


def test_the_accuracy_of_a_classifier_trained_with_labels_has_a_row_of_its_own():
    table = accuracy_table({"probe": {"linear": {"y": {"top1": 0.7}}}, "test/top1": 0.75})
    names = [row["name"] for row in table["rows"]]
    assert names == ["y", "its own classifier"]
    assert table["rows"][1]["cells"][1] == {"text": "75.0", "best": True}


def test_the_spread_of_what_was_repeated_stands_beside_its_mean():
    few = {"top1": 0.4321, "top1_std": 0.0234}
    table = accuracy_table({"probe": {"few_labels": {"0.1": {"y": few}}}})
    assert table["rows"][0]["cells"] == [{"text": "43.2 ± 2.3", "best": True}]


def test_other_accuracies_are_folded_in_below_the_table(run):
    assert "The same, " not in write_summary(run).read_text()
    update_result(run, "test", {"probe/linear/conv/top5": 0.987, "test/top5": 0.91})
    page = write_summary(run).read_text()
    (folded,) = re.findall(r"<details><summary>The same, top-5 .*?</details>", page, re.DOTALL)
    assert "98.7" in folded
    assert "80.0" not in folded
    assert "among the five of largest score" in page
    table = accuracy_table(read_result(run)["test"], "top5")
    assert [row["name"] for row in table["rows"]] == ["conv", "its own classifier"]
    assert table["columns"] == ["linear probe", "no probe"]


def test_the_closing_message_says_what_where_and_next(run):
    text = closing_message(run, "fit")
    assert text.startswith("3 epochs in 1 min 15 s, 99 images/s")
    assert str(run / "summary.html") in text
    assert text.endswith(f"python -m dim_lightning test --run {run}")


def test_validate_says_what_it_found(run):
    update_result(
        run, "validate", {"val/loss": 3.66063, "probe/online/top1": 0.25694, "val/top5": 0.5}
    )
    lines = closing_message(run, "validate").splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["val/loss", "3.661"],
        ["probe/online/top1", "25.7%"],
        ["val/top5", "50.0%"],
    ]


def test_a_test_of_an_earlier_state_is_said_to_be_one(run):
    assert "after epoch" not in closing_message(run, "fit")
    update_result(run, "test", {"epochs_trained": 3})
    assert "after epoch" not in closing_message(run, "fit")
    update_result(run, "fit", {"epochs": 5})
    assert "test, layer embedding, offline, after epoch 3 of 5\n" in closing_message(run, "fit")
    assert "test images, after epoch 3 of 5</h2>" in write_summary(run).read_text()
    update_result(run, "test", {"epochs_trained": 5, "steps_trained": 41})
    assert "after epoch" not in closing_message(run, "fit")  # an early run, without its steps
    update_result(run, "fit", {"steps": 50})
    assert "test, layer embedding, offline, after step 41 of 50\n" in closing_message(run, "fit")
    update_result(run, "test", {"other_pictures": "there were 9"})
    said = "offline, after step 41 of 50, on other pictures: there were 9"
    assert f"{said}\n" in closing_message(run, "fit")
    update_result(run, "test", {"other_settings": "a is 1", "other_code": "nets.Net"})
    said += ", with other settings than in its training: a is 1"
    said += ", by code changed after its training: nets.Net"
    assert f"{said}\n" in closing_message(run, "fit")


def test_other_data_sets_have_figures_and_a_table_of_their_own(run):
    name = "probe/linear/embedding/top1"
    before = headlines(run)
    facts = {"epochs_trained": 2, "not_converged": [name]}
    update_result(run, "transfer/cifar3", {name: 0.61, **facts})
    assert headlines(run) == before
    said = "61.0%   transfer to cifar3, layer embedding, offline, after epoch 2 of 3\n"
    assert said in closing_message(run, "test")
    page = write_summary(run).read_text()
    assert "<h2>Offline evaluation on the test images</h2>" in page
    said = "test images of cifar3, other pictures than it was trained on, after epoch 2 of 3</h2>"
    own, other = page.split(said)
    assert "75.0" in own
    assert "61.0" in other
    assert "converged: linear probe on embedding" in other
    assert "converged" not in own


def test_the_next_command_of_pictures_without_labels(run):
    path = run / "result.json"
    path.write_text(json.dumps({"fit": {**read_result(run)["fit"], "best": {}}}))
    assert closing_message(run, "fit").endswith(f"python -m dim_lightning predict --run {run}")


def test_the_next_command_of_no_epoch_at_all(tmp_path):
    (tmp_path / "result.json").write_text('{"fit": {"epochs": 0}}')
    assert f"fit --resume {tmp_path} --trainer.max_epochs 1" in closing_message(tmp_path, "fit")


def test_the_next_command_can_be_pasted(make_run, tmp_path):
    run = make_run(tmp_path / "my runs" / "digits" / "1")
    assert closing_message(run, "fit").endswith(f"dim_lightning test --run '{run}'")
    (run / "checkpoints" / "last.ckpt").unlink()  # as after a fast_dev_run
    assert closing_message(run, "fit").endswith(f"dim_lightning compare '{run}' ANOTHER_RUN")


@pytest.mark.parametrize(
    ("seconds", "text"), [(9.4, "9 s"), (59.9, "1 min 00 s"), (3700.0, "1 h 01 min")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    "name",
    [
        "train/loss",
        "val/prior",
        "probe/online/top1",
        "knn/cosine/k20_t0.07/top1",
        "random/knn/euclidean/k200/embedding/top1",
        "probe/mlp200/conv/top1",
        "random/probe/mlp200_paper/conv/top1",
        "random/probe/mlp200_paper_chosen/conv/top1",
        "probe/few_labels/0.01/conv/top1",
        "geometry/dead_share",
    ],
)
def test_logged_names_are_explained(name):
    assert meaning(name)


def test_units():
    assert unit("train/local") == "nats"
    assert unit("train/local_nwj") == "nats"
    assert "info_nce" in (meaning("train/local_nwj") or "")
    assert unit("train/penalty") == unit("train/local_pearson_chi2") == ""
    assert unit("train/local", "mine.pearson_chi2") == ""
    assert unit("train/kl", "mine.pearson_chi2") == "nats"
    assert meaning("something/else") is None
