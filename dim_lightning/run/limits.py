"""What this process may use of the machine: all of it, or what it is bound or limited to."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

_CGROUP, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def usable_cores() -> float:
    """Cores this process may use: those it is bound to, or less by the quota of its cgroup."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(float(bound or 1), *quotas(_cgroups(""), _cgroups("cpu")), float("inf"))


def quotas(unified: Iterable[Path], separate: Iterable[Path]) -> Iterator[float]:
    """Limits in cores.

    Args:
        unified: folders of cgroup version 2.
        separate: folders of the controller cpu of version 1.
    """
    for folder in unified:
        words = _words(folder / "cpu.max")
        if len(words) == 2 and words[0] != "max":
            yield int(words[0]) / int(words[1])
    for folder in separate:
        quota = _words(folder / "cpu.cfs_quota_us")
        period = _words(folder / "cpu.cfs_period_us")
        if quota and period and int(quota[0]) > 0:
            yield int(quota[0]) / int(period[0])


def available_memory() -> float | None:
    """Bytes that this process may still take; None where the system does not say."""
    info = Path("/proc/meminfo")
    if not info.is_file():
        return None
    lines = dict(line.split(":", 1) for line in info.read_text("utf-8").splitlines() if ":" in line)
    found = lines.get("MemAvailable", lines["MemFree"])  # early WSL does not say the first
    free = [1024.0 * int(found.split()[0])]
    for kind, limit, used in (
        ("", "memory.max", "memory.current"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        for folder in _cgroups(kind):
            most, now = _words(folder / limit), _words(folder / used)
            if most and now and most[0].isdigit():
                free.append(float(int(most[0]) - int(now[0])))
    return max(0.0, min(free))


def _cgroups(kind: str) -> Iterator[Path]:
    """The folders that limit this process: of its own cgroup and of all above it.

    Args:
        kind: the controller of version 1; empty for version 2.
    """
    for line in _OWN.read_text("utf-8").splitlines() if _OWN.is_file() else ():
        _, kinds, path = line.split(":", 2)
        if kind in kinds.split(","):
            own_folder = _CGROUP / kind / path.lstrip("/")
            yield own_folder
            yield from (each for each in own_folder.parents if each.is_relative_to(_CGROUP / kind))


def _words(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8").split()
    except OSError:
        return []
