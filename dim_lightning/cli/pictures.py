"""Whether the pictures are those that a run was begun with: others are dealt to other splits."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities.rank_zero import rank_zero_info

from dim_lightning.errors import InputError
from dim_lightning.run.environment import PICTURES, read_environment
from dim_lightning.run.folder import CONFIG, LAST_CHECKPOINT
from dim_lightning.run.result import read_result

OTHERS = "other_pictures"  # in result.json: of which pictures the figures are, if of others


def known_pictures(run_dir: Path) -> Mapping[str, Any] | None:
    """Which pictures a run was begun with; None where that was not kept."""
    environment = read_environment(run_dir)
    starts = [environment, *environment.get("resumed", [])]
    return next((start[PICTURES] for start in starts if PICTURES in start), None)


def check_pictures(run_dir: Path, found: Mapping[str, Any]) -> None:
    """Looks at whether a run can go on with these pictures.

    Args:
        run_dir: the run's folder.
        found: which pictures there are now.

    Raises:
        InputError: they are others.
    """
    change = _change(run_dir, found)
    if change is not None:
        raise InputError(
            f"{run_dir} goes on with the pictures it was begun with, and {change}; they would be "
            "dealt anew, so that it tests on some that it was trained on; bring the former ones "
            f"back, or start a new run from its state: python -m dim_lightning fit --config "
            f"{run_dir / CONFIG} --ckpt_path {run_dir / LAST_CHECKPOINT} --trainer.max_epochs "
            "MORE, of whose figures the same is true"
        )


def say_others(command: str, run_dir: Path, found: Mapping[str, Any]) -> dict[str, str | None]:
    """What to note beside the figures of `validate` and `test`; says it, if there is anything.

    Args:
        command: whose figures they are.
        run_dir: the run's folder.
        found: which pictures there are now.
    """
    change = _change(run_dir, found)
    if change is not None:
        rank_zero_info(
            f"{run_dir} was trained on other pictures: {change}; as they are dealt anew, "
            "some that are measured may have been trained on, and the figures be too good"
        )
    was_noted = OTHERS in read_result(run_dir).get(command, {})
    return {OTHERS: change} if change is not None or was_noted else {}


def _change(run_dir: Path, found: Mapping[str, Any]) -> str | None:
    """What is there in place of the pictures of a run; None where they are, or are not known."""
    known = known_pictures(run_dir)
    if known is None or known == found:
        return None
    before, now = (_listed(each) for each in (known, found))
    if before == now:
        return f"there are as many, {now}, but others by name or order"
    return f"there were {before} and are {now}"


def _listed(pictures: Mapping[str, Any]) -> str:
    counts = {name: count for name, count in pictures.items() if name != "sha256"}
    parts = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    return f"{sum(counts.values()):,} pictures" + (f" ({parts})" if len(counts) > 1 else "")
