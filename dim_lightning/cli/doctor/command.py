"""The command: what is looked at, in which order."""

import argparse
import sys
from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from pathlib import Path

from dim_lightning.cli.doctor.asked import Asked, read_asked
from dim_lightning.cli.doctor.finding import Finding, looked_at, page
from dim_lightning.cli.overview import PROGRAM
from dim_lightning.cli.plain_parser import PlainParser
from dim_lightning.errors import InputError
from dim_lightning.extras import installation

_USER_ERROR = 2  # not from cli.entry: this module loads none of the packages that it looks at
_REINSTALL = "install again: first torch and torchvision, then dim_lightning"
_LOOKS = (
    ("versions", "software", "versions", _REINSTALL),
    ("extras", "software", "extras", _REINSTALL),
    ("device", "machine", "device", _REINSTALL),
    ("precision", "machine", "precision", _REINSTALL),
    ("threads", "machine", "threads", ""),
    ("memory", "machine", "memory", ""),
    ("shared memory", "machine", "shared_memory", ""),
    ("disk", "places", "disk", "set runs_dir or data.cache_dir to a folder you can write to"),
    ("data", "places", "data", "set data.root to a folder you can read"),
    ("W&B", "service", "service", f"{installation('wandb')}, or leave the logger out"),
)


def doctor(arguments: list[str]) -> int:
    """Looks at the machine and prints what it found; whatever is broken, it does not crash.

    Returns:
        0 if all can train, 1 if something has to be put right first, 2 for wrong options.
    """
    try:
        options = _parser().parse_args(arguments)
        asked = read_asked(options.config, options.root, options.runs_dir)
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return _USER_ERROR
    findings = examine(asked)
    print(page(findings))  # noqa: T201
    return int(any(finding.grade == "FIX" for finding in findings))


def examine(asked: Asked) -> list[Finding]:
    """Everything that is looked at.

    Args:
        asked: the settings that the machine is to fit.
    """
    from dim_lightning.cli.doctor import software

    stolen = looked_at("lightning", software.stolen_release)
    if any(finding.grade == "FIX" for finding in stolen):
        return stolen  # nothing may import it
    findings = []
    for subject, module, name, advice in _LOOKS:
        findings += looked_at(subject, partial(_look, module, name, asked), advice)
    return findings


def _look(module: str, name: str, asked: Asked) -> Iterable[Finding]:
    look: Callable[[Asked], Iterable[Finding]] = getattr(
        import_module(f"dim_lightning.cli.doctor.{module}"), name
    )
    return look(asked)


def _parser() -> argparse.ArgumentParser:
    parser = PlainParser(
        prog=f"{PROGRAM} doctor",
        description="Says whether this machine can train: versions, device, the quickest "
        "precision, threads, data, Weights & Biases, disk and shared memory.",
    )
    parser.add_argument(
        "--config",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="look at what this configuration asks for, too; may be given again",
    )
    parser.add_argument("--data.root", dest="root", metavar="DIR", help="where data lies; data")
    parser.add_argument("--runs_dir", metavar="DIR", help="where runs lie; runs")
    return parser
