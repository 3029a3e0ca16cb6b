"""`doctor` says what it found and what to do, and does not crash whatever is broken."""

import errno
import sys
from importlib import import_module, metadata

import pytest
import torch
from torch.torch_version import TorchVersion

from dim_lightning.cli import main
from dim_lightning.cli.doctor import machine, places, software
from dim_lightning.cli.doctor.asked import Asked, read_asked
from dim_lightning.cli.doctor.command import examine
from dim_lightning.cli.doctor.finding import Finding, looked_at, page
from dim_lightning.cli.speed import seconds_by_precision

BROKEN = ("lightning", "jsonargparse", "yaml", "pyarrow", "PIL", "sklearn", "torchvision")


def _only(findings, subject):
    found = [finding for finding in findings if finding.subject == subject]
    assert len(found) == 1, findings
    return found[0]


def test_a_report_of_this_machine(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")  # asks nobody
    words = ["--data.root", str(tmp_path / "data"), "--runs_dir", str(tmp_path / "runs")]
    assert main(["doctor", *words]) == 0
    out = capsys.readouterr().out
    for subject in ("Python", "torch", "device", "precision", "threads", "Digits"):
        assert subject in out
    assert "FIX" not in out
    assert "this machine can train" in out
    assert list(tmp_path.iterdir()) == []  # looking leaves nothing behind


def test_wrong_options(tmp_path, capsys):
    assert main(["doctor", "--fast"]) == 2
    assert "doctor --help" in capsys.readouterr().err
    assert main(["doctor", "--conf", str(tmp_path)]) == 2
    assert "unrecognized arguments: --conf" in capsys.readouterr().err
    assert main(["doctor", "--config", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err
    broken = {"a: [": "expected", "a: 2024-13-45": "month must be", "[" * 1100: "nested too deeply"}
    for content, said in broken.items():
        (tmp_path / "bad.yaml").write_text(content)
        assert main(["doctor", "--config", str(tmp_path / "bad.yaml")]) == 2
        error = capsys.readouterr().err
        assert "bad.yaml cannot be read as YAML: " in error
        assert said in error


def test_what_fails_is_a_finding_and_what_was_found_before_it_stays():
    def look():
        yield Finding("one", "is there")
        raise SystemExit("no two")

    one, two = looked_at("two", look, "get a two")
    assert one == Finding("one", "is there")
    assert two == Finding("two", "SystemExit: no two", "get a two", "FIX")
    assert "FIX   two            SystemExit: no two\n" in page([one, two])
    assert page([one, two]).endswith("1 thing to put right")


@pytest.mark.parametrize("version", software.STOLEN)
def test_a_stolen_release_is_said_loudly_and_nothing_else_is_looked_at(monkeypatch, version):
    known = metadata.version
    monkeypatch.setattr(
        metadata, "version", lambda name: version if name == "lightning" else known(name)
    )
    (finding,) = examine(Asked())
    assert finding.grade == "FIX"
    assert f"{version} IS MALWARE" in finding.found
    assert "replace every password" in finding.advice


def test_the_machine_is_looked_at_where_packages_are_broken(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "dim_lightning"]:
        monkeypatch.delitem(sys.modules, name)  # loaded anew
    for name in BROKEN:
        monkeypatch.setitem(sys.modules, name, None)  # its import fails
    anew = import_module("dim_lightning.cli.doctor.machine")
    assert anew is not machine
    asked = anew.Asked()
    for look in (anew.device, anew.threads, anew.memory, anew.shared_memory):
        assert [finding for finding in look(asked) if finding.grade != "FIX"]


def test_a_pair_that_does_not_fit(monkeypatch):
    known = metadata.version
    monkeypatch.setattr(
        metadata, "version", lambda name: "2.0.0" if name == "torch" else known(name)
    )
    findings = list(software.versions(Asked()))
    assert "in one command" in _only(findings, "torch").advice
    assert "torch>=" in _only(findings, "packages").advice


def test_what_the_configuration_asks_for(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    path = tmp_path / "asks.yaml"
    path.write_text(
        f"data: {{root: {tmp_path}, source: {{class_path: PictureFolder, init_args: {{path: no}}}},"
        "  num_workers: 64, batch_size: 4096, image_size: 4096}\n"
        "trainer: {precision: 16-mixed, accelerator: gpu, devices: 64}\n"
    )
    asked = read_asked([path], None, None)
    assert asked.root == tmp_path
    gpu = _only(machine.device(asked), "trainer.devices")
    assert gpu.grade == "FIX"
    assert "asks for 64 GPUs" in gpu.found
    if not torch.cuda.is_available():
        assert "16-mixed, which fit refuses on a CPU" in next(iter(machine.precision(asked))).found
    source = _only(places.data(asked), "data.source")
    assert source.grade == "FIX"
    assert "expected a folder" not in source.found
    monkeypatch.setattr(sys, "platform", "linux")  # a Mac's workers do without it
    for folder in (machine.SHARED, tmp_path / "none"):
        monkeypatch.setattr(machine, "SHARED", folder)
        assert next(iter(machine.shared_memory(asked))).grade == "FIX"


@pytest.mark.parametrize("gpus", [[], ["NVIDIA A100"]])
def test_a_precision_that_no_device_trains_in(monkeypatch, gpus):
    monkeypatch.setattr(machine, "_gpus", lambda: gpus)
    measured = {"32-true": 0.03, "bf16-mixed": 0.01}
    monkeypatch.setattr(machine, "seconds_by_precision", lambda device: measured)
    for wanted in ("bf16-true", "64-true", "transformer-engine"):
        first, *_ = machine.precision(Asked(trainer={"precision": wanted}))
        assert first.grade == "FIX"
        assert first.found == f"the configuration asks for {wanted}, which fit refuses"


def test_a_gpu_that_imitates_bfloat16(monkeypatch):
    monkeypatch.setattr(machine, "_gpus", lambda: ["Tesla T4"])
    measured = {"32-true": 0.03, "16-mixed": 0.01}
    monkeypatch.setattr(machine, "seconds_by_precision", lambda device: measured)
    first, *_ = machine.precision(Asked(trainer={"precision": "bf16-mixed"}))
    assert first.grade == "hint"
    assert "bf16-mixed, which this GPU only imitates" in first.found
    assert first.advice == "--trainer.precision 16-mixed"


def test_a_gpu_that_cuda_cannot_use(monkeypatch):
    def refuse():
        raise RuntimeError("The NVIDIA driver is too old (found 11040). Please update it")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "init", refuse)
    finding = _only(machine.device(Asked()), "device")
    assert finding.grade == "FIX"
    assert finding.found.endswith("cannot use it: The NVIDIA driver is too old (found 11040)")
    monkeypatch.setattr(machine, "seconds_by_precision", lambda device: {"32-true": 0.1, device: 1})
    assert "cpu 1000.0 ms" in _only(machine.precision(Asked()), "precision").found


def _graded(monkeypatch, **trainer):
    """Which device is timed, what is found of it and of the number asked for, and the grades."""
    timed = []

    def measured(device):
        timed.append(device)
        return {"32-true": 0.03, "bf16-mixed": 0.01, "16-mixed": 0.01}

    monkeypatch.setattr(machine, "seconds_by_precision", measured)
    asked = Asked(trainer=trainer)
    findings = [*machine.device(asked), *machine.precision(asked)]
    return timed, [finding.found for finding in findings], {f.grade for f in findings}


@pytest.mark.parametrize("accelerator", ["auto", "cpu", "mps", "gpu"])
def test_on_a_mac_what_fit_takes_is_named_and_timed(monkeypatch, accelerator):
    monkeypatch.setattr(machine, "_gpus", list)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.14.0"))
    is_gpu = accelerator in ("mps", "gpu")
    precision = "16-mixed" if is_gpu else "bf16-mixed"
    timed, found, grades = _graded(monkeypatch, accelerator=accelerator, precision=precision)
    assert timed == ["mps" if is_gpu else "cpu"]
    assert found[0].startswith("Apple GPU (mps)" if is_gpu else "CPU, ")
    assert "dim_lightning was never tried on Apple's GPUs" in found[0]
    assert ("--trainer.accelerator mps takes this one" in found[0]) == (not is_gpu)
    assert grades == {"ok"}
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.13.0"))
    _, found, grades = _graded(monkeypatch, accelerator=accelerator, precision=precision)
    assert ("FIX" in grades) == ("PyTorch 2.13.0 computes wrong" in found[0]) == is_gpu


def test_more_of_apples_gpus_than_there_are(monkeypatch):
    for here, count in ((True, 2), (False, 1)):
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda here=here: here)
        _, found, grades = _graded(monkeypatch, accelerator="mps", devices=count)
        asked = f"the configuration asks for {count} Apple GPUs, here are {int(here)}"
        assert found[1] == asked
        assert "FIX" in grades


def test_a_gpu_that_the_configuration_leaves_alone_is_not_timed(monkeypatch):
    monkeypatch.setattr(machine, "_gpus", lambda: ["NVIDIA A100"])
    timed, found, grades = _graded(monkeypatch, accelerator="cpu", precision="bf16-mixed")
    assert timed == ["cpu"]
    assert found[0].startswith("CPU, ")
    assert grades == {"ok"}


def test_missing_data_comes_with_the_command_that_gets_it(tmp_path):
    asked = Asked(root=tmp_path, data={"source": "CIFAR10"})
    findings = list(places.data(asked))
    wanted = _only(findings, "CIFAR10")
    assert wanted.grade == "hint"
    assert wanted.advice.startswith("python -m dim_lightning fit --data.source CIFAR10")
    assert f"--data.root {tmp_path}" in wanted.advice
    assert _only(findings, "TinyImageNet").grade == "ok"
    (tmp_path / "cifar-10-batches-py").mkdir()
    broken = _only(places.data(asked), "CIFAR10")
    assert broken.grade == "FIX"
    assert "lacks data_batch_1" in broken.found


def test_a_place_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    finding = _only(places.disk(Asked(runs_dir=tmp_path / "file" / "runs")), "runs_dir")
    assert finding.grade == "FIX"

    def full(**_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(places.tempfile, "TemporaryFile", full)
    finding = _only(places.disk(Asked(runs_dir=tmp_path / "a: b")), "runs_dir")
    assert finding.found == f"{tmp_path / 'a: b'} cannot be written: the disk is full"


def test_more_threads_than_cores(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 10_000)
    for cores, threads in ((3.7, 3), (0.5, 1)):
        monkeypatch.setattr(machine, "usable_cores", lambda found=cores: found)
        finding = _only(machine.threads(Asked()), "threads")
        assert finding.advice.endswith(f"OMP_NUM_THREADS={threads}")


def test_every_precision_is_measured():
    measured = seconds_by_precision("cpu", seconds=0.0)
    assert set(measured) == {"32-true", "bf16-mixed"}  # float16 is not tried on a CPU
    assert min(measured.values()) > 0


def test_versions_with_known_holes_are_hinted_at(monkeypatch):
    known = metadata.version
    old = {"torch": "2.9.1+cpu", "pillow": "12.1.0"}
    monkeypatch.setattr(metadata, "version", lambda name: old.get(name) or known(name))
    found = list(software._holes())
    assert [each.found.split()[0] for each in found] == list(old)
    assert all(each.grade == "hint" for each in found)
    assert "2.10 or newer" in found[0].advice
    old.update(torch="2.10.0", pillow="13.0.0")
    assert list(software._holes()) == []
