"""The command line: fit, validate, test, predict, compare, sweep, table, export, shard, doctor."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: the command line after the program's name; the process's own if None.

    Returns:
        The exit code: 0, 2 for what the user can put right, 130 after Ctrl-C, 143 when terminated.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _started(words)
    except KeyboardInterrupt:  # while packages load; each command has its own words for it later
        sys.stderr.write("interrupted\n")
        return 130  # as in cli.ending, which loads what is heavy


def _started(words: list[str]) -> int:
    if words in (["--help"], ["-h"]):
        from dim_lightning.cli.overview import overview

        sys.stdout.write(overview())
        return 0
    if words[:1] == ["doctor"]:  # which has to work where the imports of the others do not
        from dim_lightning.cli.doctor import doctor

        return doctor(words[1:])
    from dim_lightning.cli.entry import run  # the heavy imports wait until somebody asks

    return run(words)


__all__ = ["main"]
