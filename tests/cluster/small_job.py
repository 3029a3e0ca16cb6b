"""A training of seconds for several processes, and what of it has to be equal."""

import csv
import os
import socket
from contextlib import ExitStack
from pathlib import Path

import torch
import yaml
from forked import Forked, command
from lightning.pytorch.utilities.rank_zero import rank_zero_only

JOINT_BATCH = 24
NUM_VALIDATION = 159  # 15 more than a multiple of 48: no number of processes divides the rest
CONFIG = {
    "data": {
        "image_size": 8,
        "validation_fraction": NUM_VALIDATION / 1438,
        "augmentation": "dim_lightning.data.augmentation.CropAndFlip",
    },
    "model": {
        "encoder": "joint_batch.SmallEncoder",  # no batch norm: it sees the batch of a process
        "local_critic": {
            "class_path": "dim_lightning.infomax.critics.DotCritic",
            "init_args": {"width": 8},
        },
    },
    "evaluation": {"mlp_epochs": 1, "floors": False},
    "trainer": {
        "max_epochs": 3,
        "limit_train_batches": 10,
        "log_every_n_steps": 1,
        "accelerator": "cpu",
        "callbacks": ["power_cut.PowerCut"],
    },
}
TESTS = Path(__file__).parent.parent


def environment(**variables):
    """The environment in which the parts of the tests are found."""
    paths = [str(TESTS), str(TESTS / "cluster"), str(TESTS / "infomax")]
    paths.append(os.environ.get("PYTHONPATH", ""))
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths), **variables}


def fit(folder, experiment, processes):
    """The words of the command after `python -m dim_lightning`, the joint batch kept."""
    (folder / "job.yaml").write_text(yaml.safe_dump(CONFIG))
    options = {
        "config": folder / "job.yaml",
        "experiment": experiment,
        "runs_dir": folder / "runs",
        "data.root": folder / "data",
        "data.batch_size": JOINT_BATCH // processes,
    }
    return ["fit", *(word for key, value in options.items() for word in (f"--{key}", str(value)))]


def free_port():
    """A port of this machine that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return str(server.getsockname()[1])


def of_processes(count, folder, words):
    """Runs a command on so many processes, each told its place as torchrun does; what they said."""
    words = [*words, "--trainer.strategy", "ddp", "--trainer.devices", str(count)]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "NODE_RANK": "0"}
    with ExitStack() as stack:
        processes = [Forked(folder, _process, rank, words, **place) for rank in range(count)]
        for process in processes:
            stack.enter_context(process)
        ended = [process.ended(1800) for process in processes]
    assert [done.returncode for done in ended] == [0] * count, ended[-1].stderr
    return ended[-1].stdout


def _process(rank, words):
    os.environ["LOCAL_RANK"] = str(rank)
    rank_zero_only.rank = rank  # which Lightning reads from there when it is loaded
    os.environ.pop("DIM_LIGHTNING_RUN_DIR", None)  # of a run in the tests' process
    return command(*words)


def rows(run):
    """What metrics.csv says, but for the speed, which is never equal."""
    with (run / "metrics.csv").open(newline="") as file:
        found = [{k: v for k, v in row.items() if v} for row in csv.DictReader(file)]
    kept = [{k: v for k, v in row.items() if not k.startswith("speed/")} for row in found]
    return [row for row in kept if set(row) > {"epoch", "step"}]


def assert_equal(run, other):
    """What two runs logged and trained is the same to the bit."""
    assert rows(run) == rows(other)
    tensors, others = trained(run), trained(other)
    assert tensors.keys() == others.keys()
    for name, tensor in tensors.items():
        assert torch.equal(others[name], tensor), name


def trained(run):
    """Every tensor that was trained: of the model, of its optimiser and of the probe."""
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    probes = [v["probe"] for k, v in state["callbacks"].items() if k.startswith("LinearProbe")]
    found = {**state["state_dict"], **{f"probe.{k}": v for k, v in probes[0].items()}}
    for number, moments in state["optimizer_states"][0]["state"].items():
        found |= {f"optimizer.{number}.{k}": torch.as_tensor(v) for k, v in moments.items()}
    return found
