"""How far a row and seed is, read off the folders of its runs."""

import json
import sys

import pytest
import torch
from table_files import SETTINGS, note_tested, write_run, write_table

from dim_lightning.errors import InputError
from dim_lightning.run.child import Child
from dim_lightning.run.folder import alone_in
from dim_lightning.run.report import OTHER_SETTINGS
from dim_lightning.run.result import update_result
from dim_lightning.run.settings import flat_config
from dim_lightning.table.cell import Cell
from dim_lightning.table.commands import next_run, words_of
from dim_lightning.table.definition import read_table
from dim_lightning.table.runner import Runner
from dim_lightning.table.runs import (
    State,
    check_devices,
    figures_of,
    is_of,
    missing_of,
    state_of,
)
from dim_lightning.table.transfers import Transfer

TESTED = {"probe/mlp200/y/top1": 0.5}


@pytest.fixture
def cell(tmp_path):
    row = read_table(write_table(tmp_path)).rows[0]
    return Cell(row, 0, tmp_path / "runs", SETTINGS)


def state(cell, read=flat_config):
    return state_of(cell, read)


def test_the_way_of_a_run(cell):
    assert state(cell)[:3] == (None, "fit", "not run")
    run = write_run(cell, status="interrupted", epochs=3)
    assert state(cell)[:3] == (run, "resume", "interrupted after epoch 3 of 4")
    (run / "result.json").unlink()
    assert state(cell)[:3] == (run, "resume", "interrupted after epoch 3 of 4")
    (run / "metrics.csv").unlink()
    assert state(cell)[:3] == (run, "resume", "interrupted after epoch 0 of 4")
    done = write_run(cell, 2)
    assert state(cell)[:3] == (done, "test", "trained, not tested")
    tested = write_run(cell, 3, figures=TESTED)
    assert state(cell) == State(tested, "", "done")


def test_a_failed_run_says_why(cell):
    write_run(cell, status="failed", epochs=1)
    assert state(cell).missing == "resume"
    assert state(cell).text == "failed after epoch 1 of 4: no more luck"


def test_a_run_at_work_is_running(cell):
    run = write_run(cell, status="running", epochs=2)
    child = Child(cell.folder)
    child.start(["sleep", "60"])
    try:
        assert state(cell)[:3] == (run, "resume", "running: epoch 3 of 4")
    finally:
        child.end()
        while child.running():
            pass
    assert state(cell).text == "interrupted after epoch 2 of 4"


def test_a_run_whose_command_was_given_by_hand_is_running_too(cell):
    """As of commands that --dry has printed, one a job."""
    run = write_run(cell, status="running", epochs=2)
    with alone_in(run):
        found = state(cell)
        assert found[:3] == (run, "resume", "running: epoch 3 of 4")
        assert found.is_running
    assert not state(cell).is_running


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A program that ends well, for each command of a table."""
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))


@pytest.mark.usefixtures("stand_in")
def test_a_table_that_cannot_be_written_ends_no_training(cell):
    told, left = [], [0, 1]

    def renew(_):
        raise InputError("the disk is full")

    def look(_):
        return State(None, "fit", "not run") if left.pop() else State(None, "", "done")

    Runner([cell], 1, look, told.append, renew).run()
    assert left == []
    assert sum("the table is not renewed: the disk is full" in line for line in told) == 1


@pytest.mark.usefixtures("stand_in")
def test_what_ended_without_counting_says_why(cell):
    outdated = ("runs/1 does not count: model.lr is 0.1 now, 0.2 then",)
    runner = Runner(
        [cell], 1, lambda _: State(None, "fit", "not run", outdated), lambda _: None, lambda _: None
    )
    runner.run()
    (said,) = runner.failures.values()
    assert "model.lr is 0.1 now, 0.2 then; if code or a configuration was changed since" in said


def test_a_run_found_at_work_keeps_its_gpu(cell, tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    program = tmp_path / "python"
    program.write_text('#!/bin/sh\necho "$CUDA_VISIBLE_DEVICES"\n')
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    cells = [cell, cell._replace(seed=1)]
    cell.folder.mkdir(parents=True)
    child = Child(cell.folder, [0])
    child.start(["sleep", "60"], at_once=2)

    def tell(line):
        if "python -m" in line:
            child.end()

    Runner(cells, 2, lambda _: State(None, "fit", "not run"), tell, lambda _: None).run()
    assert (cells[1].folder / "output.txt").read_text() == "0\n"
    assert not child.running()


def test_changed_settings_make_a_run_not_count(cell):
    write_run(cell, figures=TESTED, **{"model.lr": 0.2})
    found = state(cell)
    assert (found.run, found.missing) == (None, "fit")
    assert len(found.outdated) == 1
    assert (
        "does not count for DIM(L) JSD, seed 0: model.lr is 0.1 now, 0.2 then" in found.outdated[0]
    )
    assert next_run(cell) == cell.folder / "2"


def test_a_run_whose_pictures_were_moved_says_how_it_counts(cell):
    path = "data.source.init_args.path"
    cell = cell._replace(settings={**SETTINGS, path: "moved"})
    known = {"pictures": {"train": 9, "sha256": "a"}}
    write_run(cell, figures=TESTED, **{path: "pics"})  # of which pictures is not known
    write_run(cell, 2, figures=TESTED, environment=known, **{path: "pics", "model.lr": 0.2})
    run = write_run(cell, 3, figures=TESTED, environment=known, **{path: "pics"})
    assert state(cell).may_count
    how = f"moved, it counts after python -m dim_lightning fit --resume {run} --{path}=moved"
    assert [how in reason for reason in state(cell).outdated] == [False, False, True]
    labels = "data.source.init_args.labels"
    cell = cell._replace(settings={**cell.settings, labels: "moved.csv"})
    both = write_run(cell, 4, figures=TESTED, environment=known, **{path: "pics", labels: "a.csv"})
    how = f"--resume {both} --{labels}=moved.csv --{path}=moved"
    assert [how in reason for reason in state(cell).outdated] == [False, False, False, True]
    assert "only moved" not in state(cell).outdated[2]  # it had no labels
    (both / "checkpoints").rmdir()
    assert "only moved" not in state(cell).outdated[3]


def test_where_a_run_trained_and_who_watched_does_not_matter(cell):
    other = {"data.root": "/else", "trainer.accelerator": "gpu", "probe.learning_rate": 1.0}
    other["trainer.precision"] = "32-true"  # it had no bfloat16
    write_run(cell, figures=TESTED, **other, experiment="y")
    assert state(cell).text == "done"


def test_a_precision_that_the_file_asks_for_counts_and_one_of_the_command_line_does_not(tmp_path):
    """What does not count for a run is not told of it either."""
    asked = {"trainer.precision": "bf16-mixed"}
    path = write_table(tmp_path, overrides=asked)
    written, given = read_table(path), read_table(path, {"trainer.precision": "32-true"})
    fixed = {"name": "a", "config": "dim.yaml", "fixed": asked}
    row = read_table(write_table(tmp_path, rows=[fixed]), {"trainer.precision": "32-true"}).rows[0]
    assert written.overrides == written.rows[0].kept == asked
    assert given.overrides == given.rows[0].kept == {}
    assert given.rows[0].overrides == {"trainer.precision": "32-true"}
    for row_, precision, counts in (
        (written.rows[0], None, False),
        (written.rows[0], "bf16-mixed", True),
        (given.rows[0], "bf16-mixed", True),
        (row, None, False),
    ):
        runs = tmp_path / f"{id(row_)}" / str(precision)
        settings = {**SETTINGS, "trainer.precision": row_.overrides["trainer.precision"]}
        cell = Cell(row_, 0, runs, settings)
        write_run(cell, figures=TESTED, **{"trainer.precision": precision})
        assert (state(cell).text == "done") == counts
    assert "trainer.precision is bf16-mixed now, 32-true then" in state(cell).outdated[0]


def test_what_a_run_was_too_early_to_know_of_arithmetic_has_its_default(tmp_path):
    asked = {"trainer.precision": "32-true", "matmul_precision": "highest"}
    row = read_table(write_table(tmp_path, overrides=asked)).rows[0]
    cell = Cell(row, 0, tmp_path / "runs", SETTINGS)
    run = write_run(cell)
    assert is_of(cell._replace(settings=SETTINGS | asked), run, flat_config)
    asked["matmul_precision"] = "high"
    assert not is_of(cell._replace(settings=SETTINGS | asked), run, flat_config)


@pytest.mark.parametrize(
    ("batch_size", "devices", "num_nodes", "counts"),
    [
        (64, "auto", 1, True),  # of runs from before there was another default
        (16, 4, 1, True),
        (16, 2, 2, True),
        (32, "0,1", 1, True),
        (32, [0, 3], 1, True),
        (64, 8, 1, False),
        (32, 1, 1, False),
    ],
)
def test_the_joint_batch_counts_and_not_on_how_many_processes(
    cell, batch_size, devices, num_nodes, counts
):
    place = {"trainer.devices": devices, "trainer.num_nodes": num_nodes}
    run = write_run(cell, figures=TESTED, **place, **{"data.batch_size": batch_size})
    asked = {"data.batch_size": 64, "trainer.devices": 1, "trainer.num_nodes": 1}
    cell = cell._replace(settings={**SETTINGS, **asked})
    assert state(cell).run == (run if counts else None)
    assert is_of(cell, run, flat_config) == counts
    if not counts:
        said = "data.batch_size x trainer.devices x trainer.num_nodes is 64 now"
        assert said in state(cell).outdated[0]


def test_the_joint_batch_of_a_run_is_the_one_that_was_kept(cell):
    asked = {"data.batch_size": 64, "trainer.devices": 1, "trainer.num_nodes": 1}
    cell = cell._replace(settings={**SETTINGS, **asked})
    run = write_run(
        cell, environment={"joint_batch_size": 128}, figures=TESTED, **{"trainer.devices": "auto"}
    )
    assert "x trainer.num_nodes is 64 now, 128 then" in state(cell).outdated[0]
    (run / "environment.json").write_text('{"joint_batch_size": 64}')
    assert state(cell).text == "done"
    check_devices(cell.settings)
    for devices in ("auto", -1):
        with pytest.raises(InputError, match=f"trainer.devices is {devices}; expected a number"):
            check_devices({**cell.settings, "trainer.devices": devices})


def test_settings_that_came_later_have_their_defaults(cell):
    run = write_run(cell, figures=TESTED)
    newer = cell._replace(settings={**SETTINGS, "model.new": None, "evaluation.new": 3})
    assert state(newer, lambda run: {**flat_config(run), "model.new": None}).run == run
    assert state(newer).outdated == () or state(newer).run == run
    changed = cell._replace(settings={**SETTINGS, "model.new": 1})
    assert state(changed, lambda run: {**flat_config(run), "model.new": None}).run is None


def test_a_run_with_settings_that_are_gone_does_not_count(cell):
    def read(run):
        raise InputError("unknown key model.old")

    write_run(cell, figures=TESTED, **{"model.old": 1})
    assert state(cell, read).run is None
    assert "unknown key model.old" in state(cell, read).outdated[0]


@pytest.mark.parametrize(
    ("setting", "strange"),
    [
        ({"method": "runs.a.9.evil.Own"}, "runs.a.9.evil.Own"),
        ({"trainer.callbacks": [{"class_path": "evil.Callback"}]}, "evil.Callback"),
        ({"trainer.logger.class_path": "evil.Logger"}, "evil.Logger"),
        ({"model.critic": "{class_path: evil.Net}"}, "evil.Net"),
        ({"data.root": "not.code", "data.source.init_args.path": "photos.v2"}, ""),
        ({"model.estimator": "dim_lightning.infomax.estimators.smile"}, ""),
        ({"model.encoder": "mine.make"}, ""),  # the table names it, too
    ],
)
def test_code_of_others_is_not_run_to_look_at_their_settings(cell, setting, strange):
    def read(run):
        assert not strange
        raise InputError("it was read")

    mine = {**cell.settings, "model.critic": "mine.make"}
    write_run(cell, figures=TESTED, **setting)
    (note,) = state(cell._replace(settings=mine), read).outdated
    assert (f"names code that the table does not: {strange}" if strange else "was read") in note


def test_another_evaluation_asks_for_another_test_only(cell):
    run = write_run(cell, figures=TESTED)
    other = cell._replace(settings={**SETTINGS, "evaluation.mlp_epochs": 5})
    assert state(other)[:2] == (run, "test")
    note_tested(other, run)
    assert state(other).text == "done"
    assert state(cell).missing == "test"


def test_a_test_by_hand_with_other_settings_is_no_test_of_the_table(cell):
    run = write_run(cell, figures=TESTED)
    assert state(cell).text == "done"  # early tests did not note their settings
    note_tested(cell._replace(settings={**SETTINGS, "evaluation.mlp_epochs": 1}), run)
    assert state(cell).missing == "test"


def test_a_test_on_another_data_set_is_missing_until_it_is_of_that_one(cell):
    source = {"data.source.class_path": "CIFAR3"}
    other = cell._replace(transfers={"cifar3": Transfer({"data.source": "CIFAR3"}, source)})
    run = write_run(other, status="interrupted", epochs=3)
    assert missing_of(other, run) == ["resume", "test", "transfer/cifar3"]
    assert missing_of(other, None) == ["fit", "test", "transfer/cifar3"]
    run = write_run(other, 2, figures=TESTED)
    assert state(cell).text == "done"
    assert state(other)[:3] == (run, "transfer/cifar3", "not tested on cifar3")
    assert state(other).is_tested
    words = words_of(other, "transfer/cifar3", run)
    assert words[:3] == ["test", "--run", str(run)]
    assert words[-2:] == ["--data.source=CIFAR3", "--evaluation.transfer=cifar3"]
    tested = {**TESTED, "epochs_trained": 4, "settings": {"mlp_epochs": 30}}
    update_result(run, "transfer/cifar3", tested)
    assert state(other)[1:3] == ("", "done")
    update_result(run, "transfer/cifar3", {"source": {"class_path": "CIFAR4"}})
    assert state(other).missing == "transfer/cifar3"
    on_cifar3 = "transfer/cifar3/probe/mlp200/y/top1"
    assert on_cifar3 not in figures_of(other, run)
    (run / "checkpoints").rmdir()
    assert state(other)[:3] == (run, "", "done, but not tested on cifar3: no checkpoints")
    (run / "checkpoints").mkdir()
    update_result(run, "transfer/cifar3", {"source": {"class_path": "CIFAR3"}})
    assert state(other).text == "done"
    assert on_cifar3 in figures_of(other, run)
    size = "data.image_size"  # that of the run, unless it is another for this data set
    larger = Transfer({"data.source": "CIFAR3", size: 64}, source)
    update_result(run, "transfer/cifar3", {"image_size": 64})
    sized = other._replace(settings={**other.settings, size: 32})
    assert missing_of(sized, run) == ["transfer/cifar3"]
    assert missing_of(sized._replace(transfers={"cifar3": larger}), run) == []
    update_result(run, "transfer/cifar3", {"settings": {"mlp_epochs": 1}})
    assert state(other).missing == "transfer/cifar3"
    update_result(run, "transfer/cifar3", {"epochs_trained": 3})
    assert missing_of(other, run) == ["transfer/cifar3"]


def test_a_test_that_measured_more_counts_as_well(cell):
    run = write_run(cell, figures=TESTED)
    more = cell._replace(settings={**SETTINGS, "evaluation.svm": True, "evaluation.floors": True})
    note_tested(more, run)
    fewer = {"evaluation.svm": False, "evaluation.floors": True}
    assert state(cell._replace(settings={**SETTINGS, **fewer})).text == "done"
    assert state(cell._replace(settings={**SETTINGS, "evaluation.mlp_epochs": 0})).text == "done"
    assert state(cell._replace(settings={**SETTINGS, "evaluation.mlp_epochs": 5})).missing == "test"
    note_tested(cell._replace(settings={**SETTINGS, **fewer}), run)
    assert state(more).missing == "test"


def test_how_a_probe_is_fitted_that_is_not_asked_for_plays_no_part(cell):
    run = write_run(cell, figures=TESTED)
    tested = {"evaluation.mlp_protocol": "paper", "evaluation.repeats": 3}
    note_tested(cell._replace(settings={**SETTINGS, **tested}), run)
    usual = {"evaluation.mlp_protocol": "short", "evaluation.repeats": 1}
    wanted = cell._replace(settings={**SETTINGS, **usual})
    assert state(wanted).missing == "test"
    without = {**SETTINGS, **usual, "evaluation.mlp_epochs": 0}
    assert state(cell._replace(settings=without)).text == "done"


def test_a_test_of_images_of_another_size_is_no_test_of_the_table(cell):
    write_run(cell, figures=TESTED | {"image_size": 48})
    wanted = cell._replace(settings={**SETTINGS, "data.image_size": 32})
    assert state(wanted).missing == "fit"  # the run as well is of another size
    same = write_run(wanted, 2, figures=TESTED | {"image_size": 48}, **{"data.image_size": 32})
    assert state(wanted)[:2] == (same, "test")


def test_a_test_by_hand_of_a_part_of_the_images_is_no_test_of_the_table(cell):
    run = write_run(cell, figures=TESTED)
    update_result(run, "test", {OTHER_SETTINGS: "data.image_size is 8 now, 4 then"})
    assert state(cell).text == "done"
    update_result(run, "test", {OTHER_SETTINGS: "trainer.limit_test_batches is 2 now, 1.0 then"})
    assert state(cell)[:2] == (run, "test")


@pytest.mark.parametrize(
    ("setting", "stored", "asked", "counts"),
    [
        ("linear_dim", 4096, 1024, True),
        ("linear_dim", None, 1024, True),
        ("linear_dim", 1024, 4096, False),
        ("linear_dim", 1024, None, False),
        ("few_labels", [0.01, 0.1], [0.1], True),
        ("few_labels", [0.1], [], True),
        ("few_labels", [0.1], [0.01], False),
        ("few_labels", [], [0.1], False),
    ],
)
def test_a_test_of_larger_layers_or_of_more_shares_of_labels_counts_as_well(
    cell, setting, stored, asked, counts
):
    run = write_run(cell, figures=TESTED)
    tested, wanted = (
        cell._replace(settings={**SETTINGS, f"evaluation.{setting}": value})
        for value in (stored, asked)
    )
    note_tested(tested, run)
    assert (state(wanted).text == "done") == counts


@pytest.mark.parametrize(("few", "counts"), [([], True), ([0.1], False)])
def test_the_number_of_draws_counts_without_other_probes_too(cell, few, counts):
    run = write_run(cell, figures=TESTED)
    asked = {**SETTINGS, "evaluation.mlp_epochs": 0, "evaluation.few_labels": few}
    note_tested(cell._replace(settings={**asked, "evaluation.repeats": 1}), run)
    wanted = cell._replace(settings={**asked, "evaluation.repeats": 5})
    assert (state(wanted).text == "done") == counts


def test_a_run_that_went_on_after_its_test_is_tested_again(cell):
    run = write_run(cell, figures=TESTED)
    result = json.loads((run / "result.json").read_text())
    for counts in ({"epochs_trained": 2}, {"epochs_trained": 4, "steps_trained": 35}):
        test, fit = result["test"] | counts, result["fit"] | {"steps": 40}
        (run / "result.json").write_text(json.dumps({"fit": fit, "test": test}))
        assert state(cell).missing == "test"


def test_figures_of_other_data_sets_have_names_of_their_own(cell):
    run = write_run(cell, figures=TESTED)
    update_result(run, "transfer/cifar3", {"probe/linear/y/top1": 0.4})
    assert figures_of(cell, run)["transfer/cifar3/probe/linear/y/top1"] == 0.4
    assert figures_of(cell, run)["probe/mlp200/y/top1"] == 0.5
    assert "probe/linear/y/top1" not in figures_of(cell, run)


def test_a_run_that_was_tested_on_other_pictures_is_not_tested(cell):
    others = "there were 9 pictures and are 12 pictures"
    run = write_run(cell, figures={**TESTED, "other_pictures": others})
    assert state(cell)[:3] == (run, "test", f"tested on other pictures: {others}")
    (run / "checkpoints").rmdir()
    assert f"another test: it is tested on other pictures: {others}" in state(cell).outdated[0]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("config.yaml", "a: [", "config.yaml cannot be read as YAML: line 1"),
        ("config.yaml", "- a\n", "config.yaml holds no settings; expected the settings of a run"),
        ("environment.json", '{"started": "20', "environment.json is not readable as JSON"),
        ("environment.json", "[]", "environment.json holds []; expected names and values"),
        ("result.json", '{"fit": {', "result.json is not readable as JSON"),
        ("result.json", '{"fit": null}', "result.json holds {'fit': None}; expected sections"),
    ],
)
def test_a_damaged_run_does_not_count_and_is_named(cell, name, content, said):
    run = write_run(cell, figures=TESTED)
    (run / name).write_text(content)
    found = state(cell)
    assert (found.run, found.missing) == (None, "fit")
    assert f"{run} does not count for {cell}: {run / said}" in found.outdated[0]
    assert is_of(cell, run, flat_config) == (name == "result.json")


def test_the_commands(cell):
    overrides = {"data.root": "d", "model.lr": 0.1, "evaluation.floors": False, "model.x": None}
    cell = cell._replace(row=cell.row._replace(overrides=overrides))
    config, runs = cell.row.config, cell.runs_dir
    assert words_of(cell, "fit", None) == [
        *("fit", "--config", str(config), "--data.root=d", "--model.lr=0.1"),
        *("--evaluation.floors=false", "--model.x=null", "--seed_everything=0"),
        *(f"--runs_dir={runs}", "--experiment=dim_l_jsd/seed0"),
    ]
    run = runs / "1"
    assert words_of(cell, "resume", run) == ["fit", "--resume", str(run), "--data.root=d"]
    tested = ["test", "--run", str(run), "--data.root=d", "--evaluation.floors=false"]
    assert words_of(cell, "test", run) == tested
    together = {"trainer.devices": 4, "data.batch_size": 16}
    cell = cell._replace(row=cell.row._replace(overrides=together))
    words = ["--trainer.devices=4", "--data.batch_size=16"]
    assert words_of(cell, "resume", run) == ["fit", "--resume", str(run), *words]


def test_an_evaluation_that_was_changed_in_the_configuration_reaches_the_test(cell):
    run = write_run(cell, figures=TESTED)
    edited = cell._replace(settings={**SETTINGS, "evaluation.mlp_epochs": 5})
    assert state(edited).missing == "test"
    assert words_of(edited, "test", run) == ["test", "--run", str(run), "--evaluation.mlp_epochs=5"]
    assert words_of(cell, "test", run) == ["test", "--run", str(run)]
