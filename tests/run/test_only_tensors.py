"""Nothing that is read from disk can run code."""

import ast
import hashlib
import json
from pathlib import Path

import pytest
import torch

import dim_lightning
from dim_lightning.errors import InputError
from dim_lightning.export import export_run
from dim_lightning.run.checkpoint import AtomicCheckpointIO, newest_checkpoint, read_checkpoint

PACKAGE = Path(dim_lightning.__file__).parent
READERS = {  # what can run code, and the argument with which it does not
    "torch.load": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
    "pickle.load": None,
    "pickle.loads": None,
    "pickle.Unpickler": None,
    "joblib.load": None,
    "marshal.loads": None,
    "shelve.open": None,
    "torch.jit.load": None,
    "torch.package.PackageImporter": None,
    "yaml.load": None,
    "yaml.full_load": None,
    "yaml.unsafe_load": None,
}
SAFE_DEFAULT = {"np.load", "numpy.load"}


def risky_calls(code):
    """Calls in `code` that could run what they read."""
    for call in ast.walk(ast.parse(code)):
        if not isinstance(call, ast.Call):
            continue
        name = ast.unparse(call.func)
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if name.endswith("load_from_checkpoint"):
            yield ast.unparse(call)
        elif name in READERS:
            safe = READERS[name]
            is_safe = safe and given.get(safe[0], str(safe[1] and None)) == str(safe[1])
            if not is_safe and not (name in SAFE_DEFAULT and safe[0] not in given):
                yield ast.unparse(call)


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("torch.load(path)", 1),
        ("torch.load(path, weights_only=False)", 1),
        ("torch.load(path, weights_only=flag)", 1),
        ("torch.load(path, weights_only=True)", 0),
        ("np.load(path)", 0),
        ("np.load(path, allow_pickle=True)", 1),
        ("pickle.loads(data)", 1),
        ("Model.load_from_checkpoint(path)", 1),
        ("yaml.safe_load(text)", 0),
    ],
)
def test_a_risky_call_is_seen(code, count):
    assert len(list(risky_calls(code))) == count


def test_the_package_has_none():
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 80
    assert [(str(f), call) for f in files for call in risky_calls(f.read_text())] == []
    assert [(str(f), name) for f in files for name in hidden_readers(f.read_text())] == []


def hidden_readers(code):
    """Readers that come in under a name that `risky_calls` does not know."""
    modules = {name.partition(".")[0] for name in READERS} - {"np"}
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module in modules:
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name for name in full if name in READERS)
        elif isinstance(node, ast.Import):
            renamed = [a for a in node.names if a.name in modules and a.asname not in (None, "np")]
            yield from (alias.name for alias in renamed)


def test_a_hidden_reader_is_seen():
    assert list(hidden_readers("from pickle import loads")) == ["pickle.loads"]
    assert list(hidden_readers("import torch as t")) == ["torch"]
    assert list(hidden_readers("import numpy as np\nfrom dim_lightning import load")) == []


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def bomb(tmp_path):
    state = {"state_dict": {"encoder.weight": torch.zeros(1)}, "code": Bomb(tmp_path / "ran")}
    torch.save(state, tmp_path / "bomb.ckpt")
    torch.load(tmp_path / "bomb.ckpt", weights_only=False)
    assert (tmp_path / "ran").exists()  # it does go off where it can
    (tmp_path / "ran").unlink()
    return tmp_path / "bomb.ckpt"


@pytest.mark.parametrize("read", [read_checkpoint, AtomicCheckpointIO().load_checkpoint])
def test_a_checkpoint_with_code_in_it_is_refused(bomb, read):
    with pytest.raises(InputError, match=r"bomb\.ckpt .*could run code"):
        read(bomb)
    assert not bomb.with_name("ran").exists()


def test_asking_for_it_does_not_help(bomb, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with pytest.raises(InputError, match="could run code"):
        AtomicCheckpointIO().load_checkpoint(bomb, weights_only=False)
    assert not bomb.with_name("ran").exists()


def test_as_the_last_checkpoint_of_a_run(bomb, tmp_path):
    folder = tmp_path / "checkpoints"
    for number in (1.0, 2.0):
        state = {"state_dict": {"weight": torch.tensor([number])}}
        AtomicCheckpointIO().save_checkpoint(state, folder / "last.ckpt")
    bomb.replace(folder / "last.ckpt")
    path, refused = newest_checkpoint(tmp_path)
    assert path == folder / "previous.ckpt"
    assert "could run code" in refused[0]
    assert not (tmp_path / "ran").exists()


def test_as_an_encoder(bomb, tmp_path):
    run = tmp_path / "small" / "1"
    (run / "checkpoints").mkdir(parents=True)
    recipe = "{class_path: dim_lightning.BlogEncoder, init_args: {widths: [4], embedding_dim: 6}}"
    (run / "config.yaml").write_text(f"model: {{encoder: {recipe}}}\ndata: {{image_size: 8}}\n")
    encoder = dim_lightning.BlogEncoder(8, widths=(4,), embedding_dim=6)
    weights = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    torch.save({"state_dict": weights}, run / "checkpoints" / "last.ckpt")
    export = export_run(run, formats=["safetensors"]).folder
    (run / "checkpoints" / "last.ckpt").write_bytes(bomb.read_bytes())
    with pytest.raises(InputError, match="could run code"):
        dim_lightning.load(run)
    (export / "encoder.safetensors").write_bytes(bomb.read_bytes())
    about = json.loads((export / "encoder.json").read_text())  # whoever changes one changes both
    about["files"]["encoder.safetensors"]["sha256"] = hashlib.sha256(bomb.read_bytes()).hexdigest()
    (export / "encoder.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match=r"encoder\.safetensors .*export"):
        dim_lightning.load(export)
    assert not (tmp_path / "ran").exists()
