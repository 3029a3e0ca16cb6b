"""metrics.csv: no row is lost, whatever appears late or is cut short."""

import pytest
import torch

from dim_lightning.errors import InputError
from dim_lightning.run.metrics import MetricsFile, Point, best, read_metrics


def test_a_late_key_keeps_earlier_rows(tmp_path):
    log = MetricsFile(tmp_path)
    log.log_metrics({"train/loss": 2.0, "epoch": 0}, 9)
    log.log_metrics({"train/loss": 1.5, "epoch": 0}, 19)
    log.log_metrics({"probe/online/top1": 0.5, "epoch": 0}, 19)
    log.log_metrics({"train/loss": 1.0, "epoch": 1}, 29)
    series = read_metrics(tmp_path)
    assert series["train/loss"] == [Point(0, 9, 2.0), Point(0, 19, 1.5), Point(1, 29, 1.0)]
    assert series["probe/online/top1"] == [Point(0, 19, 0.5)]


def test_every_row_is_on_disk_at_once(tmp_path):
    log = MetricsFile(tmp_path)
    for step in range(5):
        log.log_metrics({"train/loss": float(step), "epoch": 0}, step)
        assert len(read_metrics(tmp_path)["train/loss"]) == step + 1


def test_float32_comes_back_exactly(tmp_path):
    value = torch.tensor(0.1) / 3
    MetricsFile(tmp_path).log_metrics({"x": value.item(), "epoch": 0}, 0)
    assert torch.tensor(read_metrics(tmp_path)["x"][0].value) == value


def test_a_run_that_goes_on_keeps_its_rows_and_forgets_later_ones(tmp_path):
    MetricsFile(tmp_path).log_metrics({"a": 1.0, "epoch": 0}, 9)
    MetricsFile(tmp_path).log_metrics({"a": 2.0, "epoch": 1}, 19)
    resumed = MetricsFile(tmp_path)
    assert resumed.sync() == 2
    resumed.keep(1)
    resumed.log_metrics({"a": 3.0, "b": 1.0, "epoch": 1}, 19)
    assert [point.value for point in read_metrics(tmp_path)["a"]] == [1.0, 3.0]


def test_a_row_cut_short_is_left_out(tmp_path):
    log = MetricsFile(tmp_path)
    log.log_metrics({"a": 1.0, "b": 2.0, "epoch": 0}, 9)
    path = tmp_path / "metrics.csv"
    path.write_text(path.read_text() + "0,19,1.")
    assert len(read_metrics(tmp_path)["a"]) == 1
    resumed = MetricsFile(tmp_path)
    resumed.keep(9)
    resumed.log_metrics({"a": 5.0, "b": 6.0, "epoch": 1}, 29)
    assert [point.value for point in read_metrics(tmp_path)["a"]] == [1.0, 5.0]


def test_damage_in_what_stays_is_named_and_left_as_it_is(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,a\n0,9,1\n0,19,2,3\n")
    with pytest.raises(InputError, match=r"metrics\.csv is not readable as a table"):
        MetricsFile(tmp_path).keep(2)
    assert path.read_text().endswith("0,19,2,3\n")
    MetricsFile(tmp_path).keep(1)
    assert path.read_text() == "epoch,step,a\n0,9,1\n"


def test_best():
    points = [Point(0, 1, 0.5), Point(1, 2, 0.9), Point(2, 3, 0.9), Point(3, 4, 0.7)]
    assert best(points) == points[1]


def test_nothing_logged(tmp_path):
    assert read_metrics(tmp_path) == {}
    MetricsFile(tmp_path).keep(3)
    assert MetricsFile(tmp_path).sync() == 0
    assert not (tmp_path / "metrics.csv").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_kept_as_such(tmp_path, value):
    MetricsFile(tmp_path).log_metrics({"a": value, "epoch": 0}, 0)
    assert str(read_metrics(tmp_path)["a"][0].value) == str(value)


@pytest.mark.parametrize(
    "damage", [b"epoch,step,a\n0,x,1\n", b"epoch,step,a\n0,1,\xff\n", b"a\n1\n"]
)
def test_a_damaged_file_is_named(tmp_path, damage):
    (tmp_path / "metrics.csv").write_bytes(damage)
    with pytest.raises(InputError, match=r"metrics\.csv is not readable as a table"):
        read_metrics(tmp_path)
