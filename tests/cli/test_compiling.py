"""The setting `compile`. What compiles runs in a process of its own: it does not bear the checks
of shapes and types that all other tests run with."""

import copy
import shutil
import sys
from functools import partial

import forked
import pytest
import torch
import torch._inductor.config
import yaml

from dim_lightning.callbacks.matmul_precision import PlainValidation
from dim_lightning.cli import compiling, main
from dim_lightning.cli.compiling import check_compile, compile_parts
from dim_lightning.data import Batch
from dim_lightning.encoders import BlogEncoder, PaperEncoder, ResidualEncoder, StridedEncoder
from dim_lightning.errors import InputError
from dim_lightning.infomax.deep_infomax import DeepInfoMax


def step(model, batch):
    code, terms = model.code_and_terms(batch, torch.Generator().manual_seed(1))
    terms["loss"].backward()
    return code, terms["loss"], [parameter.grad for parameter in model.parameters()]


def graphs():
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


def compile_alone():
    """Without a pool of processes, each of which would load PyTorch first."""
    torch._inductor.config.compile_threads = 1


def compare_steps(mode):
    compile_alone()
    images = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    batch = Batch(images, torch.zeros(6, dtype=torch.int64), torch.arange(6))
    for num_negatives in [1] if mode == "aot_eager" else [1, "all"]:
        torch.manual_seed(0)
        encoder = partial(BlogEncoder, widths=(4,), embedding_dim=8)
        plain = DeepInfoMax(encoder, image_size=8, num_negatives=num_negatives)
        compiled = copy.deepcopy(plain)
        names = compile_parts(compiled, mode)
        assert len(names) == 3, names  # the encoder and two critics
        assert names[0] == "encoder"
        assert list(compiled.state_dict()) == list(plain.state_dict())
        for found, expected in zip(step(compiled, batch), step(plain, batch), strict=True):
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    counted = graphs()
    assert counted > 0, "nothing was compiled"
    if mode == "default":
        return  # what is compiled when is the same in either mode, and here takes a minute

    def validated():
        with torch.inference_mode():
            compiled.eval().code_and_terms(batch, torch.Generator().manual_seed(1))
        return graphs()

    plainly = PlainValidation("highest", compiled=True)
    plainly.on_validation_start(None, None)
    assert validated() == counted, "compiled in a validation"
    plainly.on_validation_end(None, None)
    assert validated() > counted, "no longer compiled after it"


def see_sizes_of_views():
    """Of each size a graph of its own, none with a size that is only known later."""
    seen = []

    def backend(graph, inputs):
        seen.extend(x for x in inputs if not isinstance(x, torch.Tensor))
        seen.append("graph")
        return graph

    small = partial(StridedEncoder, widths=(4, 8), blocks=(1,))
    encoder = DeepInfoMax(small, image_size=32, prior_weight=0).encoder
    compiling._TRACED = backend  # in place of the one that traces
    compile_parts(encoder, backend)
    for size in (16, 24, 32, 16):
        encoder(torch.rand(4, 3, size, size))
    assert seen == ["graph"] * 3, seen


def compare_gradients_in_bfloat16():
    compile_alone()
    encoders = [
        BlogEncoder(16, widths=(16, 16), embedding_dim=32),
        PaperEncoder(16, widths=(16, 16), hidden_dim=32, embedding_dim=8),
        ResidualEncoder(16, widths=(16, 16), blocks=(1, 1), local_stage=1, hidden_dim=32),
        StridedEncoder(16, widths=(16, 16), blocks=(1,)),
    ]
    images = torch.rand(32, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for plain in encoders:
        compiled = copy.deepcopy(plain)
        compiled.compile()
        gradients = []
        for encoder in (plain, compiled):
            with torch.autocast("cpu", torch.bfloat16):
                features = encoder(images)
            (features.mean.float().square().mean() + features.feature_map.float().mean()).backward()
            # a bias before a batch norm has no gradient but what rounding leaves
            weights = [p for p in encoder.parameters() if p.ndim > 1]
            parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in weights]
            gradients.append(torch.cat([part.flatten() for part in parts]))
        alike = torch.cosine_similarity(*gradients, dim=0)
        assert alike > 0.98, (type(plain).__name__, alike)


def command_and_graphs(*words):
    code = main(words)
    sys.stdout.write(f"graphs: {graphs()}\n")
    return code


def run(folder, function, *arguments):
    done = forked.run(folder, function, *arguments)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_a_traced_step_is_the_step(tmp_path):
    run(tmp_path, compare_steps, "aot_eager")


def test_views_of_another_size_are_compiled_anew(tmp_path):
    run(tmp_path, see_sizes_of_views)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a compiler for C++")
def test_a_compiled_step_is_the_step(tmp_path):
    run(tmp_path, compare_steps, "default")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a compiler for C++")
def test_compiled_encoders_have_the_same_gradients_in_bfloat16(tmp_path):
    run(tmp_path, compare_gradients_in_bfloat16)


def test_nothing_is_compiled_unless_asked_for():
    plain = DeepInfoMax(image_size=16)
    assert compile_parts(plain, None) == []
    assert all(part._compiled_call_impl is None for part in plain.modules())


CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def gpu(monkeypatch):
    """What is asked of a made-up one; its capability can be changed."""
    found = [(8, 0)]
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: found[0])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla P100")
    return found


def test_a_machine_without_a_compiler(monkeypatch, tmp_path, gpu):
    monkeypatch.setenv("PATH", str(tmp_path))
    for device, variable, language in ((CPU, "CXX", r"C\+\+"), (CUDA, "CC", "C")):
        monkeypatch.delenv(variable, raising=False)
        said = f"compile is default, but there is no compiler for {language} on this"
        with pytest.raises(InputError, match=said):
            check_compile("default", device)
        check_compile("aot_eager", device)
        check_compile(None, device)
        monkeypatch.setenv(variable, sys.executable)
        check_compile("default", device)
    check_compile("default", torch.device("mps"))


def test_a_gpu_that_nothing_is_compiled_for(monkeypatch, gpu):
    monkeypatch.setenv("CC", sys.executable)
    gpu[0] = (6, 0)
    with pytest.raises(InputError, match="compile is default, but Tesla P100 is older than"):
        check_compile("default", CUDA)


@pytest.mark.parametrize("mode", ["reduce-overhead", "max-autotune"])
def test_cuda_graphs_do_not_add_gradients_up(mode, monkeypatch, gpu):
    monkeypatch.setenv("CC", sys.executable)
    with pytest.raises(InputError, match=rf"{mode} and trainer.accumulate_grad_batches 2, but"):
        check_compile(mode, CUDA, batches_a_step=2)
    check_compile(mode, CUDA)
    check_compile("default", CUDA, batches_a_step=2)


@pytest.mark.parametrize("mode", ["reduce-overhead", "max-autotune"])
def test_cuda_graphs_exchange_nothing(mode, monkeypatch, gpu):
    for compiler in ("CC", "CXX"):
        monkeypatch.setenv(compiler, sys.executable)
    with pytest.raises(InputError, match=rf"{mode} and there are 4 processes, but .* default"):
        check_compile(mode, CUDA, num_processes=4)
    check_compile("default", CUDA, num_processes=4)
    check_compile(mode, CPU, num_processes=4)  # which makes no such graphs


@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("mode", ["reduce-overhead", "max-autotune"])
def test_a_run_by_cuda_graphs_is_validated_and_goes_on(workshop, tmp_path, mode):
    places = ["--data.root", str(workshop.folder / "data"), "--runs_dir", str(workshop.runs)]
    words = ["--trainer.accelerator", "gpu", "--trainer.max_epochs", "2", "--compile", mode]
    words = ["--config", workshop.config, *places, "--experiment", mode, *words]
    run(tmp_path, command_and_graphs, "fit", *words)


@pytest.mark.slow
def test_a_compiled_run_goes_on_uncompiled_and_is_exported(workshop, finished, tmp_path):
    places = ["--data.root", str(workshop.folder / "data"), "--runs_dir", str(workshop.runs)]
    words = ["--experiment", "traced", "--compile", "aot_eager"]
    words = ["fit", "--config", workshop.config, *places, *words]
    said = run(tmp_path / "said", command_and_graphs, *words)
    assert "graphs: 3" in said  # of the encoder and two critics, in training alone
    traced = workshop.runs / "traced" / "1"
    assert yaml.safe_load((traced / "config.yaml").read_text())["compile"] == "aot_eager"
    states = [
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for folder in (traced, finished)
    ]
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], atol=1e-4, rtol=1e-3)
    words = ["--trainer.max_epochs", "2", "--compile", "null"]
    assert main(["fit", "--resume", str(traced), *words]) == 0
    assert main(["predict", "--run", str(traced)]) == 0
    out = str(tmp_path / "out")
    assert main(["export", str(traced), "--output", out, "--format", "safetensors"]) == 0
