"""Which pictures a data set consists of, wherever it lies."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from dim_lightning.data.cache import Cached
from dim_lightning.data.sources.source import Parts


class Contents(NamedTuple):
    """What the dealing of pictures to training, validation and test depends on beside its settings.

    The same after a copy to another place, and where a file was written anew under its name.

    Attributes:
        counts: number of pictures of each part.
        sha256: hash of their files' names below the folder that they share; where they are no
            files, the source's own, or of their labels.
    """

    counts: dict[str, int]
    sha256: str

    def to_json(self) -> dict[str, Any]:
        """Both, as plain values."""
        return {**self.counts, "sha256": self.sha256}


def cached_contents(cached: Cached) -> Contents:
    """Those of a data set that lies decoded on the disk."""
    if cached.contents is not None:
        return Contents(cached.parts, cached.contents)
    files = {part: cached.folder / f"{part}_names.json" for part in cached.parts}
    if all(file.exists() for file in files.values()):
        names = {part: json.loads(file.read_text("utf-8")) for part, file in files.items()}
        return Contents(cached.parts, _hash_of_names(names))
    labels = {part: cached.labels_of(part) for part in cached.parts}
    return Contents(cached.parts, _hash_of_labels(labels))


def hash_of_parts(parts: Parts) -> str:
    """That of all pictures of a source, also of those that turn out to be unreadable."""
    if all(part.named for part in parts.given.values()):
        return _hash_of_names({name: part.pictures for name, part in parts.given.items()})
    return _hash_of_labels({name: part.labels for name, part in parts.given.items()})


def _hash_of_names(names: Mapping[str, Iterable[Any]]) -> str:
    folders = {_plain(name).rpartition(os.sep)[0] for each in names.values() for name in each}
    start = len(os.path.commonpath(folders))
    below = (  # of names below the folder at hand, ".", no separator follows what they share
        (part, _plain(name)[start:].lstrip(os.sep).replace(os.sep, "/"))
        for part in names
        for name in names[part]
    )
    return hash_of(f"{part}/{name}" for part, name in below)


def _plain(name: str) -> str:
    """Names of files right in the folder at hand begin with it."""
    return name.removeprefix(f".{os.sep}")


def _hash_of_labels(labels: Mapping[str, np.ndarray]) -> str:
    return hash_of(f"{part} {each.tolist()}" for part, each in labels.items())


def hash_of(lines: Iterable[str]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of some lines."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(f"{line}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]
