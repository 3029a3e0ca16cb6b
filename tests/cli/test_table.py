"""`table`: from its file to its page by real runs of seconds, and what stops it before."""

import csv
import json
import re
import shlex
import shutil
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import forked
import pytest
import yaml
from forked import Forked
from PIL import Image

from dim_lightning.cli import main
from dim_lightning.cli.resolved import Resolved
from dim_lightning.run.child import is_at_work
from dim_lightning.run.metrics import read_metrics

MLP = "probe/mlp200/embedding/top1"
KNN = "knn/cosine/k20_t0.07/embedding/top1"
TABLE = {
    "title": "Digits",
    "overrides": {
        "trainer.limit_train_batches": 1,
        "evaluation.floors": False,
        "evaluation.mlp_epochs": 1,
    },
    "columns": {MLP: "MLP", KNN: "kNN"},
    "rows": [
        {"name": "both terms", "config": "tiny.yaml", "paper": {"MLP": 50.0}},
        {
            "name": "local only",
            "config": "tiny.yaml",
            "overrides": {"model.global_weight": 0, "evaluation.floors": True},
        },
        {"name": "raw pixels", "floor": "pixels"},
    ],
}


class Bench:
    """A table file beside the tiny configuration, and its runs."""

    def __init__(self, workshop, name):
        self.runs = workshop.folder / "tables" / name
        self.workshop = workshop
        self.name = name

    def write(self, **changes):
        content = {**TABLE, **changes, "name": self.name}
        self.file = self.workshop.write(
            f"{self.name}.yaml", yaml.safe_dump(content, sort_keys=False)
        )
        return self

    def words(self, *words):
        places = ["--runs_dir", str(self.runs.parent), "--set", f"data.root={self.runs}/data"]
        return ["table", self.file, *places, *words]

    def table(self, *words):
        return main(self.words(*words))

    def rows(self):
        with (self.runs / "table.csv").open() as file:
            return list(csv.DictReader(file))

    def states(self):
        return {row["row"]: row["state"] for row in self.rows()}


@pytest.fixture
def bench(workshop, request):
    return Bench(workshop, re.sub(r"\W", "_", request.node.name)).write()


def refused(bench, capsys, *words):
    assert bench.table(*words) == 2
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in said
    assert not bench.runs.exists()
    return said


def test_rows_are_parsed_before_anything_runs(bench, capsys):
    rows = [TABLE["rows"][0] | {"overrides": {"model.local_wieght": 1}}]
    said = refused(bench.write(rows=rows), capsys)
    assert "row both terms" in said
    assert "did you mean model.local_weight?" in said


def test_rows_are_built_before_anything_runs(bench, capsys):
    rows = [TABLE["rows"][0] | {"overrides": {"data.image_size": 1}}]
    said = refused(bench.write(rows=rows), capsys)
    assert "row both terms" in said
    assert "too small" in said


def test_a_floor_of_rows_that_differ_has_to_say_whose_it_is(bench, capsys):
    wider = {"model.encoder.init_args.embedding_dim": 16, "evaluation.floors": True}
    rows = [TABLE["rows"][1], {"name": "wider", "config": "tiny.yaml", "overrides": wider}]
    floor = {"name": "untrained", "floor": "random"}
    said = refused(bench.write(rows=[*rows, floor]), capsys)
    assert "row untrained: local only and wider have other floors: " in said
    assert "model.encoder.init_args.embedding_dim is 8 in the first and 16 in the second" in said
    assert bench.write(rows=[*rows, floor | {"of": "wider"}]).table("--report") == 0


def test_layers_that_no_row_has(bench, capsys):
    bench.write(columns={"probe/mlp200/z/top1": "MLP"}, rows=TABLE["rows"][1:])
    said = refused(bench, capsys)
    assert "no row's encoder has the layer 'z'; expected one of conv, embedding" in said


def test_a_layer_of_another_row_may_be_to_come(bench, capsys):
    encoder = {"class_path": "StridedEncoder", "init_args": {"widths": [4, 8]}}
    strided = {"model.encoder": encoder, "model.prior_weight": 0}
    rows = [*TABLE["rows"], {"name": "strided", "config": "tiny.yaml", "overrides": strided}]
    bench.write(columns={"probe/mlp200/quarters/top1": "quarters", MLP: "MLP"}, rows=rows)
    for words in ([], ["--only", "both_terms"], ["--only", "strided"]):
        assert bench.table("--dry", *words) == 0, words


def test_accuracies_of_pictures_without_labels(bench, tmp_path, capsys):
    for number in range(64):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number}.png")
    source = f"data.source={{class_path: PictureFolder, init_args: {{path: {tmp_path}}}}}"
    said = refused(bench, capsys, "--set", source, "--set", f"data.root={tmp_path}")
    assert f"columns.{MLP}: the pictures of no row have labels" in said
    assert "columns such as mine/code/nats" in said  # what a test without labels calls it


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--only", "both_term"], "did you mean both_terms?"),
        (["--set", "seed_everything=1"], "--set: seed_everything is what the table itself decides"),
        (["--set", "model.local_weight"], "expected key=value"),
        (["--jobs", "0"], "--jobs is 0; expected at least 1"),
        (["--seeds", "1,1"], "--seeds is [1, 1], which has a seed twice"),
        (["--seeds", "a"], "expected whole numbers such as 0,1, not a; see `table --help`"),
    ],
)
def test_options_that_cannot_be(bench, capsys, words, said):
    assert said in refused(bench, capsys, *words)


def test_dry_says_what_would_be_run_and_does_not(bench, capsys):
    assert bench.table("--dry", "--seeds", "3,4", "--only", "local_only") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "# local only, seed 3: not run"
    fit, test = (shlex.split(line)[3:] for line in lines[1:3])
    assert fit[:3] == ["fit", "--config", str(bench.workshop.folder / "tiny.yaml")]
    assert "--model.global_weight=0" in fit
    assert "--seed_everything=3" in fit
    assert test[:3] == ["test", "--run", str(bench.runs / "local_only" / "seed3" / "1")]
    assert len(lines) == 6
    assert not bench.runs.exists()


def write_runs(bench, capsys, *words, figures=None):
    """The runs that `table` would make, as `fit` leaves them, or, with figures by seed, `test`."""
    assert bench.table("--dry", *words) == 0
    for line in capsys.readouterr().out.splitlines():
        fit = shlex.split(line)[3:]
        if fit[:1] == ["fit"]:
            settings = Resolved(fit).settings
            run = bench.runs / settings["experiment"] / "1"
            (run / "checkpoints").mkdir(parents=True)
            (run / "config.yaml").write_text(yaml.safe_dump(settings))
            result = {"fit": {"status": "completed", "epochs": 1, "seconds": 1.0}}
            if figures:
                figure = figures[settings["seed_everything"]]
                result["test"] = {"epochs_trained": 1, MLP: figure, KNN: 0.5}
            (run / "result.json").write_text(json.dumps(result))


@pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning")
def test_runs_of_every_seed_count(bench, capsys):
    words = ["--seeds", "3,4", "--only", "local_only"]
    write_runs(bench, capsys, *words)
    assert bench.table("--dry", *words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith("python")] == [
        f"# local only, seed {seed}: trained, not tested" for seed in (3, 4)
    ]


@pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning")
def test_the_table_shows_all_rows_and_seeds_whatever_is_to_be_run(bench, capsys):
    bench.write(seeds=[0, 1])
    write_runs(bench, capsys, "--seeds", "5,0,1", figures={0: 0.25, 1: 0.75, 5: 0.5})
    shutil.rmtree(bench.runs / "local_only" / "seed1")
    untested = bench.runs / "local_only" / "seed5" / "1" / "result.json"
    untested.write_text('{"fit": {"status": "completed", "epochs": 1}}')

    def shown():
        names = ("values", "seeds_done", "seeds", "state")
        rows = [row for row in bench.rows() if row["figure"] == MLP]
        return [tuple(row[name] for name in names) for row in rows[:2]]

    both = ("25;75;50", "3", "3", "done")
    assert bench.table("--only", "local_only", "--seeds", "0") == 0  # which there is already
    assert shown() == [both, ("25", "1", "3", "1 of 3 seeds; trained, not tested")]
    assert bench.table("--report", "--only", "local_only", "--seeds", "7") == 0
    assert shown() == [both, ("25", "1", "4", "1 of 4 seeds; trained, not tested")]

    # a seed that is not asked for is not gone on with, nor shown if its run does not count
    other = bench.runs / "both_terms" / "seed5" / "1" / "config.yaml"
    other.write_text(other.read_text().replace("max_epochs: 1\n", "max_epochs: 2\n"))
    capsys.readouterr()
    assert bench.table("--dry") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line[0] == "#"] == ["# local only, seed 1: not run"]
    assert bench.table("--report") == 0
    assert shown()[0] == ("25;75", "2", "2", "done")


def test_report_alone_runs_nothing(bench, tmp_path, capsys):
    assert bench.table("--report", "--output", str(tmp_path / "out")) == 0
    assert (tmp_path / "out" / "table.html").is_file()
    out = capsys.readouterr().out
    assert "| both terms |  | 50.00 |  |  | 0 of 1 |  |  | not run |" in out
    assert str(tmp_path / "out" / "table.md") in out
    assert not bench.runs.exists()


def test_two_tables_of_the_same_runs(bench, tmp_path, capsys):
    bench.write(runs="others")
    assert bench.table("--dry", "--seeds", "3", "--only", "local_only") == 0
    fit = shlex.split(capsys.readouterr().out.splitlines()[1])
    assert f"--runs_dir={bench.runs.parent / 'others'}" in fit
    assert bench.table("--report", "--runs_dir", str(tmp_path)) == 0
    assert (tmp_path / bench.name / "table.md").is_file()


@pytest.mark.slow
@pytest.mark.usefixtures("forked_commands")
def test_a_table_to_its_end_and_what_is_changed_later(bench, tmp_path, capsys):
    rows = [*TABLE["rows"], {**TABLE["rows"][0], "name": "too much", "seeds": [7]}]
    rows[-1]["overrides"] = {"data.batch_size": 5000}
    bench.write(rows=rows)
    assert bench.table("--jobs", "2") == 1
    out = capsys.readouterr().out
    assert re.search(r"too much, seed 7: fit failed:\n.*fewer than a batch of 5000", out)
    states = bench.states()
    assert states["both terms"] == states["local only"] == "done"
    assert "fewer than a batch of 5000" in states["too much"]
    assert states["raw pixels"] == "measured by test of local only, seed 0"
    first, second, *_ = bench.rows()
    run = bench.runs / "both_terms" / "seed0" / "1"
    test = json.loads((run / "result.json").read_text())["test"]
    assert float(first["mean"]) == pytest.approx(100 * test[MLP], abs=1e-3)
    assert float(first["difference"]) == pytest.approx(float(first["mean"]) - 50, abs=1e-3)
    assert float(second["mean"]) == pytest.approx(100 * test[KNN], abs=1e-3)
    assert first["epochs"] == "1"

    # nothing is left of these two; another evaluation needs a test, another setting a run
    words = ["--only", "both_terms", "--dry"]
    capsys.readouterr()
    assert bench.table(*words) == 0
    assert capsys.readouterr().out == "nothing is missing\n"
    assert bench.table(*words, "--set", "evaluation.mlp_epochs=2") == 0
    assert capsys.readouterr().out.splitlines()[1].split()[3] == "test"
    assert bench.table(*words, "--set", "model.local_weight=2") == 0
    out = capsys.readouterr().out
    assert f"warning: {run} does not count for both terms, seed 0: model.local_weight is 2.0" in out
    assert out.count("With the former ones among its overrides") == 1
    assert str(run.with_name("2")) in out

    former = shutil.copytree(run, run.with_name("0")) / "config.yaml"
    other = former.read_text().replace("max_epochs: 1\n", "max_epochs: 2\n")
    former.write_text(other)
    assert "max_epochs: 2" in other
    assert bench.table(*words) == 0
    assert capsys.readouterr().out == "nothing is missing\n"  # of the former one there is no word
    shutil.rmtree(former.parent)

    # neither is anything of a transfer but its own test; other pictures need another
    on_others = f"transfer/others/{MLP}"
    path = "data.source.path"
    others = {"data.source": "PictureFolder", path: str(_pictures(tmp_path / "others"))}
    asked = {"columns": {**TABLE["columns"], on_others: "others"}, "rows": rows}
    bench.write(**asked, transfer={"others": others})
    assert bench.table(*words) == 0
    name, command = capsys.readouterr().out.splitlines()
    assert name == "# both terms, seed 0: not tested on others"
    assert command.endswith(f"--{path}={others[path]} --evaluation.transfer=others")
    assert bench.table(*words[:2]) == 0
    section = json.loads((run / "result.json").read_text())["transfer/others"]
    shown = {row["figure"]: row["mean"] for row in bench.rows() if row["row"] == "both terms"}
    assert float(shown[on_others]) == pytest.approx(100 * section[MLP], abs=1e-3)
    assert bench.states()["local only"] == "not tested on others"
    capsys.readouterr()
    assert bench.table(*words) == 0
    assert capsys.readouterr().out == "nothing is missing\n"
    moved = {**others, path: str(tmp_path)}
    assert bench.write(**asked, transfer={"others": moved}).table(*words) == 0
    assert capsys.readouterr().out.splitlines()[0] == name

    bench.write(rows=rows)
    run.parents[1].rename(bench.runs / "former")
    assert bench.table(*words) == 0
    run = bench.runs / "former" / "seed0" / "1"
    said = f"warning: {run} has the settings of both terms, seed 0, which is not run; if the row"
    assert said in capsys.readouterr().out


def _pictures(folder):
    """60 pictures of three classes."""
    for number in range(60):
        place = folder / "abc"[number % 3] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (4 * number, 80 * (number % 3), 0)).save(place)
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("forked_commands")
def test_nothing_is_trained_anew_because_its_pictures_were_moved(bench, tmp_path, capsys):
    path = "data.source.init_args.path"
    pictures = _pictures(tmp_path / "pictures")

    def table(folder, *words):
        own = TABLE["overrides"] | {"data.source": "PictureFolder", path: str(folder)}
        return bench.write(overrides=own, rows=TABLE["rows"][:1]).table(*words)

    assert table(pictures) == 0
    moved = pictures.rename(tmp_path / "elsewhere")
    capsys.readouterr()
    assert table(moved) == 2
    out, said = capsys.readouterr()
    assert "both terms, seed 0 would be trained anew, as the pictures of the runs there" in said
    runs = bench.runs / "both_terms" / "seed0"
    assert [each.name for each in runs.iterdir() if each.is_dir()] == ["1"]
    assert table(moved, "--report") == 0
    words = shlex.split(re.search(r"python -m dim_lightning (fit --resume .*)", out)[1])
    assert main(words) == 0
    assert table(moved) == 0
    assert [each.name for each in runs.iterdir() if each.is_dir()] == ["1"]


@contextmanager
def started(bench, folder):
    """The table in a process of its own, once its run has ended an epoch more."""
    run = bench.runs / "both_terms" / "seed0" / "1"

    def epochs():
        return len(read_metrics(run).get("speed/images_per_second", []))

    before = epochs()
    with Forked(folder, forked.command, *bench.words()) as process:
        while epochs() <= before:
            assert process.running(), process.ended()
            time.sleep(0.05)
        yield process


@pytest.mark.slow
@pytest.mark.usefixtures("forked_commands")
def test_stopped_and_then_killed_it_goes_on(bench, capsys, monkeypatch, tmp_path):
    """Its run waits before the second and the third epoch, for what happens to the table there."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    gate = {"class_path": "gate.Gate", "init_args": {"path": f"{tmp_path}/"}}
    overrides = {"trainer.max_epochs": 3, "trainer.callbacks": [gate]}
    bench.write(rows=[{**TABLE["rows"][0], "overrides": overrides}])
    with started(bench, tmp_path / "stopped") as process:
        process.send(signal.SIGTERM)
        done = process.ended()
    assert done.returncode == 143
    assert "terminated; to go on: python -m dim_lightning table" in done.stderr
    assert bench.states() == {"both terms": "interrupted after epoch 1 of 3"}
    assert bench.table("--dry") == 0
    run = bench.runs / "both_terms" / "seed0" / "1"
    assert f"fit --resume {run}" in capsys.readouterr().out

    (tmp_path / "1").touch()
    with started(bench, tmp_path / "killed") as process:
        process.send(signal.SIGKILL)
        process.ended()
    assert bench.table("--report") == 0
    assert "running: epoch 3 of 3" in capsys.readouterr().out

    def found_at_work(folder):
        (tmp_path / "2").touch()
        return is_at_work(folder)

    monkeypatch.setattr("dim_lightning.table.runner.is_at_work", found_at_work)
    assert bench.table() == 0
    assert "is at work on it already; waits for it" in capsys.readouterr().out
    assert bench.states() == {"both terms": "done"}
    assert bench.rows()[0]["epochs"] == "3"
    assert [path.name for path in run.parent.glob("[0-9]*")] == ["1"]
