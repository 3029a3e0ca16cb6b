"""A run's settings by their full names."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from dim_lightning.run.folder import CONFIG


def flat_config(folder: Path) -> dict[str, Any]:
    """A run's settings by their full name, with dots."""
    return flat_settings(yaml.safe_load((folder / CONFIG).read_text("utf-8")) or {})


def flat_settings(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their full name, with dots."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            flat.update(flat_settings(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat
