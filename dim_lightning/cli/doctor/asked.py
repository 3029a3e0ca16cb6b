"""What the configuration asks of the machine; read as plain YAML, nothing is built."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dim_lightning.errors import InputError


class Asked(NamedTuple):
    """Settings that a machine has to fit.

    Attributes:
        root: where data sets lie.
        runs_dir: where runs lie.
        data: the settings below `data`.
        trainer: the settings below `trainer`.
    """

    root: Path = Path("data")
    runs_dir: Path = Path("runs")
    data: Mapping[str, Any] = {}
    trainer: Mapping[str, Any] = {}

    @property
    def cache_dir(self) -> Path:
        """Where decoded pictures lie."""
        return Path(self.data.get("cache_dir") or self.root / "cache").expanduser()

    def whole(self, name: str, default: int) -> int:
        """A whole number below `data`."""
        value = self.data.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else default


def read_asked(configs: Sequence[Path], root: str | None, runs_dir: str | None) -> Asked:
    """The settings of `configs`, later ones over earlier ones, and of the options over them.

    Raises:
        InputError: a file is missing or is no YAML.
    """
    found: dict[str, Any] = {"data": {}, "trainer": {}}
    for path in configs:
        content = _read(path)
        for group in ("data", "trainer"):
            found[group] |= content[group] if isinstance(content.get(group), dict) else {}
        found["runs_dir"] = content.get("runs_dir") or found.get("runs_dir")
    return Asked(
        Path(root or str(found["data"].get("root") or "data")).expanduser(),
        Path(runs_dir or str(found.get("runs_dir") or "runs")).expanduser(),
        found["data"],
        found["trainer"],
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        from dim_lightning.run.settings import read_yaml
    except ModuleNotFoundError as error:
        raise InputError(
            f"--config needs {error.name}, which is not installed; without it doctor says more"
        ) from error
    return read_yaml(path)
