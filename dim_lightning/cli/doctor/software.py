"""Versions: what has to be there, and what may be."""

import platform
from collections.abc import Iterator
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path

from dim_lightning.cli.doctor.asked import Asked
from dim_lightning.cli.doctor.finding import Finding
from dim_lightning.extras import EXTRAS, installation
from dim_lightning.version import version_of

STOLEN = ("2.6.2", "2.6.3")  # of lightning: published by thieves of passwords
_HOLES = {  # first version without, and what others' files could do before
    "torch": ("2.10", "a checkpoint could run code (CVE-2026-24747)"),
    "pillow": ("13", "a picture could run code (CVE-2026-112403)"),
}
_PURPOSES = {  # modules, some of them named as their packages are; and what for
    "wandb": (EXTRAS["wandb"], "logs to Weights & Biases"),
    "sweep": (("optuna",), "Bayesian search"),
    "export": (EXTRAS["export"], "export to ONNX"),
    "stream": (("gcsfs", "s3fs", "huggingface_hub"), "shards in object storage"),
}


def stolen_release() -> Iterator[Finding]:
    """The releases of Lightning that steal passwords; looked for without importing it."""
    for package in ("lightning", "pytorch-lightning"):
        version = version_of(package)
        if version in STOLEN:
            yield Finding(
                package,
                f"{version} IS MALWARE: it steals passwords and keys when it is imported",
                "take this machine off the network; "
                "python -m pip uninstall -y lightning pytorch-lightning; "
                "replace every password, token and SSH key that was on it; "
                "then python -m pip install 'lightning>=2.6.6,<2.7'",
                "FIX",
            )


def versions(_: Asked) -> Iterator[Finding]:
    """Python, and every package that has to be there."""
    found = platform.python_version()
    yield Finding("Python", f"{found}, {platform.system()} {platform.machine()}")
    required = _requirements()
    if required is None:
        advice = "in its folder: python -m pip install -e ."
        yield Finding("dim_lightning", "not installed", advice, "hint")
    missing = [line for line in required or [] if not _is_met(line)]
    if missing:
        listed = " ".join(f"'{line}'" for line in missing)
        have = ", ".join(f"{name} {version_of(name)}" for name in map(_name, missing))
        yield Finding("packages", f"found {have}", f"python -m pip install {listed}", "FIX")
    elif required:
        yield Finding("packages", f"all {len(required)} that are needed, in versions that fit")
    yield Finding("lightning", version_of("lightning") or "not installed")
    yield from _holes()
    yield _pair()


def _holes() -> Iterator[Finding]:
    """What there should be newer versions of, for pictures and checkpoints of others."""
    from packaging.version import Version

    for package, (safe, hole) in _HOLES.items():
        found = version_of(package)
        if found is not None and Version(found) < Version(safe):
            advice = (
                f"update it to {safe} or newer, which may need a newer Python, or take files of "
                "people you trust only"
            )
            yield Finding("security", f"{package} {found}, by which {hole}", advice, "hint")


def extras(asked: Asked) -> Iterator[Finding]:
    """What is optional, and what for."""
    for extra, (modules, purpose) in _PURPOSES.items():
        missing = [name for name in modules if find_spec(name) is None]
        if missing:
            advice = f"if wanted: {installation(extra)}"
            yield Finding(f"[{extra}]", f"not installed: {', '.join(missing)}; {purpose}", advice)
        else:
            yield Finding(f"[{extra}]", f"installed; {purpose}")


def _pair() -> Finding:
    """PyTorch and torchvision, imported: those that do not fit fail there."""
    have = f"{version_of('torch')}, torchvision {version_of('torchvision')}"
    install = "python -m pip install --force-reinstall torch torchvision"
    together = f"install both in one command: {install}"
    try:
        import_module("torch")
        import_module("torchvision.ops")
    except Exception as error:
        said = " ".join(str(error).split())[:120]
        return Finding("torch", f"{have} do not work together ({said})", together, "FIX")
    needed = [line for line in metadata.requires("torchvision") or [] if _name(line) == "torch"]
    if not all(map(_is_met, needed)):
        return Finding("torch", f"{have}, which expects {needed[0]}", together, "FIX")
    return Finding("torch", f"{have} fits")


def _requirements() -> list[str] | None:
    """What the package needs, without extras; None where it was not installed."""
    try:
        lines = metadata.requires("dim-lightning") or []
    except metadata.PackageNotFoundError:
        lines = _declared()
    return [line for line in lines if "extra ==" not in line] or None


def _declared() -> list[str]:
    """The same from the project's own file, where the package is run from its folder."""
    path = Path(__file__).parents[3] / "pyproject.toml"
    if not path.is_file() or find_spec("tomllib") is None:  # before Python 3.11
        return []
    tomllib = import_module("tomllib")
    return list(tomllib.loads(path.read_text("utf-8"))["project"]["dependencies"])


def _is_met(line: str) -> bool:
    from packaging.requirements import Requirement

    requirement = Requirement(line)
    if requirement.marker is not None and not requirement.marker.evaluate():
        return True
    version = version_of(requirement.name)
    return version is not None and requirement.specifier.contains(version, prereleases=True)


def _name(line: str) -> str:
    from packaging.requirements import Requirement

    return Requirement(line).name
