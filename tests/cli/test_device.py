"""What is said of GPUs and precisions; the GPUs are made up."""

from contextlib import nullcontext
from types import SimpleNamespace

import lightning as L
import pytest
import torch
from lightning.fabric.accelerators.cuda import _check_cuda_matmul_precision
from lightning.fabric.accelerators.mps import MPSAccelerator
from torch.torch_version import TorchVersion

from dim_lightning.cli import device
from dim_lightning.cli.device import (
    accelerator_taken,
    check_precision,
    check_processes,
    gpu_names,
    say_slow_precision,
    slow_precision,
)
from dim_lightning.cli.entry import _quiet
from dim_lightning.errors import InputError


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(device, "rank_zero_info", lines.append)
    return lines


class _Trainer(L.Trainer):
    """What is asked of a Trainer, without its devices."""

    strategy = precision = None
    is_global_zero = True

    def __init__(self, *devices, precision="32-true"):
        several = {"parallel_devices": list(devices)} if len(devices) > 1 else {}
        self.strategy = SimpleNamespace(root_device=devices[0], **several)
        self.precision = precision


@pytest.mark.parametrize(
    ("precision", "seconds", "said"),
    [
        ("bf16-mixed", {"32-true": 0.03, "bf16-mixed": 0.12}, "4.0 times as long as 32-true"),
        ("bf16-mixed", {"32-true": 0.03, "bf16-mixed": 0.035}, None),  # hardly slower
        ("bf16-mixed", {"32-true": 0.03, "bf16-mixed": 0.01}, None),
        ("16-mixed", {"32-true": 0.03, "bf16-mixed": 0.01}, None),  # asked for, not measured
    ],
)
def test_a_precision_that_is_slow_here_is_said(precision, seconds, said):
    hint = slow_precision(precision, seconds)
    assert hint is None if said is None else said in str(hint)


def test_a_training_in_a_slow_precision_says_so(workshop, caplog, monkeypatch):
    seconds = {"32-true": 0.03, "bf16-mixed": 0.12}
    monkeypatch.setattr(device, "multiplies_bfloat16", lambda _: False)
    monkeypatch.setattr(device, "seconds_by_precision", lambda *_, **__: seconds)
    words = ["--trainer.precision", "bf16-mixed", "--trainer.limit_train_batches", "1"]
    assert workshop.fit("--experiment", "slow_precision", *words) == 0
    assert "--trainer.precision 32-true is quicker" in caplog.text


@pytest.mark.parametrize("capability", [(7, 5), (8, 0)])
def test_a_gpu_that_imitates_bfloat16_is_said(said, monkeypatch, capability):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    gpu = torch.device("cuda", 0)
    for precision in ("32-true", "16-mixed", "bf16-mixed"):
        say_slow_precision(_Trainer(gpu, precision=precision), "high")
    hint = "hint: Tesla T4 only imitates bfloat16"
    assert [line.partition(",")[0] for line in said] == [hint] * (capability < (8, 0))


@pytest.mark.parametrize("capability", [(7, 5), (8, 0)])
def test_tf32_is_told_where_a_gpu_has_it_and_nobody_chose(said, monkeypatch, capability):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA A100")
    for precision in ("32-true", "16-mixed"):
        for products in ("highest", "high"):
            say_slow_precision(_Trainer(torch.device("cuda", 0), precision=precision), products)
    say_slow_precision(_Trainer(torch.device("cpu")), "highest")
    hint = "hint: NVIDIA A100 has TF32 for products of float32"
    assert [line.partition(";")[0] for line in said] == [hint] * (capability >= (8, 0))


@pytest.mark.parametrize("quiet", [False, True])
def test_the_hint_of_lightning_at_tf32_is_left_out(monkeypatch, caplog, quiet):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA A100")
    caplog.set_level("INFO")
    with _quiet() if quiet else nullcontext():
        _check_cuda_matmul_precision.__wrapped__(torch.device("cuda", 0))
    assert ("Tensor Cores" in caplog.text) == (not quiet)


def test_gpus_that_cuda_cannot_use_are_told_before_anything_is_made(workshop, capsys, monkeypatch):
    def refuse():
        raise RuntimeError("The NVIDIA driver is too old (found version 11040). Please update it")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "init", refuse)
    before = workshop.made()
    assert workshop.fit() == 2  # on the CPU, where the states of all generators are kept too
    error = capsys.readouterr().err
    assert "driver is too old (found version 11040); update the driver" in error
    assert 'export CUDA_VISIBLE_DEVICES=""' in error
    assert workshop.made() == before


@pytest.fixture
def mac(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)


def test_a_mac_computes_on_its_cpu_and_says_how_to_take_the_gpu(said, mac, monkeypatch):
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.14.0"))
    for command in ("fit", "validate", "test", "predict"):
        assert accelerator_taken(command, "auto") == "cpu"
        assert said.pop().startswith(f"hint: {command} computes on the CPU, as dim_lightning was")
        for asked in ("cpu", "mps", "gpu"):
            assert accelerator_taken(command, asked) == asked
    assert said == []


def test_elsewhere_than_on_a_mac_lightning_decides(said, monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.6.0"))
    for asked in ("auto", "cpu", "gpu", "cuda", "mps"):
        assert accelerator_taken("fit", asked) == asked
    assert said == []


@pytest.mark.parametrize("version", ["2.6.0", "2.13.1"])
def test_nothing_learns_on_apples_gpu_where_pytorch_is_wrong_there(said, mac, monkeypatch, version):
    monkeypatch.setattr(torch, "__version__", TorchVersion(version))
    for asked in ("mps", "gpu"):
        for command in ("fit", "test"):
            expected = rf"accelerator is {asked}, but PyTorch {version} .* 2\.14 or newer, or set"
            with pytest.raises(InputError, match=expected):
                accelerator_taken(command, asked)
        assert accelerator_taken("predict", asked) == asked
    assert accelerator_taken("fit", "auto") == accelerator_taken("fit", "cpu") == "cpu"


def test_the_trainer_gets_the_accelerator_that_is_taken(workshop, mac, monkeypatch, capsys, caplog):
    """Which its refusal of 0 devices names."""
    monkeypatch.setattr(MPSAccelerator, "is_available", lambda: True)
    before = workshop.made()
    assert workshop.fit("--trainer.accelerator", "auto", "--trainer.devices", "0") == 2
    assert "using cpu accelerator" in capsys.readouterr().err
    assert "--trainer.accelerator mps takes this one" in caplog.text
    assert workshop.made() == before


def test_another_precision_than_that_asked_for_is_said_where_nothing_is_trained(said):
    """A training in it is refused: tests/cli/test_errors.py."""
    cpu = torch.device("cpu")
    for asked in ("16-mixed", "16"):
        check_precision("test", asked, _Trainer(cpu, precision="bf16-mixed"))
        assert said.pop().startswith(f"trainer.precision is {asked}, but a CPU computes in bf16")
    for asked, taken in ((None, "32-true"), ("bf16", "bf16-mixed"), ("16", "16-mixed")):
        check_precision("fit", asked, _Trainer(cpu, precision=taken))
    assert said == []


@pytest.mark.parametrize("strategy", ["ddp_spawn", "ddp_fork", "ddp"])
def test_processes_for_gpus_are_started_anew(strategy):
    real = L.Trainer(accelerator="cpu", devices=2, strategy=strategy, logger=False)
    check_processes(real)
    with pytest.raises(InputError, match=r"sync_batchnorm is true, which PyTorch can do on GPUs"):
        check_processes(real, joint_norm=True)
    real.strategy.parallel_devices = [torch.device("cuda", number) for number in range(2)]
    anew = strategy == "ddp"
    refused = pytest.raises(InputError, match=r"cannot use GPUs as this one does; expected ddp")
    with nullcontext() if anew else refused:
        check_processes(real)


def test_the_gpus_that_train_are_named(monkeypatch):
    names = ["T4", "A100", "H100"]
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: names[device.index])
    gpus = [torch.device("cuda", number) for number in range(3)]
    assert gpu_names(_Trainer(torch.device("cpu"))) == []
    assert gpu_names(_Trainer(gpus[1])) == ["A100"]
    assert gpu_names(_Trainer(gpus[2], gpus[0])) == ["H100", "T4"]
