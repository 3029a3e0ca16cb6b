"""The code of a user's own parts: which files they stand in, and whether it was changed since."""

import hashlib
import inspect
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dim_lightning.run.environment import read_environment, starts_of

OWN_CODE = "own_code"  # its key in environment.json
_INSTALLED = ("site-packages", "dist-packages")
_ELSEWHERE = (Path(__file__).parents[1], Path(sysconfig.get_path("stdlib")))


def own_code(settings: Mapping[str, Any]) -> dict[str, str]:
    """Class or function -> SHA-256 of the file that defines it, of those that settings name.

    Left out are this package, whose commit is known, Python's own and what is installed, which has
    a version. A file that is imported by these files has no hash here.

    Args:
        settings: of a run that is built, nested, with classes and functions by their import paths.
    """
    found = {}
    for name in sorted(set(_texts(settings))):
        path = _source_file(name)
        if path is not None:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def package_code() -> str:
    """A hash of the files of this package as they are, committed or not."""
    digest, folder = hashlib.sha256(), Path(__file__).parents[1]
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder)}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def codes_of(run_dir: Path) -> list[dict[str, str]]:
    """What `own_code` gave when a run was begun and each time it went on, where that was kept."""
    starts = starts_of(read_environment(run_dir))
    return [start[OWN_CODE] for start in starts if OWN_CODE in start]


def changed_code(codes: Iterable[Mapping[str, str]]) -> list[str]:
    """The classes and functions whose files are not the same in all that name them."""
    pairs = {pair for code in codes for pair in code.items()}
    names = [name for name, _ in sorted(pairs)]
    return sorted({name for name in names if names.count(name) > 1})


def said_of_change(name: str, folder: Path, made: str = "trained") -> str:
    """That one of those of `changed_since` is used by its new code, with weights of before.

    Args:
        name: the class or function.
        folder: of the run or the export that has the weights.
        made: what was done there before the change.
    """
    return (
        f"{name}: its file was changed since {folder} was {made}; what follows is of its new code"
    )


def changed_since(run_dir: Path, code: Mapping[str, str]) -> list[str]:
    """The classes and functions whose files are not those of a run's last start, as far as known.

    Args:
        run_dir: the run's folder.
        code: what `own_code` gives now.
    """
    return changed_code([*codes_of(run_dir)[-1:], code])


def mixed_code_note(name: str, kind: str, runs: Mapping[str, Path]) -> list[str]:
    """That what is compared was not all trained by the same code; empty if it was.

    Args:
        name: of what the runs belong to.
        kind: what tells its runs apart, such as seeds.
        runs: what tells a run apart -> its folder.
    """
    codes = {run: codes_of(folder) for run, folder in runs.items()}
    parts = changed_code(code for starts in codes.values() for code in starts)
    kinds: dict[tuple[object, ...], list[str]] = {}
    for run, starts in codes.items():
        # those without any of them, such as trials of another encoder, are of no kind
        known = [code for code in starts if not code.keys().isdisjoint(parts)]
        found = dict.fromkeys(tuple(map(code.get, parts)) for code in known)
        if found:
            kinds.setdefault(tuple(found), []).append(run)
    told = [", ".join(own) + " (as it went on)" * (len(found) > 1) for found, own in kinds.items()]
    said = f"{name} was not all trained by the same code, as the file of {', '.join(parts)} changed"
    return [f"{said}: {kind} {'; '.join(told)}"] if parts else []


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(item)


def _source_file(name: str) -> Path | None:
    """The file of a class or function of the user's own; None of anything else.

    Nothing is imported for it: what settings name is there once they are parsed, and a text that is
    no name, such as that of an experiment, must not start anything.
    """
    module, _, last = name.rpartition(".")
    found = getattr(sys.modules.get(module), last, None)
    if not (inspect.isclass(found) or inspect.isroutine(found)):
        return None
    try:
        path = Path(inspect.getsourcefile(inspect.unwrap(found)) or "").resolve()
    except (TypeError, OSError):  # it is built in, or made where there is no file
        return None
    is_known = any(path.is_relative_to(folder.resolve()) for folder in _ELSEWHERE)
    installed = not set(_INSTALLED).isdisjoint(path.parts)
    return path if path.is_file() and not is_known and not installed else None
