"""Which class lies below `model`: the setting `method`."""

import pytest
import torch
import yaml

import dim_lightning
from dim_lightning.baselines import VAE
from dim_lightning.cli import main
from dim_lightning.cli.method import METHODS, method_class, method_named
from dim_lightning.encoder_module import EncoderModule, MakeEncoder
from dim_lightning.errors import InputError
from dim_lightning.infomax.deep_infomax import DeepInfoMax

SIZES = "{widths: [4, 4, 4], hidden_dim: 8, embedding_dim: 6, gaussian: true}"
SMALL = f"{{class_path: PaperEncoder, init_args: {SIZES}}}"
CONFIG = f"method: VAE\nmodel: {{beta: 2, encoder: {SMALL}}}"


@pytest.mark.parametrize("name", METHODS)
def test_every_name_is_a_class(name):
    assert method_class(name).__name__ == name


def test_without_a_word_it_is_deep_infomax(tmp_path):
    other = tmp_path / "a.yaml"
    other.write_text("experiment: x")
    words = ["fit", "--config", str(other), "--config", str(tmp_path / "none.yaml")]
    assert method_class(method_named(words)) is DeepInfoMax


def test_the_last_word_counts(tmp_path):
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("method: VAE")
    second.write_text("method: NAT")
    files = ["fit", f"--config={first}", "-c", str(second)]
    assert method_named(files) == "NAT"
    assert method_named([*files, "--method", "BiGAN"]) == "BiGAN"
    assert method_named(["fit", "--method=BiGAN", *files[1:]]) == "NAT"


def test_a_class_of_ones_own():
    assert method_class("dim_lightning.baselines.vae.VAE") is VAE


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("BiGNA", "did you mean BiGAN"),
        ("nowhere.Nothing", "no known class.*PYTHONPATH"),
        ("", "no known class"),
        ("dim_lightning.encoders.PaperEncoder", "expected a subclass"),
    ],
)
def test_what_is_no_method_is_refused(name, said):
    with pytest.raises(InputError, match=said):
        method_class(name)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("method: BiGNA", "did you mean BiGAN?"),
        (
            "method: VAE\nmodel: {local_weight: 1}",
            "unknown key model.local_weight; it is no setting of VAE; to write a config for that "
            "method, see `fit --method VAE --help`",
        ),
        ("method: VAE\nmodel: {bata: 1}", "did you mean model.beta?"),
        ("method: VAE\nmodel: {beta: much}", "model.beta is 'much'; expected a number"),
        ("model: {class_path: VAE}", "name the class by method"),
    ],
)
def test_errors_name_the_settings_of_the_method(workshop, capsys, content, said):
    assert workshop.fit("--config", workshop.write("bad.yaml", content)) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_settings_of_the_files_method_are_none_of_another_one(workshop, capsys):
    path = workshop.write("dim.yaml", "model: {local_critic: {init_args: {width: 3}}}")
    said = "unknown key model.local_critic.init_args.width; it is no setting of VAE; to write a "
    assert main(["fit", "--config", path, "--method", "VAE"]) == 2
    assert said in capsys.readouterr().err
    rows = "[{name: one, config: dim.yaml, overrides: {method: VAE}}]"
    table = workshop.write("two.yaml", f"columns: {{probe/linear/y/top1: y}}\nrows: {rows}")
    assert main(["table", table, "--dry"]) == 2
    assert f"row one ({path}): {said}" in capsys.readouterr().err


def test_another_method_from_training_to_export(workshop, tmp_path):
    config = workshop.write("vae.yaml", CONFIG)
    assert workshop.fit("--config", config, "--experiment", "vae") == 0
    run = workshop.runs / "vae" / "1"
    stored = yaml.safe_load((run / "config.yaml").read_text())
    assert (stored["method"], stored["model"]["beta"]) == ("VAE", 2.0)
    assert {p.stem for p in (run / "pictures").iterdir()} >= {"reconstructions", "samples"}
    assert "VAE, started" in (run / "summary.html").read_text()
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["hyper_parameters"]["beta"] == 2.0
    assert main(["fit", "--resume", str(run), "--trainer.max_epochs", "2"]) == 0
    assert main(["predict", "--run", str(run)]) == 0
    out = str(tmp_path / "export")
    assert main(["export", str(run), "--output", out, "--format", "safetensors"]) == 0
    codes = dim_lightning.load(out)(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    assert codes.shape == (2, 6)


def constructed(arguments):
    """A method whose constructor has these arguments."""
    names: dict = {}
    exec(f"def __init__(self, {arguments}): ...", {"MakeEncoder": MakeEncoder}, names)
    body = {"__init__": names["__init__"], "code_and_terms": lambda self, batch, generator: None}
    return type("Own", (EncoderModule,), body)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("encoder=None, image_size: int = 8, seed: int = 0", "Own gives encoder no type"),
        ("encoder: MakeEncoder, seed: int = 0", "Own has no image_size; expected"),
        ("width: int = 3", "Own has no image_size and no seed"),
    ],
)
def test_a_constructor_of_which_no_settings_can_be_made_is_refused(arguments, said, monkeypatch):
    monkeypatch.setattr(dim_lightning, "Own", constructed(arguments), raising=False)
    with pytest.raises(InputError, match=said):
        method_class("dim_lightning.Own")


@pytest.mark.parametrize("arguments", ["image_size: int = 8, seed: int = 0", "**kwargs"])
def test_a_constructor_that_has_or_passes_on_what_is_set_is_taken(arguments, monkeypatch):
    own = constructed(arguments)
    monkeypatch.setattr(dim_lightning, "Own", own, raising=False)
    assert method_class("dim_lightning.Own") is own


def test_a_method_without_terms_is_refused(monkeypatch):
    monkeypatch.setattr(dim_lightning, "Own", type("Own", (EncoderModule,), {}), raising=False)
    with pytest.raises(InputError, match="lacks code_and_terms"):
        method_class("dim_lightning.Own")
