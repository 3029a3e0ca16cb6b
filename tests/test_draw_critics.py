"""The figure of what the critics cost, from the table file that it is of."""

import csv
import json
import runpy
from pathlib import Path

import pytest

from dim_lightning.table.definition import read_table
from dim_lightning.table.report import COLUMNS

PAPER = Path(__file__).parent.parent / "experiments" / "paper"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(PAPER / "draw_critics.py"))


def written(path, names):
    """table.csv with the named rows done: each is 1 % better."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        for row in read_table(PAPER / "critics.yaml").rows:
            number = names.index(row.name) + 1 if row.name in names else None
            for heading in ("conv", "Y"):
                done = {} if number is None else {"mean": 50 + number}
                writer.writerow({"row": row.name, "heading": heading, **done})
    return path


def speeds(path, names):
    """Of the named rows: the n-th takes n milliseconds an image."""
    rows = {name: {"images_per_second": 1000 / n} for n, name in enumerate(names, 1)}
    path.write_text(json.dumps({"rows": rows}))
    return path


def test_each_row_of_the_table_is_a_point(script, tmp_path):
    names = [row.name for row in read_table(PAPER / "critics.yaml").rows]
    with written(tmp_path / "table.csv", names).open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["heading"] == "Y"]
    found = script["points"](rows, {name: n for n, name in enumerate(names, 1)})
    start = (512, 1.0, 51.0)
    assert found["local critic"] == [(64, 2.0, 52.0), start, (2048, 3.0, 53.0)]
    assert found["global critic"] == [(64, 4.0, 54.0), start, (2048, 5.0, 55.0)]
    assert [n for n, *_ in found["location"]] == [1, 4, 16, 64]


def test_the_figure_of_what_is_done(script, tmp_path):
    names = [script["START"], "1 location"]
    table = written(tmp_path / "table.csv", names)
    measured = speeds(tmp_path / "speed.json", names)
    assert script["draw"](table, measured).startswith(b"\x89PNG")


def test_a_row_whose_speed_was_not_measured_is_named(script, tmp_path):
    names = [script["START"], "1 location"]
    table = written(tmp_path / "table.csv", names)
    measured = speeds(tmp_path / "speed.json", names[:1])
    with pytest.raises(SystemExit, match="has no speed of 1 location; measure it anew"):
        script["draw"](table, measured)


def test_nothing_to_draw(script, tmp_path):
    table = written(tmp_path / "table.csv", ["1 location"])
    with pytest.raises(SystemExit, match="have to be done before drawing"):
        script["draw"](table, speeds(tmp_path / "speed.json", ["1 location"]))
