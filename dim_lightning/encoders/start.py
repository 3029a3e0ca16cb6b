"""Whether an encoder that is made has to bring weights to start from."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_FOLLOW = ContextVar("_FOLLOW", default=False)


@contextmanager
def weights_follow() -> Iterator[None]:
    """Of encoders made within, all weights are replaced by those of a checkpoint or an export.

    Those that download weights to start from do without, as there may be no network.
    """
    token = _FOLLOW.set(True)
    try:
        yield
    finally:
        _FOLLOW.reset(token)


def do_weights_follow() -> bool:
    """Whether this is within `weights_follow`."""
    return _FOLLOW.get()
