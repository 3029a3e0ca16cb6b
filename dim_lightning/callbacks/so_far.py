"""What a test has measured so far, so that one that was stopped goes on from there."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dim_lightning.run.folder import read_json, write_atomically

SO_FAR = "test_so_far"


class SoFar:
    """Measures each thing once, be the test stopped in between and begun again.

    What is found is written at once, into a file of its own beside result.json, which goes when all
    is measured. Tests of different subjects have different files.

    Args:
        run_dir: the run's folder.
        subject: on what the figures depend.

    Raises:
        InputError: the file is damaged.
    """

    def __init__(self, run_dir: Path, subject: Mapping[str, Any]):
        digest = hashlib.sha256(json.dumps(subject, sort_keys=True).encode()).hexdigest()
        self._path = run_dir / f"{SO_FAR}.{digest[:16]}.json"
        before = read_json(self._path, "remove it and run test again")
        self._found: dict[str, Any] = before.get("found", {})
        self._start = time.monotonic() - before.get("seconds", 0.0)

    @property
    def seconds(self) -> float:
        """Spent on it, those before it was stopped included."""
        return time.monotonic() - self._start

    def once(self, name: str, measure: Callable[[], Any]) -> Any:
        """What `measure` finds, or has found; of the types of JSON."""
        if name not in self._found:
            self._found[name] = measure()
            known = {"seconds": self.seconds, "found": self._found}
            self._path.parent.mkdir(parents=True, exist_ok=True)  # that of a script may be new
            write_atomically(self._path, json.dumps(known, indent=2) + "\n")
        return self._found[name]

    def knows(self, name: str) -> bool:
        """Whether it was measured."""
        return name in self._found

    def end(self) -> None:
        """All is measured and written elsewhere."""
        self._path.unlink(missing_ok=True)
