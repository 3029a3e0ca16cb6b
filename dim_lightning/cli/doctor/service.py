"""Weights & Biases: whether a run would be sent."""

from collections.abc import Iterator
from importlib.util import find_spec

from dim_lightning.cli.doctor.asked import Asked
from dim_lightning.cli.doctor.finding import Finding
from dim_lightning.extras import installation


def service(asked: Asked) -> Iterator[Finding]:
    """Installed, logged in, reachable, not turned off; a run records offline where it is not."""
    wanted = "wandb" in str(asked.trainer.get("logger")).lower()
    if find_spec("wandb") is None:
        if wanted:
            advice = f"{installation('wandb')}, or leave the logger out"
            yield Finding("W&B", "not installed, but trainer.logger asks for it", advice, "FIX")
        else:
            yield Finding("W&B", "not installed; only needed for trainer.logger WandbLogger")
        return
    from dim_lightning.run.wandb_logger import not_sent

    unsent = not_sent()
    if unsent is None:
        yield Finding("W&B", "logged in, and the server answers")
        return
    what = "nothing" if unsent.mode == "disabled" else "offline"
    if wanted:
        yield Finding("W&B", f"records {what}: {unsent.reason}", unsent.remedy, "hint")
    else:
        yield Finding("W&B", f"installed; would record {what}: {unsent.reason}")
