"""The bytes that a process sends in a step: the formula against what is measured."""

import json
import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "experiments" / "benchmarks" / "communication.py"


@pytest.fixture(scope="module")
def benchmark():
    return runpy.run_path(str(SCRIPT))


@pytest.mark.slow
def test_what_is_measured_is_what_is_computed(benchmark, tmp_path, monkeypatch):
    processes = 3  # of two, all shares are equal
    monkeypatch.setenv("PYTHONPATH", str(SCRIPT.parents[2]))
    rows = benchmark["measure"](processes, 8, True, str(tmp_path))
    assert [row["kind"] for row in rows] == list(benchmark["KINDS"])
    for row in rows:
        computed = benchmark["bytes_sent"](row["kind"], row["setting"], processes)
        assert row["gradients"] == computed["gradients"]
        # PyTorch sends the statistics of batch norm by itself
        assert row["collectives"] == sum(computed.values()) - computed["batch norm"]
        if row["wire"] is not None:  # with the headers of gloo, TCP and IP
            assert sum(computed.values()) < row["wire"] < 1.1 * sum(computed.values())


def test_what_was_recorded_is_what_is_computed(benchmark):
    rows = json.loads(SCRIPT.with_suffix(".json").read_text())
    assert {row["processes"] for row in rows} == {1, 2, 4}
    for row in rows:
        setting = benchmark["Setting"](*row["setting"])
        computed = benchmark["bytes_sent"](row["kind"], setting, row["processes"])
        assert row["gradients"] == computed["gradients"]
        assert row["collectives"] == sum(computed.values()) - computed["batch norm"]


def test_a_single_process_sends_nothing(benchmark):
    setting = benchmark["Setting"](64, ((1, 256), (16, 256)), 10**6, 10**3, 4, 256, 10)
    for kind in benchmark["KINDS"]:
        assert sum(benchmark["bytes_sent"](kind, setting, 1).values()) == 0


def test_all_pairs_send_codes_where_a_fixed_number_of_negatives_sends_maps(benchmark):
    setting = benchmark["Setting"](64, ((1, 256), (16, 256)), 10**6, 10**3, 4, 256, 10)
    few, many = (benchmark["bytes_sent"](k, setting, 1024) for k in benchmark["KINDS"][1:])
    assert few["features"] / many["codes"] == pytest.approx(17 / 2)
