"""The encoder of a finished run, for people who have none of this code."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import dim_lightning
from dim_lightning.cli import main
from dim_lightning.export import programs
from dim_lightning.extras import installation

IMAGES = torch.randint(
    256, (9, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
READ = """
import sys
sys.modules["dim_lightning"] = None  # to import it is an error now
import numpy, onnxruntime, torch
images = numpy.load("images.npy")
program = torch.export.load("out/encoder.pt2").module()
session = onnxruntime.InferenceSession("out/encoder.onnx")
assert session.get_inputs()[0].shape == ["n", 3, 8, 8]
names = [output.name for output in session.get_outputs()]
found = {}
for n in (1, 2, 9):
    layers = program(torch.from_numpy(images[:n]))
    assert list(layers) == names
    layers = {f"torch/{name}": layer.numpy() for name, layer in layers.items()}
    run = session.run(None, {"images": images[:n]})
    layers |= {f"onnx/{name}": layer for name, layer in zip(names, run)}
    found |= {f"{n}/{name}": layer for name, layer in layers.items()}
numpy.savez("found.npz", **found)
"""


@pytest.fixture(scope="module")
def place(finished, tmp_path_factory):
    """A folder with the run's encoder in all formats, in out/."""
    folder = tmp_path_factory.mktemp("export")
    assert main(["export", str(finished), "--output", str(folder / "out")]) == 0
    return folder


@pytest.mark.slow
def test_every_file_is_there(place):
    names = ["encoder.json", "encoder.onnx", "encoder.pt2", "encoder.safetensors"]
    assert sorted(path.name for path in (place / "out").iterdir()) == names
    files = json.loads((place / "out" / "encoder.json").read_text())["files"]
    assert sorted(files) == names[1:]


@pytest.mark.slow
def test_the_programs_run_without_this_package(place, finished):
    np.save(place / "images.npy", IMAGES.numpy())
    command = [sys.executable, "-c", READ]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    encode = dim_lightning.load(finished)
    with np.load(place / "found.npz") as found:
        for n in (1, 2, 9):
            for name, layer in encode.layers(IMAGES[:n]).items():
                for kind in ("torch", "onnx"):
                    np.testing.assert_allclose(found[f"{n}/{kind}/{name}"], layer, 1e-5, 1e-5)


@pytest.mark.slow
def test_load_takes_the_export_as_it_takes_the_run(place, finished):
    encode = dim_lightning.load(place / "out")
    torch.testing.assert_close(encode(IMAGES), dim_lightning.load(finished)(IMAGES))
    environment = json.loads((finished / "environment.json").read_text())
    assert encode.about["provenance"]["commit"] == environment["commit"]
    assert encode.about["figures"]["fit"]["epochs"] == 1


def test_formats_are_chosen_and_the_place_is_said(finished, capsys):
    assert main(["export", str(finished), "--format", "safetensors"]) == 0
    out = capsys.readouterr().out
    assert str(finished / "export" / "encoder.safetensors") in out
    assert "encoder.pt2" not in out


def _refused(words, capsys):
    assert main(["export", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "Traceback" not in error
    return error


def test_what_cannot_be_exported(workshop, finished, tmp_path, capsys):
    assert "there is no run folder" in _refused([str(tmp_path / "none")], capsys)
    (tmp_path / "config.yaml").write_text((finished / "config.yaml").read_text())
    assert "has no checkpoints/last.ckpt" in _refused([str(tmp_path)], capsys)
    assert "--format has 'tflite'" in _refused([str(finished), "--format", "tflite"], capsys)
    assert "export --help" in _refused([], capsys)
    other = ["--ckpt_path", str(tmp_path / "other.ckpt")]
    assert f"other.ckpt, which does not lie in {finished}" in _refused(
        [str(finished), *other], capsys
    )


def test_missing_libraries_are_named(finished, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(programs, "EXTRAS", {"export": ("onnx", "not_installed")})
    said = _refused([str(finished), "--format", "onnx"], capsys)
    assert "needs not_installed" in said
    assert installation("export") in said
    assert main(["export", str(finished), "--output", str(tmp_path / "out")]) == 0
    assert "encoder.onnx left out: needs not_installed" in capsys.readouterr().out
    assert not (tmp_path / "out" / "encoder.onnx").exists()
