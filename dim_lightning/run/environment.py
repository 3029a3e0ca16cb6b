"""environment.json: on what, with what and from which commit a run was made."""

import json
import os
import platform
import shlex
import subprocess
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from dim_lightning.run.folder import ENVIRONMENT, read_json
from dim_lightning.version import version_of
from dim_lightning.writing import write_atomically

GPUS = "gpus"  # of the host, by name, that train
KNOWN_PICTURES = "pictures"  # which a run was begun with
DATA = "data"  # what to call the data of a run, where its source says too little
_PACKAGES = (
    "dim-lightning",
    "torch",
    "torchvision",
    "lightning",
    "torchmetrics",
    "jsonargparse",
    "numpy",
    "scikit-learn",
    "pillow",
)


def describe_environment(arguments: list[str]) -> dict[str, Any]:
    """What a reader needs to repeat a run; no host, user or folder but those of its command.

    Args:
        arguments: the command line after the program's name.
    """
    return {
        "started": now(),
        "finished": None,
        "command": full_command(arguments),
        **own_commit(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": {name: version_of(name) for name in _PACKAGES},
        "cpu": cpu_model(),
        "cpu_cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
    }


def full_command(arguments: list[str]) -> str:
    """The command line, as a shell takes it."""
    return "python -m dim_lightning " + shlex.join(arguments)


def threads_text(environment: Mapping[str, Any]) -> str:
    """With how many threads PyTorch computed; nothing if that is not known."""
    threads = environment.get("threads")
    return f"{threads} thread{'s' * (threads != 1)}" if threads else ""


def processors_text(environment: Mapping[str, Any]) -> str:
    """What computed, the GPUs first."""
    cpu = environment.get("cpu") or "unknown processor"
    return ", ".join([*environment.get(GPUS, []), cpu])


def commit_text(environment: Mapping[str, Any]) -> str:
    """The commit of the code, in short, and whether it was changed since."""
    commit = (environment.get("commit") or "unknown")[:10]
    return commit + "+changes" * bool(environment.get("uncommitted_changes"))


def starts_of(environment: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The environment of each time that a run was started or went on, complete."""
    return [{**environment, **later} for later in ({}, *environment.get("resumed", []))]


def write_environment(run_dir: Path, values: dict[str, Any]) -> None:
    """Writes `values` over those the file has already."""
    content = {**read_environment(run_dir), **values}
    write_atomically(run_dir / ENVIRONMENT, json.dumps(content, indent=2) + "\n")


def add_resumption(run_dir: Path, values: dict[str, Any]) -> None:
    """Notes that a run goes on: when, by which command, and what differs from its beginning."""
    begun = read_environment(run_dir)
    differs = {name: value for name, value in values.items() if begun.get(name) != value}
    write_environment(run_dir, {"finished": None, "resumed": [*begun.get("resumed", []), differs]})


def read_environment(run_dir: Path) -> dict[str, Any]:
    """What was written; empty if nothing was.

    Raises:
        InputError: the file is damaged.
    """
    return read_json(run_dir / ENVIRONMENT, "bring it back")


def known_pictures(run_dir: Path) -> Mapping[str, Any] | None:
    """Which pictures a run was begun with; None where that was not kept."""
    return read_environment(run_dir).get(KNOWN_PICTURES)


def num_pictures(pictures: Mapping[str, Any]) -> int:
    """How many pictures those of `known_pictures` are, over all parts."""
    return sum(count for part, count in pictures.items() if part != "sha256")


def mixed_pictures_note(name: str, kind: str, runs: Mapping[str, Path]) -> list[str]:
    """That what is compared was not all trained on the same pictures; empty if it was.

    Args:
        name: of what the runs belong to.
        kind: what tells its runs apart, such as seeds.
        runs: what tells a run apart -> its folder.
    """
    kinds: dict[str, tuple[int, list[str]]] = {}
    for run, folder in runs.items():
        known = known_pictures(folder)
        if known is not None:
            kinds.setdefault(known["sha256"], (num_pictures(known), []))[1].append(run)
    listed = "; ".join(f"{number:,} with {', '.join(runs)}" for number, runs in kinds.values())
    said = f"{name} was not trained on the same pictures with all {kind}, by their names or number"
    return [f"{said}: {listed}"] if len(kinds) > 1 else []


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def own_commit() -> dict[str, Any]:
    """The commit of this package and whether it was changed since; None where it is out of git."""
    return git_state(Path(__file__).parent)


def git_state(folder: Path) -> dict[str, Any]:
    """The commit of the code in `folder` and whether it was changed since; None out of git."""
    # an environment inside somebody's repository must not pass for a commit of this project
    tracked = _git(folder, "ls-files", "--error-unmatch", "environment.py") is not None
    commit = _git(folder, "rev-parse", "HEAD") if tracked else None
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no") if commit else None
    return {"commit": commit, "uncommitted_changes": bool(changes) if commit else None}


def cpu_model() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def device_name(device: torch.device) -> str:
    """What trains: the GPU's name, or CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return {"mps": "Apple GPU"}.get(device.type, device.type.upper())


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
