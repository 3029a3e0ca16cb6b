import inspect
import json
import re
from contextlib import redirect_stdout
from io import StringIO

import numpy as np
import pytest
import torch
from tiny_run import digits, tiny_module, trainer, unlabelled
from torch import nn

from dim_lightning.callbacks import OfflineEvaluation
from dim_lightning.callbacks.offline_section import encoder_code, joined, weights_hash
from dim_lightning.callbacks.offline_table import by_protocol, others_list, protocol_text, table
from dim_lightning.data import Arrays, ImageDataModule
from dim_lightning.encoders import BlogEncoder
from dim_lightning.errors import InputError
from dim_lightning.evaluation import extract, knn_accuracy
from dim_lightning.run.metrics import MetricsFile, read_metrics
from dim_lightning.run.result import read_result, update_result


@pytest.fixture
def facts():
    return {
        "dim": {"conv": 4096, "y": 64, "random/y": 64, "pixels": 3072},
        "l2": {"conv": 0.01, "y": 0.001, "random/y": 0.1, "pixels": 1.0},
        "num_train": 45_000,
        "num_val": 5_000,
        "num_test": 10_000,
        "chance": 0.1,
        "seconds": 61.5,
        "epochs_trained": 12,
    }


EARLY = {"probe/svm/y/top1": 0.5}  # a figure of an earlier test
TOPS = {
    "conv": {"probe/linear": 0.61234, "probe/mlp200": 0.7, "knn/cosine/k20_t0.07": 0.5},
    "y": {"probe/linear": 0.5, "probe/mlp200": 0.6, "knn/cosine/k20_t0.07": 0.4},
    "random/y": {"probe/linear": 0.3, "knn/cosine/k20_t0.07": 0.29},
    "pixels": {"probe/linear": 0.39, "knn/cosine/k20_t0.07": 0.339},
}
ROWS = {row: {kind: {"top1": top} for kind, top in tops.items()} for row, tops in TOPS.items()}


def test_the_protocol_is_that_of_the_figures_there_are():
    settings = {"mlp_epochs": 7, "mlp_protocol": "paper", "repeats": 3, "fine_tune_epochs": 0}
    settings |= {"decoder_epochs": 0, "mine_epochs": 0, "ndm_epochs": 9}
    said = protocol_text([*by_protocol(ROWS), "ndm/y/nats"], settings).splitlines()
    kinds = [re.split("[:,]", line)[0] for line in said[1:]]
    assert kinds == ["Linear", "MLP-200", "kNN", "NDM", "Floors"]
    assert "for 9 epochs" in said[4]
    assert "7 epochs, on" in said[2]
    few = protocol_text(["probe/mlp200/y/top1"], settings, num_train=1_294)
    assert "7 epochs of batches of 20, on" in few
    paper = protocol_text(["probe/mlp200_paper/y/top1", "probe/mlp200_paper/y/top1_std"], settings)
    assert "MLP-200:" not in paper
    assert "over 3 seeds" in paper
    assert "several draws (3)" in protocol_text(["probe/few_labels/0.1/y/top1"], settings)


def test_names_state_protocol_layer_and_floor():
    named = by_protocol(ROWS)
    assert named["probe/linear/conv/top1"] == 0.61234
    assert named["knn/cosine/k20_t0.07/pixels/top1"] == 0.339
    assert named["random/probe/linear/y/top1"] == 0.3
    assert len(named) == 10
    linear = [name for name in named if name.startswith("probe/linear/")]
    assert [name.split("/")[2] for name in linear] == ["conv", "y", "pixels"]


def test_the_table_is_in_percent_with_the_floors_at_the_bottom(facts):
    lines = table(ROWS, facts).splitlines()
    starts = [line.split("  ")[0] for line in lines]
    order = ["conv", "y", "random encoder, y", "raw pixels"]
    places = [starts.index(start) for start in order]
    assert places == sorted(places)
    assert "61.23" in lines[places[0]]
    assert "70.00" in lines[places[0]]
    assert lines[places[2] - 1].startswith("---")
    assert any("12 epochs" in line and "10,000 test images" in line for line in lines)
    assert "always the largest training class: 10.00" in lines
    assert "standard error, by the number of test images: 0.50 at 50 %, 0.30 at 90 %" in lines
    assert all(len(line) <= 100 for line in lines)
    ends = {len(lines[place]) for place in places}
    assert len(ends) == 1  # the columns stand below one another


def test_test_measures_every_layer_and_the_floors(tmp_path, digits_root, capsys):
    data, module = digits(digits_root), tiny_module()
    run = trainer(tmp_path)
    run.fit(module, data)
    run.save_checkpoint(tmp_path / "end.ckpt")
    before = {name: value.clone() for name, value in module.state_dict().items()}
    update_result(tmp_path, "test", {**EARLY, "epochs_trained": 7})

    log = MetricsFile(tmp_path)
    run = trainer(tmp_path, [OfflineEvaluation(mlp_epochs=1)], logger=log)
    torch.manual_seed(4)
    state = torch.get_rng_state()
    run.test(module, data, ckpt_path=tmp_path / "end.ckpt", weights_only=True, verbose=False)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())

    result = json.loads((tmp_path / "result.json").read_text())["test"]
    layers = ("conv", "pool", "embedding")
    protocols = ("knn/cosine/k20_t0.07", "knn/cosine/k200_t0.1", "knn/euclidean/k20")
    names = {f"{p}/{layer}/top1" for p in ("probe/linear", *protocols) for layer in layers}
    names |= {f"probe/mlp200/{layer}/top1" for layer in layers}
    names |= {f"random/{name}" for name in names}
    names |= {"probe/linear/pixels/top1", "probe/mlp200/pixels/top1"}
    assert names <= set(result)
    assert all(0 <= result[name] <= 1 for name in names)
    even = {name.replace("top1", "mean_per_class") for name in names}  # which the digits are not
    assert even <= set(result)
    assert not any(name.endswith("top5") for name in result)  # of ten classes
    assert EARLY.keys().isdisjoint(result)  # of another state
    assert result["probe/linear/pixels/top1"] > 0.85
    splits = {n: len(data.split(n)) for n in ("train", "val", "test")}
    assert {n: result[f"num_{n}"] for n in splits} == splits
    assert result["epochs_trained"] == 1
    assert result["steps_trained"] == splits["train"] // data.batch_size
    logged = read_metrics(tmp_path)["probe/linear/embedding/top1"]
    assert [point.step for point in logged] == [result["steps_trained"]]
    most = np.bincount(data.split("train").labels).argmax()
    assert result["chance"] == pytest.approx(np.mean(data.split("test").labels == most))
    assert set(result["l2"]) == {*layers, *(f"random/{layer}" for layer in layers), "pixels"}
    assert result["seconds"] > 0
    assert "accuracy (micro average) on the test split" in result["protocol"]
    parameters = inspect.signature(OfflineEvaluation).parameters
    assert result["weights"] == weights_hash(module.encoder)
    assert result["own_code"] == {}
    assert result["settings"].keys() == parameters.keys() - {"transfer"}

    bank, query = (extract(module.encoder, data.clean_dataloader(s)) for s in ("train", "test"))
    expected = knn_accuracy(query.code, query.labels, bank.code, bank.labels, 10)
    assert result["knn/cosine/k20_t0.07/embedding/top1"] == pytest.approx(expected)

    out = capsys.readouterr().out
    assert "random encoder, embedding" in out
    assert f"{100 * expected:.2f}" in out
    assert "also in result.json: mean_per_class" in out
    assert "mean_per_class: mean over the classes" in result["protocol"]


def test_of_many_classes_each_protocol_has_top5(tmp_path):
    """Pictures of twelve shades of grey, as many of each to test."""
    labels = np.arange(12).repeat(20)
    noise = np.random.default_rng(0).integers(0, 40, (240, 16, 16), dtype=np.uint8)
    images = (noise + 17 * labels[:, None, None]).astype(np.uint8)
    source = Arrays(images, labels, images[::5], labels[::5])
    data = ImageDataModule(source, root=str(tmp_path), image_size=16, batch_size=64)
    evaluation = OfflineEvaluation(mlp_epochs=1, floors=False, repeats=2, fine_tune_epochs=1)
    trainer(tmp_path, [evaluation]).test(tiny_module(), data, verbose=False)
    found = {name.rpartition("/")[0]: set() for name in evaluation.figures}
    for name in evaluation.figures:
        subject, _, kind = name.rpartition("/")
        found[subject].add(kind)
    assert {name.partition("/")[0] for name in found} == {"probe", "knn", "fine_tuned"}
    repeated = {name for name in found if "mlp200" in name}
    assert all(found[name] == {"top1", "top5", "top1_std"} for name in repeated)
    assert all(found[name] == {"top1", "top5"} for name in found.keys() - repeated)
    assert evaluation.figures["probe/linear/conv/top5"] == 1
    assert evaluation.figures["probe/linear/conv/top1"] > 0.5
    assert "top5: share of the test" in read_result(tmp_path)["test"]["protocol"]


@pytest.fixture(scope="module")
def tested(tmp_path_factory, digits_root):
    """The figures of a test in a folder with those of an early one, and the section after it."""
    folder = tmp_path_factory.mktemp("tested")
    update_result(folder, "test", {**EARLY, "epochs_trained": 0})
    evaluation = OfflineEvaluation(mlp_epochs=0, floors=False, linear_dim=1)
    trainer(folder, [evaluation]).test(tiny_module(), digits(digits_root), verbose=False)
    return evaluation.figures, read_result(folder)["test"]


def test_figures_of_the_same_state_stay(tested):
    figures, section = tested
    assert "knn/cosine/k20_t0.07/embedding/top1" in figures
    assert {**EARLY, **figures}.items() <= section.items()
    assert (section["epochs_trained"], section["steps_trained"]) == (0, 0)


@pytest.mark.parametrize(
    ("counts", "stays"),
    [
        ({"epochs_trained": 0}, True),  # an early test
        ({"epochs_trained": 0, "steps_trained": 0}, True),
        ({"epochs_trained": 7}, False),
        ({"epochs_trained": 0, "steps_trained": 5}, False),  # in the midst of an epoch
        ({"pictures": "0"}, False),
        ({"labels": "0"}, False),  # more were added to their file
        ({"image_size": 32}, False),
        ({"precision": "bf16-mixed"}, False),
        ({"shares": {"validation_fraction": 0.2, "test_fraction": 0.2, "split_seed": 1}}, False),
        ({"epochs_trained": 0, "steps_trained": 0, "weights": "0"}, False),
    ],
)
def test_figures_of_another_state_or_of_other_pictures_go(tested, counts, stays):
    figures, section = tested
    facts = {name: value for name, value in section.items() if name not in {**figures, **EARLY}}
    result = joined({**EARLY, **counts}, figures, facts)
    assert figures.items() <= result.items()
    assert (EARLY.items() <= result.items()) == stays
    assert EARLY.keys().isdisjoint(result) != stays
    assert result["epochs_trained"] == 0
    assert "knn/cosine/k20_t0.07/embedding/top1" in result


@pytest.fixture(scope="module")
def transferred(tmp_path_factory, digits_root):
    """After a test of another data set: folder, figures, what Lightning has, module, data, text."""
    folder = tmp_path_factory.mktemp("transferred")
    update_result(folder, "test", EARLY)
    module, data = tiny_module(), digits(digits_root)
    evaluation = OfflineEvaluation(mlp_epochs=0, floors=False, linear_dim=1, transfer="other-1.0")
    run = trainer(folder, [evaluation], logger=MetricsFile(folder))
    with redirect_stdout(StringIO()) as out:
        run.test(module, data, verbose=False)
    return folder, evaluation.figures, run.callback_metrics, module, data, out.getvalue()


def test_another_data_set_has_a_section_of_its_own(transferred):
    folder, figures, logged, *_, out = transferred
    assert logged == {}  # no term of the method
    result = read_result(folder)
    assert result["test"] == EARLY
    assert figures.items() <= result["transfer/other-1.0"].items()
    name = "knn/cosine/k20_t0.07/embedding/top1"
    assert name in figures
    assert f"transfer/other-1.0/{name}" in read_metrics(folder)
    assert name not in read_metrics(folder)
    assert "test images of other-1.0, fitted on" in out


def test_after_a_test_of_another_data_set_terms_are_measured_again(transferred, tmp_path):
    *_, logged, module, data, _ = transferred
    assert "test/loss" not in logged
    run = trainer(tmp_path)
    run.test(module, data, verbose=False)
    assert "test/loss" in run.callback_metrics


@pytest.mark.parametrize("name", ["", "a/b", "two words"])
def test_names_of_data_sets_are_plain(name):
    with pytest.raises(InputError, match=r"evaluation\.transfer is .*; expected a name of letters"):
        OfflineEvaluation(transfer=name)


def test_a_new_test_replaces_what_it_measures_and_keeps_the_rest_with_what_is_said_of_it():
    paper = {"mlp_epochs": 30, "mlp_protocol": "paper", "repeats": 5}
    rest = dict.fromkeys(("decoder", "mine", "ndm", "fine_tune"), 0)
    rest = {f"{name}_epochs": epochs for name, epochs in rest.items()}
    old = {
        **{f"probe/{kind}/y/top1": 0.5 for kind in ("linear", "mlp200", "mlp200_paper")},
        **{f"probe/{kind}/y/top1_std": 0.1 for kind in ("mlp200", "mlp200_paper")},
        **{f"probe/{kind}/conv/top1": 0.4 for kind in ("linear", "svm")},
    }
    l2, unsolved = {"y": 0.1, "conv": 1.0}, ["probe/linear/y/top1", "probe/svm/conv/top1"]
    facts = {"epochs_trained": 3, "l2": l2, "svm_c": {"conv": 0.01}, "not_converged": unsolved}
    said = {"protocol": protocol_text(old, paper | rest)}
    before = old | facts | said
    new = {"probe/linear/y/top1": 0.6, "probe/mlp200/y/top1": 0.7}
    again = protocol_text(new, {"mlp_epochs": 7, "mlp_protocol": "short", "repeats": 1} | rest)
    known = {"mine/y": {"nats": 9.0, "epoch": 3}}
    before |= {"mine/y/nats": 9.0, "estimates": known | {"ndm/y": {"epoch": 1}}}
    old |= {"mine/y/nats": 9.0}
    found = {"epochs_trained": 3, "steps_trained": 9, "l2": {"y": 0.2}, "not_converged": []}
    found |= {"estimates": {"ndm/y": {"epoch": 2}}, "commits": ["2222"]}
    found |= {"settings": settings_of(mlp_epochs=7)}
    before |= {"commits": ["1111"]}
    found |= {"pictures": "1", "svm_c": {}, "repeats": 1, "protocol": again}
    after = joined(before, new, found)

    gone = "probe/mlp200/y/top1_std"
    assert {n: v for n, v in after.items() if "/" in n} == {
        n: v for n, v in (old | new).items() if n != gone
    }
    assert after["l2"] == {"y": 0.2, "conv": 1.0}
    assert after["svm_c"] == {"conv": 0.01}
    assert after["commits"] == ["1111", "2222"]  # some of the figures are of the one before
    assert joined(dict(found, commits=["1111"]), new, found)["commits"] == ["2222"]
    assert after["estimates"] == known | {"ndm/y": {"epoch": 2}}
    assert after["not_converged"] == ["probe/svm/conv/top1"]
    kinds = [re.split("[:,]", line)[0] for line in after["protocol"].splitlines()[1:]]
    assert kinds == ["Linear", "MLP-200", "SVM", "MLP-200 paper", "top1_std"]
    assert "7 epochs" in after["protocol"]
    assert "over 5 seeds, MLP probe (paper)" in after["protocol"]


def settings_of(**changed):
    names = ("decoder_epochs", "mine_epochs", "ndm_epochs", "fine_tune_epochs")
    usual = {"mlp_epochs": 30, "floors": False, "seed": 0, "linear_dim": None, "svm": False}
    usual |= {"mlp_protocol": "short", "repeats": 1, "few_labels": []}
    return usual | dict.fromkeys(names, 0) | changed


def section(settings, figures):
    measured = dict.fromkeys(figures, 0.5)
    facts = {"settings": settings, "repeats": settings["repeats"], "protocol": ""}
    return measured, facts | {"estimates": {}, "commits": []}


MLP, LARGE = "probe/mlp200/y/top1", "probe/svm/conv/top1"
WITH_MLP = section(settings_of(linear_dim=1024, mlp_protocol="paper", repeats=3), [MLP])
WITH_SVM = section(settings_of(linear_dim=4096, mlp_epochs=0, svm=True, mine_epochs=3), [LARGE])


def test_what_is_kept_is_told_with_its_settings():
    """Of two tables that share runs each asks for what the other leaves out."""
    expected = settings_of(
        linear_dim=4096, mlp_protocol="paper", repeats=3, svm=True, mine_epochs=3
    )
    for first, second in ((WITH_MLP, WITH_SVM), (WITH_SVM, WITH_MLP)):
        figures, facts = first
        after = joined({**figures, **facts, "mine/y/nats": 1.0}, *second)
        assert {MLP, LARGE} <= after.keys()
        assert after["settings"] == expected
        assert after["repeats"] == 3


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"svm": True, "seed": 1}, {}),  # of other draws
        ({"svm": True}, {"floors": True}),  # not of the floors
        ({"svm": True, "linear_dim": 1024}, {"linear_dim": 4096}),  # not of the larger layers
    ],
)
def test_what_was_measured_of_less_is_kept_without_its_settings(before, now):
    figures, facts = section(settings_of(**before), [LARGE])
    after = joined({**figures, **facts}, *section(settings_of(**now), [MLP]))
    assert LARGE in after
    assert after["settings"] == settings_of(**now)


def test_larger_layers_are_told_of_what_was_measured_of_them_alone():
    before = section(settings_of(linear_dim=4096), [MLP])
    now = section(settings_of(linear_dim=1024, svm=True), ["probe/svm/y/top1"])
    assert joined({**before[0], **before[1]}, *now)["settings"] == now[1]["settings"]
    without = section(settings_of(linear_dim=1024), ["probe/linear/y/top1"])
    assert joined({**before[0], **before[1]}, *without)["settings"]["linear_dim"] == 4096


@pytest.mark.parametrize(
    ("before", "now", "stay"),
    [
        ({}, {}, True),
        ({}, {"mlp_epochs": 2}, False),
        ({}, {"seed": 1}, False),
        ({"repeats": 3}, {}, False),
        ({"mlp_protocol": "paper"}, {}, False),  # of a still earlier test, whose are not kept
        ({}, {"mlp_epochs": 0}, True),  # beside nothing that is measured now
        ({}, {"svm": True}, True),
    ],
)
def test_floors_do_not_stay_beside_layers_with_other_settings(before, now, stay):
    floors = ["random/probe/mlp200/y/top1", "probe/mlp200/pixels/top1", "random/knn/a/y/top1"]
    figures, facts = section(settings_of(floors=True, **before), [MLP, *floors])
    new = section(settings_of(**now), ["knn/a/y/top1", *[MLP] * (now.get("mlp_epochs") != 0)])
    after = joined({**figures, **facts}, *new)
    drawn_alike = before.get("seed", 0) == now.get("seed", 0)
    assert [name in after for name in floors] == [stay, stay, drawn_alike]


def test_floors_of_an_encoder_that_another_seed_drew_do_not_stay():
    floors = ["random/probe/linear/y/top1", "knn/a/pixels/top1"]
    figures, facts = section(settings_of(floors=True), [LARGE, *floors])
    for seed in (0, 1):
        after = joined({**figures, **facts}, *section(settings_of(seed=seed), ["knn/a/y/top1"]))
        assert [name in after for name in floors] == [seed == 0, True]


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        ({}, {}, [0.01]),
        ({}, {"few_labels": [0.1]}, [0.01, 0.1]),
        ({"repeats": 3}, {}, []),  # a table that asks for one draw is not to take the mean of three
        ({"seed": 1}, {"few_labels": [0.1]}, [0.1]),
    ],
)
def test_few_labels_are_kept_and_told_where_they_were_drawn_alike(before, now, told):
    few = "probe/few_labels/0.01/y/top1"
    figures, facts = section(settings_of(few_labels=[0.01], **before), [few])
    after = joined({**figures, **facts}, *section(settings_of(**now), [LARGE]))
    assert few in after
    assert after["settings"]["few_labels"] == told


def test_one_number_of_draws_is_told_of_probes_and_of_few_labels():
    """Kept probes of three seeds do not make three of the one draw that was measured now."""
    figures, facts = section(settings_of(repeats=3), [MLP])
    now = section(settings_of(mlp_epochs=0, few_labels=[0.01]), ["probe/few_labels/0.01/y/top1"])
    after = joined({**figures, **facts}, *now)
    assert MLP in after
    told = after["settings"]
    assert (told["repeats"], told["mlp_epochs"], told["few_labels"]) == (1, 0, [0.01])
    same = joined({**figures, **facts}, now[0], now[1] | {"settings": told | {"repeats": 3}})
    assert (same["settings"]["mlp_epochs"], same["settings"]["repeats"]) == (30, 3)


def test_floors_of_few_labels_do_not_stay_beside_layers_of_other_draws():
    few = "probe/few_labels/0.01/y/top1"
    floors = [f"random/{few}", few.replace("/y/", "/pixels/")]
    figures, facts = section(settings_of(floors=True, few_labels=[0.01]), [few, *floors])
    for repeats in (1, 3):
        new = section(settings_of(few_labels=[0.01], repeats=repeats), [few])
        after = joined({**figures, **facts}, *new)
        assert [name in after for name in floors] == [repeats == 1] * 2


@pytest.mark.parametrize("shares", [[1.0], [0.1, 0.1], [float("nan")], [0.0]])
def test_shares_of_labels_are_those_of_some_images(shares):
    with pytest.raises(InputError, match=r"evaluation\.few_labels is \[.*expected shares between"):
        OfflineEvaluation(few_labels=shares)


@pytest.mark.parametrize(
    ("code", "stays"), [({"nets.Net": "a"}, True), ({"nets.Net": "b"}, False), (None, True)]
)
def test_figures_of_other_code_go(code, stays):
    figures, facts = section(settings_of(svm=True), [LARGE])
    before = {**figures, **facts} | ({} if code is None else {"own_code": code})
    figures, facts = section(settings_of(), [MLP])
    assert (LARGE in joined(before, figures, {**facts, "own_code": {"nets.Net": "a"}})) == stays


class Own(BlogEncoder):
    """An encoder whose class stands in a file of one's own, this one."""


def own_blog(image_size: int) -> BlogEncoder:
    return BlogEncoder(image_size, widths=(4, 8), embedding_dim=6)


def test_the_code_of_an_encoder_is_that_of_its_classes_and_of_what_made_it():
    module = tiny_module()
    assert encoder_code(module) == {}
    module.hparams["encoder"] = f"{__name__}.own_blog"
    assert encoder_code(module).keys() == {f"{__name__}.own_blog"}
    module.encoder = nn.Sequential(Own(16, widths=(4, 8), embedding_dim=6))
    assert encoder_code(module).keys() == {f"{__name__}.own_blog", f"{__name__}.Own"}


def test_a_probe_that_was_not_solved_is_named_below_the_table(facts):
    assert "ended before" not in table(ROWS, facts)
    said = "ended before they converged: linear probe on random encoder, y"
    assert said in table(ROWS, facts | {"not_converged": ["random/probe/linear/y/top1"]})


def test_a_penalty_at_the_end_of_the_grid_is_told(facts):
    penalties = {"l2": {"conv": 1e-5, "y": 1e-3}, "svm_c": {"y": 100.0}}
    lines = " ".join(table(ROWS, facts | penalties).split())
    assert "conv 1e-05 (end of the grid), y 0.001 C of the SVM" in lines
    assert "y 100 (end of the grid)" in lines


def test_deviations_stand_beside_their_means_under_names_of_their_own(facts):
    repeated = {"probe/mlp200": {"top1": 0.7, "top1_std": 0.0123}}
    rows = {**ROWS, "conv": {**ROWS["conv"], **repeated}}
    lines = table(rows, facts | {"repeats": 3}).splitlines()
    conv = next(line for line in lines if line.startswith("conv"))
    assert "70.00 ± 1.23" in conv
    assert any("standard deviation over 3 seeds" in line for line in lines)
    assert by_protocol({"conv": repeated}) == {
        "probe/mlp200/conv/top1": 0.7,
        "probe/mlp200/conv/top1_std": 0.0123,
    }


def test_what_the_table_has_no_room_for_is_named_below_it(facts):
    assert "result.json" not in table(ROWS, facts)
    more = {"probe/linear": {"top1": 0.6, "top5": 0.9}, "knn/cosine/k20_t0.07": {"top1": 0.5}}
    lines = table({**ROWS, "conv": more}, facts).splitlines()
    assert lines[-1] == "also in result.json: top5"
    assert not any("90.00" in line for line in lines)
    assert by_protocol({"random/y": more})["random/probe/linear/y/top5"] == 0.9


def test_what_is_no_accuracy_has_a_list_of_its_own():
    figures = {"decoder/y/ms_ssim": 0.4321, "mine/y/nats": 12.5, "ndm/y/nats": 0.25}
    facts = {"estimates": {"mine/y": {"epoch": 30}, "ndm/y": {"epoch": 29}}}
    facts |= {"settings": {"decoder_epochs": 30, "mine_epochs": 30, "ndm_epochs": 30}}
    lines = others_list(figures, facts).splitlines()
    assert [line[42:50].strip() for line in lines[2:]] == ["0.4321", "12.5", "0.25"]
    assert "MS-SSIM" in lines[2]
    assert ["more may find more" in line for line in lines[2:]] == [False, True, False]
    assert others_list({}, facts) == ""


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"repeats": 0}, "repeats"),
        ({"mlp_epochs": -1}, "mlp_epochs"),
        ({"decoder_epochs": -1}, "decoder_epochs"),
        ({"mine_epochs": -1}, "mine_epochs"),
        ({"ndm_epochs": -1}, "ndm_epochs"),
        ({"fine_tune_epochs": -2}, "fine_tune_epochs"),
        ({"seed": -1}, "seed"),
    ],
)
def test_numbers_out_of_range_are_refused_by_name(settings, name):
    with pytest.raises(InputError, match=rf"evaluation\.{name} is -?\d; expected at least"):
        OfflineEvaluation(**settings)


def test_without_labels_it_says_so(tmp_path, capsys):
    run = trainer(tmp_path, [OfflineEvaluation()])
    run.test(tiny_module(), unlabelled(tmp_path), verbose=False)
    assert "no labels" in capsys.readouterr().out
    assert not (tmp_path / "result.json").exists()


def test_the_linear_probe_comes_first_even_where_the_first_layer_went_without():
    one = {"top1": 0.5}
    rows = {"conv": {"probe/mlp200": one}, "y": {"probe/linear": one, "probe/mlp200": one}}
    assert list(by_protocol(rows)) == [
        "probe/linear/y/top1",
        "probe/mlp200/conv/top1",
        "probe/mlp200/y/top1",
    ]


def test_equal_weights_have_an_equal_hash_in_any_layout():
    module, other = tiny_module(), tiny_module()
    other.load_state_dict(module.state_dict())
    other.to(memory_format=torch.channels_last)
    assert weights_hash(module.encoder) == weights_hash(other.encoder)
    next(other.encoder.buffers()).add_(1)
    assert weights_hash(module.encoder) != weights_hash(other.encoder)


@pytest.mark.parametrize("floors", [True, False])
def test_a_floor_that_will_be_missing_is_said_when_training_begins(
    tmp_path, digits_root, capsys, floors
):
    module = tiny_module()
    module.encoder.token = nn.Parameter(torch.zeros(3))
    callback = OfflineEvaluation(floors=floors)
    run = trainer(tmp_path, [callback], limit_train_batches=1, limit_val_batches=1)
    run.fit(module, digits(digits_root))
    said = "test will have no floor of an untrained encoder: the encoder's part 'BlogEncoder' has"
    assert (said in capsys.readouterr().out) == floors
