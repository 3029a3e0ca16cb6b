"""What experiments/record.py keeps of the runs of a table."""

import importlib.util
import json
from pathlib import Path

import pytest
from table_files import SETTINGS, note_tested, write_run, write_table

from dim_lightning.run.metrics import Point, read_metrics
from dim_lightning.run.settings import flat_config
from dim_lightning.table.cell import Cell
from dim_lightning.table.definition import read_table
from dim_lightning.table.figures import lines_of
from dim_lightning.table.runs import State, state_of

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
    assert found[0][1] == State(copy, "", "done")
    line = lines_of(table, found, {})[0]
    assert (line.figures[0].values, line.epochs, line.seconds) == ((50.0,), (4,), 240.0)
    assert line.commits == ("0123456789",)
    changed = {**SETTINGS, "model.lr": 0.2}
    assert state_of(elsewhere._replace(settings=changed), flat_config).missing == "fit"
    longer = {**SETTINGS, "evaluation.mlp_epochs": 100}
    open_again = state_of(elsewhere._replace(settings=longer), flat_config)
    assert (open_again.run, open_again.missing) == (None, "fit")
    said = (
        "it has no checkpoints, and the table asks for another test: evaluation.mlp_epochs is 100"
    )
    assert said in open_again.outdated[0]


def test_no_folder_of_the_machine_is_kept(cell, tmp_path):
    places = {"experiment": cell.experiment, "data.root": "/mine/data", "data.cache_dir": "/mine"}
    run = write_run(cell, figures={}, runs_dir="/mine/runs", **places)
    environment = json.loads((run / "environment.json").read_text())
    environment |= {"command": "fit /mine", "resumed": [{"command": "fit --resume /mine"}]}
    (run / "environment.json").write_text(json.dumps(environment))
    copy = record.keep(run, tmp_path / "records")
    assert not any("mine" in path.read_text() for path in copy.iterdir())


def test_the_curves_of_a_run_are_kept_without_its_steps(cell, tmp_path):
    run = write_run(cell, figures={}, experiment=cell.experiment)
    (run / "metrics.csv").write_text(
        "epoch,step,probe/online/top1,train/loss\n0,1,,9.5\n0,2,0.25,\n1,3,,9.25\n1,4,0.5,\n"
    )
    copy = record.keep(run, tmp_path / "records")
    assert read_metrics(copy) == {"probe/online/top1": [Point(0, 2, 0.25), Point(1, 4, 0.5)]}
    (run / "metrics.csv").unlink()
    assert record.keep(run, tmp_path / "records") == copy


def test_a_run_of_no_table_has_a_place_in_the_results_alone(cell, tmp_path):
    run = write_run(cell, figures={}, experiment="blog")
    assert record.keep(run, tmp_path / "records") is None
    assert not (tmp_path / "records").exists()


def test_a_row_renamed_since_is_kept_by_its_new_name(cell, tmp_path):
    run = write_run(cell, figures={}, experiment=cell.experiment)
    renamed = run.parents[1].rename(run.parents[2] / "better") / "seed0" / "1"
    copy = record.keep(renamed, tmp_path / "records")
    assert copy == tmp_path / "records" / "small" / "better" / "seed0" / "1"
    assert flat_config(copy)["experiment"] == "better/seed0"


def test_another_run_of_the_same_number_is_kept_beside_and_the_same_one_in_its_place(
    cell, tmp_path
):
    records = tmp_path / "records"
    kept = []
    for machine in ("here", "there"):
        own = cell._replace(runs_dir=tmp_path / machine / "small")
        started = {"started": machine}
        run = write_run(own, figures={}, environment=started, experiment=cell.experiment)
        kept.append(record.keep(run, records))
    assert [copy.name for copy in kept] == ["1", "2"]
    assert record.keep(run, records) == kept[1]
