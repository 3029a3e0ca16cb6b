"""What experiments/record.py keeps of the runs of a table."""

import importlib.util
import json
from pathlib import Path

import pytest
from table_files import SETTINGS, write_run, write_table

from dim_lightning.run.settings import flat_config
from dim_lightning.table.definition import read_table
from dim_lightning.table.figures import commits, lines_of
from dim_lightning.table.runs import Cell, note_tested, state_of

PATH = Path(__file__).parents[2] / "experiments" / "record.py"
spec = importlib.util.spec_from_file_location("record", PATH)
record = importlib.util.module_from_spec(spec)
spec.loader.exec_module(record)


@pytest.fixture
def table(tmp_path):
    return read_table(write_table(tmp_path))


@pytest.fixture
def cell(table, tmp_path):
    return Cell(table.rows[0], 0, tmp_path / "mine" / "small", SETTINGS)


def test_what_is_kept_of_a_run_counts_as_the_run_where_it_is_copied_to(cell, table, tmp_path):
    figures = {"probe/mlp200/y/top1": 0.5}
    run = write_run(cell, figures=figures, experiment=cell.experiment)
    note_tested(cell, run)
    copy = record.keep(run, tmp_path / "records")
    assert copy == tmp_path / "records" / "small" / cell.experiment / "1"
    elsewhere = cell._replace(runs_dir=tmp_path / "records" / "small")
    found = [(elsewhere, state_of(elsewhere, flat_config))]
    assert found[0][1] == (copy, "", "done", ())
    line = lines_of(table, found, {})[0]
    assert (line.figures[0].values, line.epochs, line.seconds) == ((50.0,), (4,), 240.0)
    assert commits(found) == ["0123456789"]
    changed = {**SETTINGS, "model.lr": 0.2}
    assert state_of(elsewhere._replace(settings=changed), flat_config).missing == "fit"
    longer = {**SETTINGS, "evaluation.mlp_epochs": 100}
    open_again = state_of(elsewhere._replace(settings=longer), flat_config)
    assert (open_again.run, open_again.missing) == (None, "fit")
    assert "it has no checkpoints" in open_again.outdated[0]


def test_no_folder_of_the_machine_is_kept(cell, tmp_path):
    places = {"experiment": cell.experiment, "data.root": "/mine/data", "data.cache_dir": "/mine"}
    run = write_run(cell, figures={}, runs_dir="/mine/runs", **places)
    environment = json.loads((run / "environment.json").read_text())
    environment |= {"command": "fit /mine", "resumed": [{"command": "fit --resume /mine"}]}
    (run / "environment.json").write_text(json.dumps(environment))
    copy = record.keep(run, tmp_path / "records")
    assert not any("mine" in path.read_text() for path in copy.iterdir())


def test_a_run_of_no_table_has_a_place_in_the_results_alone(cell, tmp_path):
    run = write_run(cell, figures={}, experiment="blog")
    assert record.keep(run, tmp_path / "records") is None
    assert not (tmp_path / "records").exists()
