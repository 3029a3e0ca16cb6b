"""Weights & Biases: whether a run would be sent."""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from dim_lightning.cli.doctor.asked import Asked
from dim_lightning.cli.doctor.finding import Finding
from dim_lightning.extras import installation


def service(asked: Asked) -> Iterator[Finding]:
    """Installed, logged in, reachable; a run records offline where it is not."""
    wanted = "wandb" in str(asked.trainer.get("logger")).lower()
    if find_spec("wandb") is None:
        if wanted:
            advice = f"{installation('wandb')}, or leave the logger out"
            yield Finding("W&B", "not installed, but trainer.logger asks for it", advice, "FIX")
        else:
            yield Finding("W&B", "not installed; only needed for trainer.logger WandbLogger")
        return
    from dim_lightning.run.wandb_logger import reason_offline

    mode: Any = os.environ.get("WANDB_MODE")
    reason = f"WANDB_MODE is {mode}" if mode in ("offline", "disabled") else reason_offline()
    if reason is None:
        yield Finding("W&B", "logged in, and the server answers")
    elif wanted:
        yield Finding("W&B", f"records offline: {reason}", "wandb login", "hint")
    else:
        yield Finding("W&B", f"installed; would record offline: {reason}")
