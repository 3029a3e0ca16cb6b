"""`shard` and a run on what it wrote."""

import json
import shlex
import shutil
import signal

import pytest
import torch

from dim_lightning.cli import main
from dim_lightning.run.checkpoint import AtomicCheckpointIO


@pytest.fixture(scope="module")
def shards(workshop):
    folder = workshop.folder / "shards"
    words = ["shard", "--config", workshop.config, "--shard_mb", "0.02", str(folder)]
    assert main([*words, "--data.root", str(workshop.folder / "data")]) == 0
    return folder


def test_shard_takes_what_a_configuration_says_of_the_pictures(shards, workshop, capsys):
    output = workshop.folder / "other"
    words = ["shard", f"--config={workshop.config}", "--data.split_seed", "1", str(output)]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "1,294 train images in 1 file, 144 val images" in out
    assert f"--data.source Stream --data.source.path {output}" in out
    assert '"image_size": 8' in (output / "dim_lightning.json").read_text()
    assert len(list(shards.glob("train-*"))) == 12


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--data.sauce", "Digits", "x"], "unknown option --data.sauce"),
        (["--data.image_size", "0", "x"], "data.image_size is 0; expected at least 1"),
        (["--data.batch_size", "8", "x"], "unknown option --data.batch_size"),
        (
            ["--data.source", "Stream", "--data.source.path", "x", "y"],
            "data.source is a Stream, which reads shards; expected a source of pictures",
        ),
        (["--data.max_unreadable", "1", "x"], "data.max_unreadable is 1.0; expected 0 or a share"),
        (["--shard_mb", "0", "x"], "--shard_mb is 0"),
        (["--shard_mb", "4000", "x"], "expected more than 0 and at most 1024"),
        ([], "OUTPUT"),
        (["--config", "none.yaml", "x"], "none.yaml"),
    ],
)
def test_bad_words(words, said, capsys):
    assert main(["shard", *words]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert said in error


@pytest.mark.parametrize(
    ("name", "code", "said"), [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "terminated")]
)
def test_a_stopped_conversion_says_how_to_go_on(tmp_path, capsys, name, code, said):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may ignore it
    source = ["--data.source", "signal_sender.SignalInReading", "--data.source.name", name]
    words = ["shard", *source, str(tmp_path / "with a space")]
    try:
        assert main(words) == code
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == (
        f"{said}; to go on: python -m dim_lightning {shlex.join(words)}\n"
    )


@pytest.mark.slow
def test_a_run_on_shards(shards, workshop):
    words = ["--data.source", "Stream", "--data.source.path", str(shards)]
    assert workshop.fit("--experiment", "streamed", *words) == 0
    run = str(workshop.runs / "streamed" / "1")
    assert main(["test", "--run", run]) == 0
    assert main(["predict", "--run", run]) == 0
    assert (workshop.runs / "streamed" / "1" / "embeddings.parquet").is_file()
    assert (workshop.runs / "streamed" / "1" / "pictures" / "neighbours_cosine.png").is_file()


@pytest.mark.slow
def test_a_run_on_shards_goes_on_in_mid_epoch(shards, workshop, tmp_path, capsys):
    """By as many processes as began the epoch, and where the same shards lie."""
    words = ["--data.source", "Stream", "--data.source.path", str(shards)]
    words += ["--trainer.max_epochs", "2"]
    assert workshop.fit("--experiment", "whole_stream", *words) == 0
    assert workshop.fit("--experiment", "parts_stream", *words, "--trainer.max_steps", "4") == 0
    run = workshop.runs / "parts_stream" / "1"
    last = run / "checkpoints" / "last.ckpt"
    state = torch.load(last, weights_only=True)
    AtomicCheckpointIO().save_checkpoint({**state, "processes": 2}, last)
    assert main(["fit", "--resume", str(run)]) == 2
    assert "was begun by 2 processes (batches done: 1), and 1 would" in capsys.readouterr().err
    AtomicCheckpointIO().save_checkpoint(state, last)
    moved = shutil.copytree(shards, tmp_path / "moved")
    others = shutil.copytree(shards, tmp_path / "others")
    about = json.loads((others / "dim_lightning.json").read_text())
    (others / "dim_lightning.json").write_text(json.dumps({**about, "contents": "of others"}))
    words = ["fit", "--resume", str(run), "--trainer.max_steps=-1", "--data.source.keep_mb=1"]
    words += ["--data.source.init_args.storage_options.anon=true", "--data.source.path"]
    assert main([*words, str(others)]) == 2
    assert "there are as many, 1,797 pictures" in capsys.readouterr().err
    assert main([*words, str(moved)]) == 0
    whole, parts = (
        torch.load(workshop.runs / name / "1" / "checkpoints" / "last.ckpt", weights_only=True)
        for name in ("whole_stream", "parts_stream")
    )
    assert whole["global_step"] == parts["global_step"] > 4
    for name, tensor in whole["state_dict"].items():
        assert torch.equal(tensor, parts["state_dict"][name])
