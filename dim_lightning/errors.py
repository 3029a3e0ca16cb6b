"""The one error that is the user's to mend, and what its messages are made with."""

import difflib
from collections.abc import Iterable

_FEW = 15


class InputError(Exception):
    """What was found, what was expected and what to do, in one short message.

    Raised for anything that a user can put right: a setting, a file, a data set, a full disk. The
    command line prints the message alone, without a traceback, and leaves with exit code 2.
    """


def check_least(key: str, value: int | float | None, least: int | float, why: str = "") -> None:
    """Looks at a setting that is a number; None will do.

    Args:
        key: of the setting.
        value: what was given.
        least: what it may be.
        why: what the number is, for the error.

    Raises:
        InputError: it is below `least`.
    """
    if value is not None and not value >= least:
        reason = f" ({why})" if why else ""
        raise InputError(f"{key} is {value}; expected at least {least}{reason}; set {key}")


def check_list(key: str, value: object) -> None:
    """Looks at what is to be several texts: of one alone its letters would be taken for them.

    Args:
        key: of the setting.
        value: what was given.

    Raises:
        InputError: it is a text.
    """
    if isinstance(value, str):
        raise InputError(f"{key} is {value!r}; expected a list; write [{value!r}]")


def printable(text: str) -> str:
    """The text with what a terminal would obey in place of showing it, as names may have, spelt."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def cut(text: str, longest: int) -> str:
    """`text`, or what of it `longest` characters hold with an ellipsis at the end."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def nearest(name: str, known: Iterable[str], listed_in: str = "`fit --help`") -> str:
    """The question "did you mean ...?", or what there is if nothing comes close.

    Args:
        name: what was given.
        known: what could have been meant.
        listed_in: where to look these up if they are many.
    """
    keys = _keys(known)
    meant = closest(name, keys)
    if meant is not None:
        return f"did you mean {meant}?"
    listed = f"expected one of {', '.join(keys)}" if 0 < len(keys) <= _FEW else f"see {listed_in}"
    return f"nothing comes close; {listed}"


def closest(name: str, known: Iterable[str]) -> str | None:
    """What of `known` was probably meant by `name`; None if nothing comes close."""
    keys = _keys(known)
    found = difflib.get_close_matches(name, keys, n=1, cutoff=0.7)
    ending = name.rsplit(".", 1)[-1]
    if not found or found[0].count(".") != name.count("."):
        # the right name under the wrong parent, or without one
        endings = {k.rsplit(".", 1)[-1]: k for k in reversed(keys)}
        found = [endings[n] for n in difflib.get_close_matches(ending, endings, 1, 0.8)] or found
    return found[0] if found else None


def _keys(known: Iterable[str]) -> list[str]:
    """Those below which there are no others."""
    names = [name for name in known if name]
    groups = {name.rsplit(".", 1)[0] for name in names if "." in name}
    return [name for name in names if name not in groups]
