"""What is said of the trials of a sweep beside their values."""

import json

import pytest

from dim_lightning.errors import InputError
from dim_lightning.sweep.definition import read_definition
from dim_lightning.sweep.record import Trial, open_sweep, read_trials, trial_folder, write_trial
from dim_lightning.sweep.report import best_first, notes, told_apart, write_report


def write_ended(output, number, status="finished", **own_code):
    parameters, point = {"quality": 0.1 * number}, {"quality": number - 1}
    write_trial(output, Trial(number, parameters, point, status, [float(number)]))
    run = trial_folder(output, number) / "1"
    run.mkdir()
    (run / "config.yaml").touch()
    (run / "environment.json").write_text(json.dumps({"own_code": own_code}))


def test_trials_on_other_pictures_are_named(bench):
    definition = read_definition(bench.file)
    for number, count in ((1, 100), (2, 200), (3, 100)):
        write_ended(bench.output, number)
        path = trial_folder(bench.output, number) / "1" / "environment.json"
        path.write_text(json.dumps({"pictures": {"train": count, "sha256": f"of {count}"}}))
    trials = list(read_trials(bench.output).values())
    assert notes(bench.output, definition, [trials[0], trials[2]]) == []
    said = "small was not trained on the same pictures with all trials, by their names or number: "
    assert notes(bench.output, definition, trials) == [f"{said}100 with 1, 3; 200 with 2"]


def test_a_record_of_another_trial_is_named(bench):
    """By its number files would be written to another place."""
    write_ended(bench.output, 1)
    path = trial_folder(bench.output, 1) / "trial.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"number": 7}))
    with pytest.raises(InputError, match=r"no record of a trial \(its number is 7\)"):
        read_trials(bench.output)


def test_values_of_one_class_are_told_apart_by_what_differs():
    def blog(dim, **others):
        arguments = {"widths": [64, 128, 256, 512], "embedding_dim": dim, **others}
        return {"class_path": "dim_lightning.BlogEncoder", "init_args": arguments}

    values = [blog(64), blog(256, gaussian=False), {"class_path": "PaperEncoder"}, "text", 0.1]
    assert told_apart(values) == [
        "BlogEncoder(embedding_dim=64)",
        "BlogEncoder(embedding_dim=256, gaussian=false)",
        "PaperEncoder()",
        "text",
        "0.1",
    ]
    assert told_apart([1, 2]) == ["1", "2"]


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_what_is_no_finite_number_is_no_value(bench, value):
    write_ended(bench.output, 1)
    write_trial(bench.output, Trial(2, {"quality": 0.2}, {"quality": 1}, "finished", [value]))
    trials = list(read_trials(bench.output).values())
    assert [trial.number for trial in best_first(trials, maximise=True)] == [1, 2]
    write_report(bench.output, read_definition(bench.file), trials)
    page = (bench.output / "sweep.html").read_text()
    assert "inf<" not in page
    assert "nan" not in page


def test_before_the_first_trial_there_is_a_report(bench):
    bench.output.mkdir()
    write_report(bench.output, read_definition(bench.file), [])
    assert (bench.output / "sweep.html").is_file()


def test_what_stands_in_a_record_is_no_markup_of_the_page(bench):
    bench.output.mkdir()
    open_sweep(bench.output, read_definition(bench.file), 0, None)
    write_ended(bench.output, 1, status="</title><script>alert(1)</script>")
    assert bench.sweep() == 0
    assert "<script>alert" not in (bench.output / "sweep.html").read_text()


def test_trials_by_other_code_of_ones_own_are_named(bench, capsys):
    bench.write(parameters={"quality": {"values": [0.1, 0.2, 0.3, 0.4, 0.5]}})
    bench.output.mkdir()
    open_sweep(bench.output, read_definition(bench.file), 0, None)
    for number in (1, 2, 3):
        write_ended(bench.output, number, Net="a")
    write_ended(bench.output, 4, Other="b")  # another encoder
    write_ended(bench.output, 5, "failed", Net="b")  # it has no value
    assert bench.sweep() == 0
    assert "the same code" not in capsys.readouterr().out
    page = bench.output / "sweep.html"
    assert "the same code" not in page.read_text()
    path = trial_folder(bench.output, 3) / "1" / "environment.json"
    path.write_text(json.dumps({"own_code": {"Net": "b"}}))
    assert bench.sweep() == 0
    said = "small was not all trained by the same code, as the file of Net changed: trials 1, 2; 3"
    assert f"\n{said}\n" in capsys.readouterr().out
    assert f">{said}</p>" in page.read_text()
