"""Whether the device can compute what is asked for, how quickly, and what it is called."""

from collections.abc import Mapping
from typing import Any

import lightning as L
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from dim_lightning.cli.speed import seconds_by_precision
from dim_lightning.errors import InputError
from dim_lightning.processor import (
    APPLE_GPU_ADVICE,
    APPLE_GPU_UNTRIED,
    CUDA_ADVICE,
    apple_gpu_error,
    cuda_error,
    has_apple_gpu,
    has_tf32,
    imitates_bfloat16,
    multiplies_bfloat16,
    takes_apple_gpu,
)
from dim_lightning.run.environment import device_name

_CLEARLY_SLOWER = 1.2


def check_gpus() -> None:
    """Refuses to start beside GPUs that fail at their first use, which a training on a CPU has too.

    Raises:
        InputError: CUDA cannot use them.
    """
    error = cuda_error()
    if error is not None:
        raise InputError(f"CUDA cannot use the GPU of this machine: {error}; {CUDA_ADVICE}")


def accelerator_taken(command: str, asked: Any) -> Any:
    """The Trainer's accelerator: on a Mac the CPU in place of `auto`, which it says.

    Args:
        command: fit, validate, test or predict.
        asked: trainer.accelerator.

    Raises:
        InputError: networks would learn on Apple's GPU, by a PyTorch that is wrong there.
    """
    error = apple_gpu_error() if takes_apple_gpu(asked) else None
    if error is not None and command in ("fit", "test"):  # probes learn in a test
        raise InputError(f"trainer.accelerator is {asked}, but {error}; {APPLE_GPU_ADVICE}")
    if asked != "auto" or not has_apple_gpu():
        return asked
    rank_zero_info(
        f"hint: {command} computes on the CPU, as {APPLE_GPU_UNTRIED}; --trainer.accelerator mps "
        "takes this one"
    )
    return "cpu"


def check_precision(command: str, precision: str | int | None, trainer: L.Trainer) -> None:
    """Looks at whether the precision asked for is the one that is computed in.

    Args:
        command: fit, validate, test or predict.
        precision: trainer.precision, as asked for.
        trainer: which on a CPU takes bf16-mixed for 16-mixed.

    Raises:
        InputError: it is not, and a run would be trained so.
    """
    if not str(precision).startswith("16") or trainer.precision == "16-mixed":
        return
    said = f"trainer.precision is {precision}, but a CPU computes in {trainer.precision} here"
    if command == "fit":
        raise InputError(f"{said}; expected bf16-mixed or 32-true; 16-mixed is for GPUs")
    rank_zero_info(f"{said}: the figures are of that precision")


def check_processes(trainer: L.Trainer, joint_norm: bool = False) -> None:
    """Looks at whether several processes can do what is asked of them.

    Args:
        trainer: of the run.
        joint_norm: trainer.sync_batchnorm.

    Raises:
        InputError: for GPUs they are forked, though CUDA is in use here, or spawned, and would have
            neither the precision of products asked for nor what is compiled; or on CPUs, batch norm
            is to be joint.
    """
    launcher, device = trainer.strategy.launcher, trainer.strategy.root_device
    if isinstance(launcher, _MultiProcessingLauncher) and device.type != "cpu":
        raise InputError(
            "trainer.strategy forks or spawns processes, which cannot use GPUs as this one does; "
            "expected ddp, which starts the command once more for each; set trainer.strategy to ddp"
        )
    if joint_norm and device.type == "cpu" and trainer.world_size > 1:
        raise InputError(
            "trainer.sync_batchnorm is true, which PyTorch can do on GPUs alone; expected false on "
            "CPUs, where each process standardises by its own images"
        )


def slow_precision(precision: str, seconds: Mapping[str, float]) -> str | None:
    """What to say of a precision that another one beats clearly; None if there is nothing to say.

    Args:
        precision: trainer.precision.
        seconds: precision -> what the same step takes in it.
    """
    quickest = min(seconds, key=lambda name: seconds[name])
    ratio = seconds.get(precision, 0.0) / seconds[quickest]
    if ratio < _CLEARLY_SLOWER:
        return None
    return (
        f"hint: on this processor {precision} takes about {ratio:.1f} times as long as {quickest} "
        f"(measured on a convolution); --trainer.precision {quickest} is quicker"
    )


def say_slow_precision(trainer: L.Trainer, products: str) -> None:
    """Says if the device is slow in the Trainer's precision, which is measured on a processor.

    Args:
        trainer: of the run.
        products: matmul_precision, as asked for.
    """
    device, precision = trainer.strategy.root_device, trainer.precision
    if not trainer.is_global_zero:
        return
    hint = None
    if precision == "32-true" and products == "highest" and has_tf32(device):
        hint = (
            f"hint: {device_name(device)} has TF32 for products of float32; "
            "--matmul_precision high is likely to be quicker"
        )
    elif precision == "bf16-mixed" and imitates_bfloat16(device):
        hint = (
            f"hint: {device_name(device)} only imitates bfloat16, which is slow; "
            "--trainer.precision 16-mixed or 32-true is likely to be quicker"
        )
    elif precision == "bf16-mixed" and device.type == "cpu" and not multiplies_bfloat16(device):
        seconds = seconds_by_precision("cpu", seconds=0.0)  # the run waits for it
        hint = slow_precision(precision, seconds)
    if hint is not None:
        rank_zero_info(hint)


def gpu_names(trainer: L.Trainer) -> list[str]:
    """The GPUs of this host that the Trainer takes."""
    strategy = trainer.strategy
    devices = getattr(strategy, "parallel_devices", None) or [strategy.root_device]
    return [device_name(device) for device in devices if device.type != "cpu"]
