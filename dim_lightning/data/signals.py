"""What processes that fetch batches do about signals."""

import signal

_GRACE = 10  # seconds for the batch that is waited for


def leave_signals(_: int) -> None:
    """Ctrl-C and a job's SIGTERM reach processes that fetch, for whose batch the first one waits.

    It ends them when its step is done and the checkpoint is written. SIGTERM is how it may do so,
    and is therefore obeyed after a while.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "alarm"):  # not on Windows, where nothing sends SIGTERM
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_GRACE))
