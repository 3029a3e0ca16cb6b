"""The results file and the tables made from it."""

import csv
import importlib.util
import json
import threading
from pathlib import Path

import filelock
import pytest

from dim_lightning.errors import InputError

PATH = Path(__file__).parent.parent / "experiments" / "record.py"
spec = importlib.util.spec_from_file_location("record", PATH)
record = importlib.util.module_from_spec(spec)
spec.loader.exec_module(record)


START = "2026-01-01T00:00:00+00:00"


@pytest.fixture
def make_run(tmp_path):
    def make(seed, linear, started=START, experiment="blog", folder=None, data=None, more=""):
        folder = folder or tmp_path / f"run{seed}"
        folder.mkdir(exist_ok=True, parents=True)
        (folder / "config.yaml").write_text(
            f"experiment: {experiment}\nseed_everything: {seed}\n"
            "data: {source: {class_path: dim_lightning.data.Digits}}\n"
            f"trainer: {{precision: bf16-mixed}}\n{more}"
        )
        environment = {
            "started": started,
            "commit": "0123456789abcdef",
            "uncommitted_changes": False,
            "cpu": "a processor",
            "threads": 2,
            "data": data,
        }
        (folder / "environment.json").write_text(json.dumps(environment))
        result = {
            "fit": {
                "status": "completed",
                "epochs": 3,
                "seconds": 90.0,
                "images_per_second": 1234.4,
                "last": {"probe/online/top1": 0.5, "train/loss": 1.0},
            },
            "test": {
                "probe/linear/embedding/top1": linear,
                "probe/linear/pixels/top1": 0.25,
                "random/probe/linear/embedding/top1": 0.125,
                "seconds": 3.0,
            },
        }
        (folder / "result.json").write_text(json.dumps(result))
        return folder

    return make


def test_a_row_a_figure_with_where_it_comes_from(make_run):
    rows = {row["metric"]: row for row in record.rows_of(make_run(7, 0.5))}
    assert set(rows) == {
        "probe/online/top1",
        "probe/linear/embedding/top1",
        "probe/linear/pixels/top1",
        "random/probe/linear/embedding/top1",
    }
    row = rows["probe/linear/embedding/top1"]
    assert row["data"] == "Digits"
    assert row["seed"] == "7"
    assert row["commit"] == "0123456789"
    assert row["minutes"] == "1.5"
    assert row["value"] == "0.5"
    assert rows["probe/online/top1"]["split"] == "val"


def test_products_of_less_than_full_precision_are_part_of_the_precision(make_run):
    def of(more):
        return record.rows_of(make_run(7, 0.5, more=more))[0]["precision"]

    assert of("") == of("matmul_precision: highest\n") == "bf16-mixed"
    assert of("matmul_precision: high\n") == "bf16-mixed with products in high"


def test_a_run_recorded_again_replaces_its_rows_only(make_run, tmp_path):
    table = tmp_path / "results.csv"
    record.add(record.rows_of(make_run(0, 0.5)), table)
    record.add(record.rows_of(make_run(1, 0.6)), table)
    record.add(record.rows_of(make_run(0, 0.7)), table)
    with table.open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["metric"] == "probe/linear/embedding/top1"]
    assert sorted((row["seed"], row["value"]) for row in rows) == [("0", "0.7"), ("1", "0.6")]


def test_the_table_has_mean_and_spread_over_seeds_and_the_floors(make_run):
    rows = record.rows_of(make_run(0, 0.5, data="Mine"))
    rows += record.rows_of(make_run(1, 0.6, data="Mine"))
    lines = record.tables(rows).splitlines()
    assert lines[0] == "### Mine"
    cells = [[cell.strip() for cell in line.split("|")[1:4]] for line in lines if line[:1] == "|"]
    assert ["blog, 3 epochs, bf16-mixed", "embedding", "55.00 ± 7.07"] in cells
    # the same for both runs: one draw, of which no spread is known
    assert ["raw pixels", "pixels", "25.00"] in cells
    assert ["random encoder", "embedding", "12.50"] in cells
    assert "seeds 0, 1; commit 0123456789; 1.5 minutes a run" in lines[-1]


def test_of_a_seed_that_was_trained_twice_the_newest_counts(make_run):
    rows = record.rows_of(make_run(0, 0.5, started="2026-01-03")) + record.rows_of(make_run(1, 0.6))
    rows += record.rows_of(make_run(0, 0.9, started="2026-01-02"))
    assert "| 55.00 ± 7.07 |" in record.tables(rows)


def test_runs_of_other_settings_are_no_seeds_of_the_same(make_run, tmp_path):
    """What came later and is off is no other setting, nor is where and how it trained."""
    same = "model: {new: null, other: false}\nprobe: {lr: 1}\n"
    rows = record.rows_of(make_run(0, 0.5)) + record.rows_of(make_run(1, 0.6, more=same))
    rows += record.rows_of(make_run(2, 0.9, more="model: {local_weight: 1.0}\n"))
    names = [line.split("|")[1] for line in record.tables(rows).splitlines() if "blog, 3" in line]
    assert len({row["settings"] for row in rows}) == len(set(names)) == 2
    assert "settings" in names[0]
    assert "| 55.00 ± 7.07 |" in record.tables(rows)
    early = [{**row, "settings": "", "seed": "3"} for row in rows[:4]]  # before they were noted
    table = tmp_path / "results.csv"
    record.add(early, table)
    assert record.add(rows, table) == [*early, *rows]
    assert "| 55.00 ± 7.07 |" in record.tables([*early, *rows])


def test_a_mean_over_fewer_runs_than_there_are_says_so(make_run):
    rows = [row for seed in (0, 1, 2) for row in record.rows_of(make_run(seed, 0.5))]
    rows = [row for row in rows if row["seed"] != "2" or "random" not in row["metric"]]
    assert "| 12.50 (n = 2) |" in record.tables(rows)
    assert "| 50.00 ± 0.00 |" in record.tables(rows)


def test_footnotes_name_all_that_runs_were_trained_with(make_run):
    rows = []
    for seed, later in enumerate([{"threads": 1}, {"commit": "b" * 40, "gpus": ["A100"]}]):
        run = make_run(seed, 0.5)
        begun = json.loads((run / "environment.json").read_text())
        (run / "environment.json").write_text(json.dumps({**begun, "resumed": [later]}))
        rows += record.rows_of(run)
    last = record.tables(rows).splitlines()[-1]
    assert "commit 0123456789, bbbbbbbbbb; 1.5 minutes" in last
    assert last.endswith(
        "; a processor, 2 threads, then a processor, 1 thread; "
        "a processor, 2 threads, then A100, a processor, 2 threads"
    )


def test_a_mean_over_tests_of_different_ways_says_so(make_run):
    def rows(seed, epochs, started=START):
        run = make_run(seed, 0.5, started)
        result = json.loads((run / "result.json").read_text())
        lines = ["Linear: solved exactly.", f"MLP-200: Adam 1e-3, {epochs} epochs.", "SVM: C."]
        result["test"] |= {"probe/mlp200/embedding/top1": 0.5 + epochs / 1000}
        result["test"]["protocol"] = "\n".join(lines[: 2 + seed])  # that of others does not count
        (run / "result.json").write_text(json.dumps(result))
        return record.rows_of(run)

    def last(*found):
        return record.tables([row for each in found for row in each]).splitlines()[-1]

    assert "different ways" not in last(rows(0, 30), rows(1, 30))
    early = [row | {"protocol": ""} for row in rows(0, 30)]
    assert "different ways" not in last(early, rows(1, 30))
    assert last(rows(0, 30), rows(1, 300), rows(2, 30)).endswith(
        "2 threads; MLP-200 measured in different ways: seeds 0, 2 and 1"
    )
    assert {row["protocol"] for row in rows(0, 30) if row["split"] == "val"} == {""}


def test_only_what_stands_between_the_marks_is_renewed(tmp_path):
    page = tmp_path / "README.md"
    page.write_text(f"before\n{record.BEGIN}\nold\n{record.END}\nafter\n")
    record.renew(page, "new")
    assert page.read_text() == f"before\n{record.BEGIN}\n\nnew\n\n{record.END}\nafter\n"


def test_seeds_of_a_row_of_a_table_stand_together(make_run, tmp_path):
    rows = []
    for seed in (0, 1):
        name = f"a_row/seed{seed}"
        folder = tmp_path / "a_table" / name / "1"
        rows += record.rows_of(make_run(seed, 0.5 + seed / 10, experiment=name, folder=folder))
    assert {row["experiment"] for row in rows} == {"a_table/a_row"}
    assert "55.00 ± 7.07" in record.tables(rows)


def test_pixels_stand_once_however_many_experiments_there_are(make_run):
    one = record.rows_of(make_run(0, 0.5))
    other = [row | {"experiment": "other"} for row in record.rows_of(make_run(1, 0.75))]
    pixels = "probe/linear/pixels/top1"
    other = [row | {"value": "0.26"} if row["metric"] == pixels else row for row in other]
    lines = record.tables([*one, *other]).splitlines()
    assert [line for line in lines if line.startswith("| raw pixels")] == [
        "| raw pixels | pixels | 25.00 |  |  |  |"
    ]
    assert any(line.startswith("| other, 3 epochs") for line in lines)


def test_of_the_pixels_the_fullest_row_counts(make_run):
    one = [*record.rows_of(make_run(0, 0.5)), *record.rows_of(make_run(2, 0.5))]  # with a spread
    other = [row | {"experiment": "other"} for row in record.rows_of(make_run(1, 0.75))]
    pixels = "probe/linear/pixels/top1"
    added = [
        row | {"metric": "probe/mlp200/pixels/top1", "value": "0.3"}
        for row in other
        if row["metric"] == pixels
    ]
    lines = record.tables([*one, *other, *added]).splitlines()
    assert [line for line in lines if line.startswith("| raw pixels")] == [
        "| raw pixels | pixels | 25.00 | 30.00 |  |  |"
    ]
    assert lines.index("| raw pixels | pixels | 25.00 | 30.00 |  |  |") < next(
        n for n, line in enumerate(lines) if line.startswith("| other")
    )


def test_a_training_that_stands_there_under_two_names_is_seen(make_run, tmp_path):
    def rows(name, seed=0):
        folder = tmp_path / "a_table" / name / f"seed{seed}" / "1"
        return record.rows_of(make_run(seed, 0.5, experiment="old/seed0", folder=folder))

    found = [*rows("old"), *rows("other", seed=1)]
    assert record.twice(found) == []
    assert record.twice([*found, *rows("new")]) == [("a_table/old", "a_table/new")]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fit": {"status": "interrupted"}}, "is interrupted; expected a run that has come to"),
        ({"fit": {}}, "is not trained"),
        ({"test": {"epochs_trained": 2}}, "tested after epoch 2 of 3; test it again: python -m"),
        (
            {"test": {"other_pictures": "there were 9"}},
            "tested on other pictures: there were 9; te",
        ),
        (
            {"test": {"other_code": "nets.Net"}},
            "by code changed after its training: nets.Net; bring its former code back and test it",
        ),
    ],
)
def test_runs_that_are_not_at_their_end(make_run, changes, said):
    run = make_run(0, 0.5)
    record.check_finished(run)
    path = run / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(InputError, match=said):
        record.check_finished(run)


@pytest.mark.parametrize("name", ["other_pictures", "other_shares"])
def test_no_other_test_is_asked_for_where_it_would_be_of_the_same_pictures(make_run, name):
    run, change = make_run(0, 0.5), "there were 9"
    for file, more in (
        ("environment.json", {name: change}),
        (
            "result.json",
            {"test": {"other_pictures": f"{change}; data.split_seed is 1 now, 0 then"}},
        ),
    ):
        path = run / file
        path.write_text(json.dumps(json.loads(path.read_text()) | more))
    with pytest.raises(InputError, match="which stays so, as it began from the state") as error:
        record.check_finished(run)
    assert "test it again" not in str(error.value)


def test_a_second_one_waits_for_the_first(make_run, tmp_path, monkeypatch):
    monkeypatch.setattr(record, "HERE", tmp_path)
    table, page = tmp_path / "results.csv", tmp_path / "README.md"
    page.write_text((PATH.parent / "README.md").read_text())
    run = make_run(0, 0.5)
    second = threading.Thread(target=record.main, args=([str(run), "--data", "Mine"],))
    with filelock.FileLock(tmp_path / ".lock"):
        second.start()
        second.join(timeout=0.3)
        assert second.is_alive()
        record.add(record.rows_of(make_run(1, 0.5, data="Mine")), table)
    second.join()
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert {(row["seed"], row["data"]) for row in rows} == {("0", "Mine"), ("1", "Mine")}
    assert "seeds 0, 1; commit" in page.read_text()
    assert json.loads((run / "environment.json").read_text())["data"] == "Mine"
