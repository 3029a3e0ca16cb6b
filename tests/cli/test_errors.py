"""Bad input: one short error, exit code 2, and nothing half written."""

import errno
import re
import tempfile

import pytest
from torch import nn

from dim_lightning.cli import main
from dim_lightning.cli.building import _place
from dim_lightning.run.result import read_result

YAML_CASES = {
    "modl: {local_weight: 1}": "unknown key modl.local_weight; did you mean model.local_weight?",
    "model: {local_wieght: 1}": "unknown key model.local_wieght; did you mean model.local_weight?",
    "model: 3": "model is 3; expected settings below it",
    "a: [": "bad.yaml cannot be read as YAML: line 1: ",
    "experiment: 2024-13-45": "bad.yaml cannot be read as YAML: month must be in 1..12",
    "just words": "holds no settings",
    "model: {local_weight: '${model.nope}'}": "model.local_weight: Interpolation key",
    "model: {encoder: BlogEncodr}": "which is no known Encoder; did you mean BlogEncoder?",
    "model: {encoder: dim_lightning.encoders.BlogEncodr}": "did you mean BlogEncoder?",
    "model: {encoder: dim_lightnin.BlogEncoder}": (
        "there is no module dim_lightnin; expected an import path; for a module of your own, run"
    ),
    "model: {encoder: {class_path: BlogEncoder, init_args: {embeding_dim: 3}}}": (
        "unknown parameter embeding_dim of dim_lightning.BlogEncoder; did you mean embedding_dim?"
    ),
    "model: {encoder: {class_path: BlogEncoder, init_args: {embedding_dim: big}}}": (
        "model.encoder.embedding_dim is 'big'; expected a whole number"
    ),
    "model: {estimator: dim_lightning.infomax.estimators.jensen_shanon}": (
        "did you mean jensen_shannon?"
    ),
    "model: {optimizer: {class_path: torch.optim.Adam, init_args: {learning_rate: 1}}}": (
        "unknown parameter learning_rate of torch.optim.Adam"
    ),
    "data: {source: CIFAR11}": "did you mean CIFAR10?",
    "model: {encoder: torch.nn.ReLU}": (
        "model.encoder is torch.nn.ReLU; expected a subclass of Encoder"
    ),
    "model: {encoder: dim_lightning.infomax.estimators.nwj}": (
        "expected a subclass of Encoder, or what returns one, with that as its type: -> Encoder"
    ),
    "model: {encoder: dim_lightning.encoders}": (
        "model.encoder is dim_lightning.encoders, an object or a module; expected the import path"
    ),
    "model: {encoder: MyOwn}": "one of your own goes by its import path, my_module.MyClass",
    "model: {encoder: [BlogEncoder]}": "expected a class, by its name or class_path",
    "model: {encoder: {class_path: BlogEncoder, init_args: [3]}}": (
        "model.encoder.init_args is [3]; expected settings below it"
    ),
    "model: {encoder: ''}": "model.encoder is '', which is no known Encoder",
    "model: {estimator: nwj}": "did you mean dim_lightning.infomax.estimators.nwj?",
    "model: {estimator: nvj}": (
        "model.estimator is 'nvj', which is no known estimator; nothing comes close; expected "
        "dim_lightning.infomax.estimators.NAME, NAME one of donsker_varadhan, info_nce, "
    ),
    "model: {estimator: dim_lightning.info_nec}": (
        "model.estimator: there is no info_nec in dim_lightning; did you mean "
        "dim_lightning.infomax.estimators.info_nce?"
    ),
    "model: {estimator: dim_lightning.infomax.estimator.nwj}": (
        "model.estimator: there is no estimator in dim_lightning.infomax; did you mean estimators?"
    ),
    "model: {estimator: bounds.hinge}": "model.estimator: there is no module bounds; expected an",
    "model: {estimator: torch.nn.ReLU}": "model.estimator is torch.nn.ReLU; expected a subclass",
    "model: {report: [dim_lightning.infomax.estimators.smiles]}": (
        "model.report: there is no smiles in dim_lightning.infomax.estimators; did you mean smile?"
    ),
    "model: {prior: GausianKL}": "model.prior is 'GausianKL', which is no known Prior; did you "
    "mean GaussianKL?",
    "model: {prior: dim_lightning.infomax.priors.GausianKL}": (
        "model.prior: there is no GausianKL in dim_lightning.infomax.priors; did you mean "
        "GaussianKL?"
    ),
    "model: {prior: dim_lightning.GausianKL}": (
        "model.prior: there is no GausianKL in dim_lightning; did you mean "
        "dim_lightning.infomax.priors.gaussian_kl.GaussianKL?"
    ),
    "model: {prior: my_priors.Mine}": "model.prior: there is no module my_priors; expected an",
    "model: {prior: torch.nn.ReLU}": "model.prior is torch.nn.ReLU; expected a subclass of Prior",
    "model: {local_critic: DotCritc}": (
        "model.local_critic is 'DotCritc', which is no known Critic; did you mean DotCritic?"
    ),
    "model: {local_critic: GaussianKL}": (  # a class of another kind
        "model.local_critic is 'GaussianKL', which is no known Critic; nothing comes close; "
        "expected one of BilinearCritic, ConcatCritic, CosineCritic, DotCritic; one of your own"
    ),
    "model: {global_critic: dim_lightning.infomax.critics.DotCritc}": (
        "model.global_critic: there is no DotCritc in dim_lightning.infomax.critics; did you mean "
        "DotCritic?"
    ),
    "model: {patch_critic: dim_lightning.infomax.critic.DotCritic}": (
        "model.patch_critic: there is no critic in dim_lightning.infomax; did you mean critics?"
    ),
    "model: {local_critic: nets.Critic}": "model.local_critic: there is no module nets; expected",
    "model: {local_critic: dim_lightning.infomax.estimators.nwj}": (
        "model.local_critic is dim_lightning.infomax.estimators.nwj; expected a subclass of Critic"
    ),
    "model: {local_weight: 1}\nmodel: {prior_weight: 1}": "line 2: model stands there",
    "model:": "model is null; expected settings below it",
    "model: {optimizer: {class_path: torch.optim.SGD, init_args: {lr: -1}}}": (
        "SGD cannot be built with lr=-1"
    ),
    "data: {source: PictureFolder}": "PictureFolder needs path; set it below data.source.init_args",
    "trainer: {callbacks: [EarlyStopping]}": "trainer.callbacks: EarlyStopping needs monitor",
    "trainer: {callbacks: [torch.nn.ReLU]}": "expected a subclass of Callback",
    "trainer: {callbacks: [{class_path: Timer, init_args: {interval: null}}]}": (
        "trainer.callbacks.0.init_args.interval is null; expected a value; leave"
    ),
    "trainer: {callbacks: [null]}": "trainer.callbacks has null in its list; expected a subclass",
    "trainer: {callbacks: [{class_path: null}]}": "trainer.callbacks.class_path is null; expected",
    "model: {encoder: {class_path: null}}": "model.encoder.class_path is null; expected a class",
    "data: {source: {class_path: null}}": "data.source.class_path is null; expected a class",
    "trainer: {logger: {class_path: Foo}}": "trainer.logger is 'Foo', which is no known Logger",
}
OPTION_CASES = {
    "--model.local_wieght=1": "did you mean model.local_weight?",
    "--trainer.max_epoch=3": "did you mean trainer.max_epochs?",
    "--local_weight=1": "did you mean model.local_weight?",
    "--model.local_weight=much": "model.local_weight is 'much'; expected a number",
    "--data.batch_size=3.5": "data.batch_size is '3.5'; expected a whole number",
    "--data.batch_size=1": "expected at least 2",
    "--data.batch_size=5000": "fewer than a batch of 5000",
    "--data.image_size=2": "too small",
    "--model.num_negatives=64": "model.num_negatives is 64; expected 1 to 31",
    "--model.num_negatives=some": "model.num_negatives is 'some'",
    "--model.num_locations=99": "model.num_locations is 99; expected 1 to",
    "--model.estimator=dim_lightning.infomax.estimators.smile": "it only reports",
    "--model.patch_weight=-1": "model.patch_weight is -1",
    "--data.num_views=2": "augmentation",
    "--model.seed=3": "set seed_everything instead",
    "--trainer.default_root_dir=/tmp": "set runs_dir and experiment instead",
    "--trainer.accelerator=abacus": "trainer: ",
    "--trainer.precision=64-true": "expected 32-true, bf16-mixed or 16-mixed",
    "--trainer.precision=bf16-true": "expected 32-true, bf16-mixed or 16-mixed",
    "--trainer.precision=16-mixed": "a CPU computes in bf16-mixed here; expected bf16-mixed or 32",
    "--trainer.strategy=fsdp": "trainer.strategy is fsdp, but probes and figures need the whole",
    "--trainer.accumulate_grad_batches=0": "trainer.accumulate_grad_batches is 0",
    "--trainer.barebones=true": "trainer.barebones is true; expected false",
    "--trainer.log_every_n_steps=0": "trainer.log_every_n_steps is 0; expected at least 1",
    "--trainer.val_check_interval=0": "trainer.val_check_interval is 0; expected more than 0",
    "--probe.learning_rate=-1": "probe.learning_rate is -1.0; expected at least 0",
    "--neighbours.num_queries=0": "neighbours.num_queries is 0; expected at least 1",
    "--geometry=3": "geometry is '3'; expected settings below it",
    f"--geometry={'x' * 81}": f"geometry is '{'x' * 79}…'; expected settings below it",
    "--data.augmentation.shift=1": "data.augmentation.shift is given, but no class",
    "--data.split_seed=-1": "data.split_seed is -1; expected at least 0",
    "--model.encoder.init_args=3": "model.encoder.init_args is '3'; expected settings below it",
    "--data.root=tiny.yaml": "tiny.yaml/cache: a part of that path is a file, not a folder",
    "--config=.": "expected a YAML configuration",
    "--experiment=../up": "expected a plain name",
    "--experiment=null": "experiment is 'null'; expected a name",
    "--runs_dir=null": "runs_dir is 'null'; expected a name",
    "--runs_dir=": "runs_dir is ''; expected a name",
    "--data.root=": "data.root is empty; expected a folder",
    "--data.root=~nobody-of-this-name/x": "a path begins with ~, and there is no such home here",
    "--data.cache_dir=": "data.cache_dir is empty; expected a folder",
    "--resume=": "--resume is empty; expected the folder of a run",
    "--ckpt_path=none.ckpt": "there is no checkpoint none.ckpt",
    "--config=none.yaml": "there is no file",
    "--weights_only=false": "could run code",
    "--checkpoint.every_n_steps=0": "checkpoint.every_n_steps is 0; expected more than 0",
    "stray": "stray was not expected there",
}


TRAINING_CASES = {  # only Lightning's loop knows
    "trainer: {val_check_interval: 99}": "`val_check_interval` (99) must be less than or equal to",
    "trainer: {callbacks: [{class_path: EarlyStopping, init_args: {monitor: val/los}}]}": (
        "conditioned on metric `val/los` which is not available"
    ),
}


def _error(capsys, code):
    """The one error, on the last line of standard error, of a command that ended with `code`."""
    assert code == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "error" in line] == lines[-1:]
    assert lines[-1].startswith("error: ")
    assert len(re.sub(r"/\S+/", "", lines[-1])) < 500  # without folders, which may be long
    return lines[-1]


@pytest.mark.parametrize("content", YAML_CASES)
def test_configuration_files(workshop, capsys, content):
    before = workshop.made()
    code = workshop.fit("--config", workshop.write("bad.yaml", content))
    assert YAML_CASES[content] in _error(capsys, code)
    assert workshop.made() == before


@pytest.mark.parametrize("content", TRAINING_CASES)
def test_settings_that_training_refuses(workshop, capsys, content):
    code = workshop.fit("--config", workshop.write("bad.yaml", content), "--experiment", "refused")
    text = _error(capsys, code)
    assert text.startswith("error: trainer: ")
    assert TRAINING_CASES[content] in text
    newest = max(workshop.runs.glob("refused/*"), key=lambda run: int(run.name))
    assert read_result(newest)["fit"]["status"] == "failed"


@pytest.mark.parametrize("option", OPTION_CASES)
def test_options(workshop, capsys, monkeypatch, option):
    monkeypatch.chdir(workshop.folder)
    before = workshop.made()
    assert OPTION_CASES[option] in _error(capsys, workshop.fit(option))
    assert workshop.made() == before


def test_a_plain_fit_under_torchrun(workshop, capsys, monkeypatch):
    for name, value in {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    before = workshop.made()
    said = "torchrun has started 4 processes, but trainer.devices is 1"
    assert said in _error(capsys, workshop.fit())
    assert workshop.made() == before


def test_validation_by_the_clock_on_several_processes(workshop, capsys):
    words = ["--trainer.devices", "2", "--trainer.strategy", "ddp"]
    before = workshop.made()
    code = workshop.fit(*words, "--trainer.val_check_interval", "00:00:10:00")
    assert "2 processes do not agree on the time" in _error(capsys, code)
    assert workshop.made() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fitt"], "did you mean fit?"),
        (["--config", "a.yaml", "fit"], "--config stands first; expected a command there"),
        (["test"], "expected --run FOLDER"),
        ([], "no command given"),
        (["test", "--run", "nowhere"], "no run folder nowhere"),
        (["fit", "--resume", "nowhere"], "no run folder nowhere"),
        (["fit", "--resume=elsewhere", "--resume", "nowhere"], "no run folder nowhere"),
        (["fit", "--run", "runs/a/1"], "a run's folder is given to it by --resume"),
        (["test", "--resume=runs/a/1"], "a run's folder is given to it by --run"),
        (["compare"], "expected at least two"),
        (["compare", "--foo"], "--foo"),
        (["fit", "--experiment", "caf\udce9"], r"caf\udce9 is no text in this locale's encoding"),
    ],
)
def test_commands(capsys, words, said):
    assert said in _error(capsys, main(words))


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE])
@pytest.mark.parametrize("name", ["runs/x/.lock", None])
def test_what_cannot_be_read_or_written(capsys, monkeypatch, name, code):
    """Permissions do not keep root out, so that the system's answer is made up."""

    def refused(words):
        raise OSError(code, "Refused", name)

    monkeypatch.setattr("dim_lightning.cli.entry._dispatch", refused)
    if name is None and code in (errno.EACCES, errno.EPERM):  # as of a process
        with pytest.raises(OSError, match="Refused"):
            main(["fit"])
        return
    error = _error(capsys, main(["fit"]))
    assert f"{name or 'a file'}: Refused; expected files and folders that you can read" in error


@pytest.mark.parametrize("words", [["test", "--run"], ["export"]])
def test_a_name_that_is_too_long(capsys, words):
    error = _error(capsys, main([*words, "x" * 300]))
    assert "File name too long; expected" in error
    assert len(error) < 500


def test_a_folder_that_cannot_be_taken_away_hides_no_error(workshop, capsys, monkeypatch):
    def refused(folder):
        raise OSError(errno.ENOTEMPTY, "Directory not empty", str(folder))

    monkeypatch.setattr("dim_lightning.cli.command_line.remove_unused_folder", refused)
    assert "max_epochs" in _error(capsys, workshop.fit("--trainer.max_epochs", "-5"))


def test_a_runs_dir_that_cannot_be_written(workshop, capsys):
    file = workshop.write("a_file", "")
    assert "is a file" in _error(capsys, workshop.fit("--runs_dir", file))


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_a_run_folder_that_takes_no_figures_is_told_before_they_are_found(
    finished, capsys, monkeypatch, command
):
    def refused(**_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("dim_lightning.cli.checks.tempfile.TemporaryFile", refused)
    monkeypatch.setattr("lightning.Trainer", pytest.fail)
    error = _error(capsys, main([command, "--run", str(finished)]))
    assert f"cannot write {finished}, where the figures go: the file system is read-only;" in error
    assert f"--config {finished}/config.yaml --ckpt_path {finished}/checkpoints/last.ckpt" in error


def test_a_checkpoint_of_another_model(workshop, finished, capsys):
    before, path = workshop.made(), finished / "checkpoints" / "last.ckpt"
    words = ["--ckpt_path", str(path), "--config"]
    wide = "model: {encoder: {class_path: BlogEncoder, init_args: {widths: [6]}}}"
    text = _error(capsys, workshop.fit(*words, workshop.write("wide.yaml", wide)))
    assert str(path) in text
    assert "encoder.local_trunk.0.weight is [4, 3, 3, 3]; expected [6, 3, 3, 3]" in text
    assert workshop.made() == before


def test_a_run_without_a_checkpoint(tmp_path, capsys):
    (tmp_path / "config.yaml").write_text("")
    text = _error(capsys, main(["test", "--run", str(tmp_path)]))
    assert f"{tmp_path} has no checkpoints/last.ckpt; expected a run that" in text
    assert "fast_dev_run" in text


def test_a_number_that_is_none_stops_the_run_and_keeps_no_broken_state(workshop, capsys):
    words = ["--trainer.max_epochs", "3", "--model.optimizer.lr", "1e30"]
    text = _error(capsys, workshop.fit("--experiment", "nan", *words))
    assert "became NaN or infinite at step" in text
    run = workshop.runs / "nan" / "1"
    fit = read_result(run)["fit"]
    assert fit["status"] == "failed"
    assert "NaN" in fit["reason"]
    assert not (run / "checkpoints" / "last.ckpt").exists()
    assert (run / "summary.html").is_file()


WANDB = {"trainer": {"logger": {"class_path": "dim_lightning.run.wandb_logger.WandbLogger"}}}


@pytest.mark.parametrize("option", ["--model.num_negatives=64", "--trainer.accelerator=abacus"])
def test_a_run_that_is_refused_leaves_none_open_on_wandb(workshop, capsys, monkeypatch, option):
    import wandb

    monkeypatch.setenv("WANDB_MODE", "offline")
    before = workshop.made()
    config = workshop.write("wandb.yaml", WANDB)
    assert OPTION_CASES[option] in _error(capsys, workshop.fit("--config", config, option))
    assert wandb.run is None
    assert workshop.made() == before


def test_a_run_on_wandb_that_cannot_be_noted_is_closed(workshop, capsys, monkeypatch):
    import wandb

    make = tempfile.mkstemp

    def full(**where):
        if "wandb" in where["prefix"]:
            raise OSError(errno.ENOSPC, "No space left on device")
        return make(**where)

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr("dim_lightning.writing.tempfile.mkstemp", full)
    before = workshop.made()
    config = workshop.write("wandb.yaml", WANDB)
    assert "the disk is full" in _error(capsys, workshop.fit("--config", config))
    assert wandb.run is None
    assert workshop.made() == before


def test_wandb_not_installed(workshop, capsys, monkeypatch):
    monkeypatch.setattr("lightning.pytorch.loggers.wandb._WANDB_AVAILABLE", False)
    before = workshop.made()
    text = _error(capsys, workshop.fit("--config", workshop.write("wandb.yaml", WANDB)))
    assert "python -m pip install wandb" in text
    assert workshop.made() == before


class Broken(nn.Module):
    """An encoder of one's own with a mistake in it."""

    def __init__(self, image_size):
        super().__init__()
        self.layer = self.there_is_none  # ends in torch's own file


def test_a_mistake_in_a_class_of_ones_own_is_placed_in_its_file():
    with pytest.raises(AttributeError) as caught:
        Broken(8)
    assert _place(Broken, caught.value).startswith("test_errors.py:")
