import inspect

import lightning as L
import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy, SingleDeviceStrategy
from small_methods import build

from dim_lightning.baselines import Autoencoder
from dim_lightning.cli.checks import (
    check_folders,
    check_launched,
    check_optimizer,
    check_trained,
    check_trainer,
)
from dim_lightning.errors import InputError

TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "4"}
SLURM = {"SLURM_JOB_NAME": "blog", "SLURM_STEP_NUM_TASKS": "4"}


@pytest.mark.parametrize("environment", [TORCHRUN, SLURM])
def test_processes_that_a_launcher_started_are_those_asked_for(environment):
    said = "has started 4 processes, but trainer.devices is 1 and trainer.num_nodes 1"
    with pytest.raises(InputError, match=said):
        check_launched(1, 1, environment)  # a plain fit
    for devices, num_nodes in ((4, 1), (2, 2), ("0,1", 2), ("auto", 1)):
        check_launched(devices, num_nodes, environment)


def test_processes_that_nobody_started_are_started_by_lightning():
    check_launched(4, 1, {"WORLD_SIZE": "2"})
    check_launched(4, 1, {"SLURM_JOB_NAME": "bash", "SLURM_STEP_NUM_TASKS": "1"})
    check_launched(4, 1, {"SLURM_JOB_NAME": "blog"})


@pytest.mark.parametrize("devices", [1, 4])
@pytest.mark.parametrize("name", ["bash", "interactive"])
def test_several_tasks_in_a_job_that_passes_for_a_shell_are_refused(name, devices):
    """Each would train alone, and Lightning start further processes in each."""
    task = {"SLURM_JOB_NAME": name, "SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "0"}
    said = f"has started 4 processes, but Lightning takes a job of the name {name} for a shell"
    # a shell of `srun --pty` hands its terminal's port down to the tasks that are started in it
    for other in ({}, {"SLURM_PROCID": "1"}, {"SLURM_PROCID": "1", "SLURM_PTY_PORT": "34889"}):
        with pytest.raises(InputError, match=rf"{said}.*salloc --job-name=train"):
            check_launched(devices, 1, {**task, **other})
    check_launched(devices, 1, {**task, "SLURM_PTY_PORT": "34889"})  # of `srun -n4 --pty bash`


def test_a_batch_job_without_srun_is_one_process():
    """There Lightning starts none either, where the job says how many tasks it has."""
    job = {"SLURM_JOB_NAME": "blog", "SLURM_NTASKS": "8"}
    check_launched(1, 1, job)
    with pytest.raises(InputError, match=r"SLURM has started 1 process, but .* by srun"):
        check_launched(8, 1, job)


def test_weights_are_whole_on_each_device():
    """Evaluations in training call the encoder itself, and MuonAdamW looks at its filters."""
    parameters = inspect.signature(L.Trainer).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    whole = ("auto", "ddp", "DDP_spawn", "ddp_find_unused_parameters_true")
    for strategy in (*whole, DDPStrategy(), SingleDeviceStrategy()):
        check_trainer({**defaults, "strategy": strategy})
    for strategy in ("fsdp_cpu_offload", "deepspeed_stage_3", FSDPStrategy()):
        with pytest.raises(InputError, match=r"whole encoder on each device; expected auto or ddp"):
            check_trainer({**defaults, "strategy": strategy})


def test_an_epoch_of_no_batches_is_refused():
    parameters = inspect.signature(L.Trainer).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    for none in (0, 0.0):
        with pytest.raises(InputError, match=r"limit_train_batches is 0, which trains nothing"):
            check_trainer({**defaults, "limit_train_batches": none})


@pytest.mark.parametrize("path", ["$SCRATCH/runs", "/mnt/$USER", "$HOME"])
def test_variables_of_a_shell_are_told_and_not_taken_for_folders(path):
    with pytest.raises(
        InputError, match=r"data.root is '.*', in which no variable .*\{oc.env:NAME"
    ):
        check_folders({"runs_dir": "runs", "data.cache_dir": None, "data.root": path})


def test_other_signs_in_a_path_are_taken():
    check_folders({"runs_dir": "a$b/c$", "data.root": "$/x"})


@pytest.mark.parametrize("name", ["gradient_clip_val", "val_check_interval"])
def test_what_is_no_number_is_refused(name):
    parameters = inspect.signature(L.Trainer).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    with pytest.raises(InputError, match=rf"trainer.{name} is nan; expected"):
        check_trainer({**defaults, name: float("nan")})


def test_a_checkpoint_of_another_run_is_not_looked_at_as_that_of_a_run(tmp_path):
    run, other, disk = (tmp_path / name for name in ("1", "2", "disk"))
    for folder in (run, other / "checkpoints", disk):
        folder.mkdir(parents=True)
    (run / "checkpoints").symlink_to(disk)
    own = [run / "checkpoints" / "last.ckpt", disk / "last.ckpt", run / "best" / "a.ckpt"]
    for path in own:
        check_trained("test", {"run": str(run), "ckpt_path": str(path)})
    path = other / "checkpoints" / "last.ckpt"
    check_trained("fit", {"run": None, "ckpt_path": str(path)})
    check_trained("test", {"run": None, "ckpt_path": str(path)})
    with pytest.raises(InputError, match=f"{path}, which does not lie in {run}: its figures"):
        check_trained("test", {"run": str(run), "ckpt_path": str(path)})


def test_a_schedule_that_needs_a_figure_is_refused_before_there_is_a_folder():
    module = build(Autoencoder, lr_scheduler=torch.optim.lr_scheduler.ReduceLROnPlateau)
    with pytest.raises(InputError, match=r"ReduceLROnPlateau, .* set model\.lr_scheduler to Warm"):
        check_optimizer(module)
