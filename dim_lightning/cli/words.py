"""Options of a command line, looked at before it is parsed: the parser depends on some of them."""

import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from dim_lightning.run.folder import CONFIG, LAST_CHECKPOINT

_SHORT = {"-c": "--config"}


class Option(NamedTuple):
    """An option that has a value.

    Attributes:
        name: with its hyphens; the long one where there is a short one as well.
        value: what it was given.
        place: which of the words holds the value.
    """

    name: str
    value: str
    place: int


def options(words: Sequence[str]) -> Iterator[Option]:
    """Options in order, from `--name value` and `--name=value`.

    Args:
        words: the command line.
    """
    for place, word in enumerate(words):
        name, sign, value = word.partition("=")
        name = _SHORT.get(name, name)
        if sign:
            yield Option(name, value, place)
        elif place + 1 < len(words):
            yield Option(name, words[place + 1], place + 1)


def last_value(words: Sequence[str], name: str) -> str | None:
    """The value that counts where an option is given more than once; None if it is not given."""
    values = [option.value for option in options(words) if option.name == name]
    return values[-1] if values else None


def as_path(text: str) -> Path:
    """A path, of which ~ is the home: a shell leaves it behind the sign in --output=~/x."""
    return Path(os.path.expanduser(text))  # noqa: PTH111  # a Path's raises where there is no home


def state_words(run_dir: Path) -> str:
    """The options that give a run of its own the settings and the state of another, for a shell."""
    files = {"--config": run_dir / CONFIG, "--ckpt_path": run_dir / LAST_CHECKPOINT}
    return shlex.join(word for option, path in files.items() for word in (option, str(path)))


def config_files(words: Sequence[str]) -> dict[int, Path]:
    """The files of the --config options, by the places of their names among the words."""
    named = {o.place: Path(o.value) for o in options(words) if o.name == "--config"}
    return {place: path for place, path in named.items() if _is_file(path)}


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # settings themselves, too long for a name
        return False
