"""What processes that fetch batches do about signals."""

import os
import signal
from multiprocessing import parent_process
from threading import Thread

_PATIENCE = 10  # seconds


def leave_signals(_: int) -> None:
    """Ctrl-C and a job's SIGTERM reach processes that fetch, for whose batch the first one waits.

    It ends them when its step, the validation and the checkpoint are done. SIGTERM is how it may do
    so, and is obeyed at once if it comes from there. Where nothing tells from where it comes, as on
    macOS, or in a process that was not forked and has threads of libraries already, to which the
    system may give it, it ends them after a while.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_PATIENCE))
    first = parent_process()
    if first is not None and hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        Thread(target=_obey, args=(first.pid,), daemon=True).start()


def _obey(process: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != process:
        pass
    os._exit(0)
