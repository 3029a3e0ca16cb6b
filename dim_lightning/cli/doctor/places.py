"""Where data, caches and runs lie, and what is there."""

import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dim_lightning.cli.doctor.asked import Asked
from dim_lightning.cli.doctor.finding import Finding
from dim_lightning.errors import InputError
from dim_lightning.writing import disk_reason

_LITTLE = 1e9  # bytes of disk: a run of the CIFAR-10 configuration takes about a tenth
_FETCH = {  # what downloads it, and how much that is
    "CIFAR10": ("fit --data.source CIFAR10", "170 MB"),
    "CIFAR100": ("fit --data.source CIFAR100", "170 MB"),
    "TinyImageNet": ("fit --data.source TinyImageNet --data.image_size 64", "248 MB"),
    "STL10": ("fit --data.source STL10 --data.image_size 64", "2.6 GB"),
}


def disk(asked: Asked) -> Iterator[Finding]:
    """Whether runs and caches can be written, and how much space there is."""
    yield _place("runs_dir", asked.runs_dir)
    yield _place("data.cache_dir", asked.cache_dir)


def _place(setting: str, folder: Path) -> Finding:
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    other = f"set {setting} to another folder"
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"x" * 4096)
            file.flush()
    except OSError as error:
        reason, _ = disk_reason(error, setting)
        return Finding(setting, f"{folder} cannot be written: {reason}", other, "FIX")
    free = shutil.disk_usage(there).free
    found = f"{folder}, {free / 1e9:.1f} GB free"
    if free < _LITTLE:
        return Finding(setting, found, f"free some space, or {other}", "hint")
    return Finding(setting, found)


def data(asked: Asked) -> Iterator[Finding]:
    """Which data sets are there, the cached pictures, and the data of the configuration."""
    yield Finding("Digits", "comes with scikit-learn")
    for name in _FETCH:
        yield _found(name, {"download": False}, asked)
    caches = [meta.parent for meta in asked.cache_dir.glob("*/meta.json")]
    if caches:
        total = sum(file.stat().st_size for cache in caches for file in cache.iterdir())
        yield Finding("cache", f"{len(caches)} decoded data sets, {total / 1e9:.2f} GB")
    own, settings = _source(asked)
    if own and own not in (*_FETCH, "Digits"):
        yield _found(own, settings, asked)


def _found(name: str, settings: Mapping[str, Any], asked: Asked) -> Finding:
    from dim_lightning.data import sources
    from dim_lightning.data.sources.download import NotFoundError

    wanted, known = _source(asked)[0] == name, getattr(sources, name, None)
    if known is None:
        return Finding(name, "a source of your own; not looked at")
    try:
        return Finding(name, known(**settings).find(asked.root).origin)
    except (InputError, TypeError) as error:
        said = str(error).partition("; ")[0]
        if name not in _FETCH:
            return Finding("data.source", said, "set data.source.init_args.path", "FIX")
        if not isinstance(error, NotFoundError):  # there, but not whole
            return Finding(name, said, "remove it to have it downloaded anew", "FIX")
    root = "" if asked.root == Path("data") else f" --data.root {shlex.quote(str(asked.root))}"
    words, size = _FETCH[name]
    command = f"python -m dim_lightning {words}{root}"
    advice = f"{'' if wanted else 'if wanted: '}{command} downloads it ({size})"
    return Finding(name, f"not below {asked.root}", advice, "hint" if wanted else "ok")


def _source(asked: Asked) -> tuple[str | None, Mapping[str, Any]]:
    """The class and the settings of the configuration's source."""
    source = asked.data.get("source")
    if isinstance(source, str):
        return source.rpartition(".")[2], {}
    if isinstance(source, dict):
        settings = source.get("init_args")
        name = os.fspath(str(source.get("class_path"))).rpartition(".")[2]
        return name, settings if isinstance(settings, dict) else {}
    return None, {}
