"""A configuration, and what somebody may mistake for one."""

import io
from contextlib import redirect_stdout
from types import SimpleNamespace

import yaml

from dim_lightning.cli import main

TINY = {
    "data": {"image_size": 8, "batch_size": 32},
    "model": {
        "encoder": {
            "class_path": "dim_lightning.encoders.BlogEncoder",
            "init_args": {"widths": [4], "embedding_dim": 8},
        }
    },
    "neighbours": {"every_n_epochs": 1},
    "evaluation": {"mlp_epochs": 0, "floors": False},
    "trainer": {"max_epochs": 1, "limit_train_batches": 1, "accelerator": "cpu"},
}
# Whatever the configuration says, it is one step of one process.
SHORT = ["--trainer.max_steps", "1", "--trainer.max_epochs", "1"]
SHORT += ["--trainer.limit_train_batches", "1", "--trainer.limit_val_batches", "1"]
SHORT += ["--trainer.devices", "1", "--trainer.num_nodes", "1"]
SHORT += ["--trainer.limit_test_batches", "1", "--trainer.limit_predict_batches", "1"]


def make_scene(folder):
    """Files in `folder`: tiny.yaml, a run that has not begun in run/, and what is none."""
    tiny = folder / "tiny.yaml"
    tiny.write_text(yaml.safe_dump(TINY))
    out = io.StringIO()
    with redirect_stdout(out):
        assert main(["fit", "--config", str(tiny), "--print_config"]) == 0
    (folder / "run").mkdir()
    (folder / "run" / "config.yaml").write_text(out.getvalue())
    (folder / "binary").write_bytes(bytes(range(256)))
    (folder / "empty").write_bytes(b"")
    (folder / "loop").symlink_to(folder / "loop")
    for name, content in (("broken_run", b"\x00\xff"), ("text_run", b"just words")):
        (folder / name / "checkpoints").mkdir(parents=True)
        (folder / name / "config.yaml").write_bytes(content)
        (folder / name / "checkpoints" / "last.ckpt").write_bytes(content)
    places = ["--data.root", str(folder / "data"), "--runs_dir", str(folder / "runs")]
    valid = yaml.safe_load(out.getvalue())
    return SimpleNamespace(folder=folder, valid=valid, places=places)
