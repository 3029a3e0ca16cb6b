"""What a test has measured so far, so that one that was stopped goes on from there."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dim_lightning.run.folder import read_json
from dim_lightning.writing import write_atomically

SO_FAR = "test_so_far"


class SoFar:
    """Measures each thing once, be the test stopped in between and begun again.

    What is found is written at once, into a file beside result.json, and taken out of it when all
    is measured. Other subjects have other files; tests of one subject with different settings have
    one, and leave one another's measures in it.

    Attributes:
        seconds: that it took to find what was found before and is used again.

    Args:
        run_dir: the run's folder.
        subject: on what all figures depend.

    Raises:
        InputError: the file is damaged.
    """

    def __init__(self, run_dir: Path, subject: Mapping[str, Any]):
        digest = hashlib.sha256(json.dumps(subject, sort_keys=True).encode()).hexdigest()
        self._path = run_dir / f"{SO_FAR}.{digest[:16]}.json"
        self._found = self._read()
        self._own: dict[str, dict[str, Any]] = {}
        self.seconds = 0.0

    def once(self, name: str, settings: Mapping[str, Any], measure: Callable[[], Any]) -> Any:
        """What `measure` finds, or has found; of the types of JSON.

        Args:
            name: of what is measured.
            settings: on which it depends.
            measure: finds it.
        """
        key = _key(name, settings)
        if key in self._found:
            self.seconds += self._found[key]["seconds"]
            self._own[key] = self._found[key]
        else:
            start = time.monotonic()
            value = measure()
            self._own[key] = {"seconds": time.monotonic() - start, "value": value}
            self._write({**self._read(), **self._own})
        return self._own[key]["value"]

    def knows(self, name: str, settings: Mapping[str, Any]) -> bool:
        """Whether it was measured before."""
        return _key(name, settings) in self._found

    def end(self) -> None:
        """All is measured and written elsewhere."""
        self._write({key: found for key, found in self._read().items() if key not in self._own})

    def _read(self) -> dict[str, dict[str, Any]]:
        return read_json(self._path, "remove it and run test again")

    def _write(self, found: Mapping[str, Any]) -> None:
        if not found:
            self._path.unlink(missing_ok=True)
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)  # that of a script may be new
        write_atomically(self._path, json.dumps(found, indent=2) + "\n")


def _key(name: str, settings: Mapping[str, Any]) -> str:
    return f"{name} {json.dumps(settings, sort_keys=True)}"
