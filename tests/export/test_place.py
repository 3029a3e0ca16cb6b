import json
from functools import partial

import numpy as np
import pytest
import torch

import dim_lightning
from dim_lightning.baselines import Supervised
from dim_lightning.encoders import BlogEncoder, Encoder
from dim_lightning.errors import InputError
from dim_lightning.export import export_run
from dim_lightning.run.environment import write_environment
from dim_lightning.run.own_code import own_code
from dim_lightning.run.result import update_result

IMAGES = torch.randint(
    256, (4, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
BLOG = "dim_lightning.BlogEncoder"


class Halves(BlogEncoder):
    """An encoder of somebody else."""


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_weights_alone_give_the_encoder_back(run):
    made = export_run(run, formats=["safetensors"])
    assert made.folder == run / "export"
    assert _names(made.folder) == ["encoder.json", "encoder.safetensors"]
    (run / "new").touch()
    modes = {path.stat().st_mode for path in made.folder.iterdir()}
    assert modes == {(run / "new").stat().st_mode}
    torch.testing.assert_close(
        dim_lightning.load(made.folder)(IMAGES), dim_lightning.load(run)(IMAGES), rtol=0, atol=0
    )


def test_the_description(run):
    about = json.loads((export_run(run, formats=[]).folder / "encoder.json").read_text())
    assert about["encoder"] == {
        "class_path": BLOG,
        "init_args": {"widths": [4], "embedding_dim": 6},
    }
    assert about["image_size"] == 8
    assert about["input"] == {"name": "images", "dtype": "uint8", "shape": ["n", 3, 8, 8]}
    assert about["outputs"] == {"conv": ["n", 64], "pool": ["n", 6], "embedding": ["n", 6]}
    assert (about["embedding"], about["embedding_dim"]) == ("embedding", 6)
    assert about["figures"]["test"]["probe/linear/embedding/top1"] == 0.75
    assert about["provenance"]["run"] == "small/1"
    assert about["provenance"]["seed"] == 3
    assert len(about["provenance"]["config_sha256"]) == 64
    assert set(about["files"]) == {"encoder.safetensors"}
    assert dim_lightning.load(run / "export").about == about


def test_figures_of_other_weights_are_left_out(run):
    update_result(run, "test", {"steps_trained": 5})
    assert "test" in dim_lightning.load(run).about["figures"]
    update_result(run, "test", {"steps_trained": 4})
    with pytest.warns(UserWarning, match="was tested after step 4, and its weights are of step 5"):
        assert dim_lightning.load(run).about["figures"] == {}
    update_result(run, "test", {"steps_trained": 5})
    update_result(run, "fit", {"steps": 7, "best": {}})  # saved before it ended in mid-epoch
    assert list(dim_lightning.load(run).about["figures"]) == ["test", "fit"]
    update_result(run, "transfer/other", {"steps_trained": 4})
    with pytest.warns(UserWarning, match="the figures of transfer/other are left out"):
        assert list(dim_lightning.load(run).about["figures"]) == ["test", "fit"]


def test_another_checkpoint_is_told_without_figures_of_the_last(run, tmp_path):
    stored = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    weights = {name: 2 * tensor for name, tensor in stored["state_dict"].items()}
    kept = run / "checkpoints" / "kept" / "best.ckpt"
    kept.parent.mkdir()
    torch.save({"state_dict": weights, "global_step": 3}, kept)
    update_result(run, "fit", {"steps": 5, "best": {}})
    update_result(run, "test", {"steps_trained": 3})
    update_result(run, "validate", {"steps_trained": 5})
    write_environment(run, {"commit": "c0ffee"})
    with pytest.warns(UserWarning, match="are left out") as said:
        folder = export_run(run, formats=[], checkpoint=kept).folder
    expected = ["the figures of fit are left out", "the figures of validate are left out"]
    told = [str(warning.message).partition("are of step 3: ")[2] for warning in said]
    assert [text.partition(";")[0] for text in told] == expected
    loaded = dim_lightning.load(folder)
    assert list(loaded.about["figures"]) == ["test"]
    about = loaded.about["provenance"]
    assert (about["steps"], about["commit"]) == (3, "c0ffee")
    with pytest.warns(UserWarning, match="are left out"):
        direct = dim_lightning.load(run, kept)
    for one in (loaded, direct):
        for name, tensor in one.encoder.state_dict().items():
            assert torch.equal(tensor, weights[f"encoder.{name}"])
    with pytest.raises(InputError, match="is an export, which has one state"):
        dim_lightning.load(folder, kept)
    strange = tmp_path / "other.ckpt"
    kept.rename(strange)
    with pytest.raises(InputError, match=r"other\.ckpt, which does not lie in .*/small/1: "):
        export_run(run, checkpoint=strange)


def test_code_that_was_changed_after_the_training_is_told(tmp_path, make_run):
    name = f"{__name__}.Halves"
    recipe = {"class_path": name, "init_args": {"widths": [4], "embedding_dim": 6}}
    run = make_run(tmp_path / "own" / "1", recipe)
    trained = own_code({"encoder": recipe})
    write_environment(run, {"own_code": trained})
    dim_lightning.load(run)  # without a warning
    write_environment(run, {"own_code": {name: "0"}, "resumed": [{"own_code": trained}]})
    dim_lightning.load(run)
    write_environment(run, {"own_code": trained, "resumed": [{"own_code": {name: "0"}}]})
    with pytest.warns(UserWarning, match=f"{name}: its file was changed since {run} was trained"):
        dim_lightning.load(run)


def test_so_is_code_that_was_changed_after_the_export(tmp_path, make_run):
    recipe = {"class_path": f"{__name__}.Halves", "init_args": {"widths": [4], "embedding_dim": 6}}
    folder = export_run(make_run(tmp_path / "own" / "1", recipe), formats=[]).folder
    dim_lightning.load(folder)  # without a warning
    path = folder / "encoder.json"
    about = json.loads(path.read_text())
    assert list(about["exported"]["own_code"]) == [recipe["class_path"]]
    about["exported"]["own_code"][recipe["class_path"]] = "0"
    path.write_text(json.dumps(about))
    with pytest.warns(
        UserWarning, match=f"Halves: its file was changed since {folder} was exported"
    ):
        dim_lightning.load(folder)
    del about["exported"]["own_code"]
    path.write_text(json.dumps(about))
    dim_lightning.load(folder)


def test_any_class_that_can_be_imported(tmp_path, make_run):
    recipe = {"class_path": f"{__name__}.Halves", "init_args": {"widths": [4], "embedding_dim": 6}}
    run = make_run(tmp_path / "own" / "1", recipe)
    loaded = dim_lightning.load(export_run(run, formats=[]).folder)
    assert type(loaded.encoder).__name__ == "Halves"


def test_a_new_export_replaces_the_old_one_and_nothing_else(run, tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    for name in ("encoder.onnx", "encoder.onnx.data", "encoder.pt2", "mine.txt"):
        (output / name).write_text("old")
    export_run(run, output, ["safetensors"])
    assert _names(output) == ["encoder.json", "encoder.safetensors", "mine.txt"]


class BatchDependent(BlogEncoder):
    """Does something else with many images."""

    def forward(self, images):
        return super().forward(images if len(images) < 3 else 1 - images)


class Adrift(BlogEncoder):
    """Draws at random, which no file can repeat."""

    def forward(self, images):
        features = super().forward(images)
        return features._replace(layers={"noise": torch.rand_like(features.mean)})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Adrift", r"encoder\.safetensors differs from the encoder"),
        ("BatchDependent", "BatchDependent cannot be written as a program for any number"),
    ],
)
def test_what_does_not_compute_the_same_is_not_written(tmp_path, make_run, name, said):
    recipe = {"class_path": f"{__name__}.{name}", "init_args": {"widths": [4], "embedding_dim": 6}}
    run = make_run(tmp_path / name / "1", recipe)
    with pytest.raises(InputError, match=said):
        export_run(run, formats=["torch"])
    assert not (run / "export").exists()


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ({"class_path": "nowhere.Encoder"}, "No module named 'nowhere'"),
        ({"class_path": "dim_lightning.Nothing"}, "no attribute 'Nothing'"),
        ({"class_path": "torch.nn.Linear"}, "subclass of <class 'Encoder'>"),
        ({"class_path": BLOG, "init_args": {"width": 3}}, "'width' is not accepted"),
        ({"class_path": BLOG, "init_args": {"widths": [2, 2, 2, 2]}}, "too small for an encoder"),
        ("json.dumps", "a function that returns <class 'Encoder'>"),
    ],
)
def test_an_encoder_that_cannot_be_made(tmp_path, make_run, recipe, said):
    run = make_run(tmp_path / "bad" / "1", recipe)
    with pytest.raises(InputError, match=said):
        dim_lightning.load(run)


def test_weights_of_another_encoder(tmp_path, make_run):
    recipe = {"class_path": BLOG, "init_args": {"widths": [5], "embedding_dim": 6}}
    run = make_run(tmp_path / "other" / "1", recipe)
    with pytest.raises(InputError, match=r"last\.ckpt holds the weights of another encoder"):
        dim_lightning.load(run)


def test_a_spoilt_checkpoint_and_the_one_before(run, encoder):
    last = run / "checkpoints" / "last.ckpt"
    last.rename(last.with_name("previous.ckpt"))
    last.write_bytes(b"cut short")
    with pytest.warns(UserWarning, match=r"last\.ckpt .*previous\.ckpt, the one before, is used"):
        encode = dim_lightning.load(run)
    expected = encoder(IMAGES / 255.0).mean
    torch.testing.assert_close(encode(IMAGES), expected.detach(), atol=1e-5, rtol=1e-5)


def test_folders_that_hold_no_encoder(run, tmp_path):
    with pytest.raises(InputError, match="is no folder with"):
        dim_lightning.load(tmp_path / "missing")
    with pytest.raises(InputError, match="holds neither"):
        dim_lightning.load(tmp_path)
    (run / "config.yaml").write_text("model: {}\n")
    with pytest.raises(InputError, match=r"does not say model\.encoder"):
        dim_lightning.load(run)
    (run / "config.yaml").write_text("model: {encoder: a.B}\ndata: {image_size: 8}\nmodel: {}\n")
    with pytest.raises(InputError, match=r"config\.yaml cannot be read as YAML: .*model"):
        dim_lightning.load(run)


def test_damaged_exports_are_refused(run):
    folder = export_run(run, formats=[]).folder
    about = json.loads((folder / "encoder.json").read_text())
    weights = (folder / "encoder.safetensors").read_bytes()
    (folder / "encoder.safetensors").write_bytes(weights[:-1])
    with pytest.raises(InputError, match=r"is another file than the one encoder\.json tells of"):
        dim_lightning.load(folder)
    (folder / "encoder.safetensors").unlink()
    with pytest.raises(InputError, match="is missing"):
        dim_lightning.load(folder)
    (folder / "encoder.json").write_text(json.dumps({**about, "version": 99}))
    with pytest.raises(InputError, match="version 99; expected"):
        dim_lightning.load(folder)
    (folder / "encoder.json").write_text("{}")
    with pytest.raises(InputError, match="is no description of an encoder"):
        dim_lightning.load(folder)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("version", [None, "1", True]),
        ("encoder", [None, 3]),
        ("image_size", [None, "8", True]),
        ("outputs", [None, ["embedding"]]),
        ("files", [None, [], {}, {"encoder.safetensors": {"sha256": None}}]),
    ],
)
def test_edited_descriptions_are_refused(run, key, values):
    path = export_run(run, formats=[]).folder / "encoder.json"
    about = json.loads(path.read_text())
    left = {name: value for name, value in about.items() if name != key}
    for edited in (left, *(about | {key: value} for value in values)):
        path.write_text(json.dumps(edited))
        with pytest.raises(InputError, match=f"is no description of an encoder: ({key}|sha256) is"):
            dim_lightning.load(path.parent)


class Six(BlogEncoder):
    """Has a setting whose type is not looked at, as many do."""

    def __init__(self, image_size: int, scale=1):
        super().__init__(image_size, widths=(4,), embedding_dim=6 * int(scale))


def shifted(image_size: int, low: float = 0.0) -> Encoder:
    return BlogEncoder(image_size, widths=(4,), embedding_dim=6, pixel_range=(low, 1.0))


@pytest.mark.parametrize(
    "make",
    [
        partial(BlogEncoder, widths=(4,), embedding_dim=6, pixel_range=(-1.0, 1.0)),
        partial(Six, scale=np.int64(1)),
        shifted,
    ],
)
def test_the_encoder_of_a_script(make, tmp_path):
    module = Supervised(make, image_size=8)
    folder = dim_lightning.export_encoder(module, tmp_path / "out", ["safetensors"]).folder
    assert module.encoder.training
    expected = module.encoder.eval()(IMAGES / 255).mean
    loaded = dim_lightning.load(folder)
    torch.testing.assert_close(loaded(IMAGES), expected.detach(), rtol=0, atol=0)
    assert loaded.about["provenance"] == {"method": "Supervised", "seed": 0}


def test_the_global_generator_stays(run, tmp_path):
    """Though the encoder is made anew, and so draws weights."""
    module, state = Supervised(shifted, image_size=8), torch.get_rng_state()
    dim_lightning.load(run)
    dim_lightning.load(dim_lightning.export_encoder(module, tmp_path / "out", []).folder)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("formats", [["safetensors"], []])
def test_the_weights_are_always_written(tmp_path, formats):
    module = Supervised(shifted, image_size=8)
    folder = dim_lightning.export_encoder(module, tmp_path / "out", formats).folder
    assert {path.name for path in folder.iterdir()} == {"encoder.json", "encoder.safetensors"}


@pytest.mark.parametrize(
    ("formats", "said"),
    [
        (["onn"], "^formats has 'onn'; expected some of safetensors,torch,"),
        ("onnx", r"^formats is 'onnx'; expected a list; write \['onnx'\]"),
    ],
)
def test_a_format_that_is_none_is_told_by_the_arguments_name(tmp_path, formats, said):
    with pytest.raises(InputError, match=said):
        dim_lightning.export_encoder(Supervised(shifted, image_size=8), tmp_path, formats)


class Tied(BlogEncoder):
    """Has a part under two names."""

    def __init__(self, image_size: int):
        super().__init__(image_size, widths=(4,), embedding_dim=6)
        self.again = next(self.children())


def test_shared_weights_are_written_for_each_part(tmp_path):
    module = Supervised(Tied, image_size=8)
    folder = dim_lightning.export_encoder(module, tmp_path / "out", ["safetensors"]).folder
    expected = module.encoder.eval()(IMAGES / 255).mean
    torch.testing.assert_close(dim_lightning.load(folder)(IMAGES), expected.detach())


def test_an_encoder_that_a_file_cannot_name_is_not_written(tmp_path):
    for make in (
        lambda size: shifted(size),
        partial(shifted, low=-1.0),
        partial(BlogEncoder, widths=torch.ones(1)),
        partial(BlogEncoder, 8),
    ):
        module = Supervised(shifted, image_size=8)
        module.hparams["encoder"] = make
        with pytest.raises(InputError, match=r"expected a class, a functools\.partial of one"):
            dim_lightning.export_encoder(module, tmp_path / "out")
    module.hparams.clear()
    with pytest.raises(InputError, match=r"Supervised does not say .*save_hyperparameters"):
        dim_lightning.export_encoder(module, tmp_path / "out")
    assert not (tmp_path / "out").exists()
