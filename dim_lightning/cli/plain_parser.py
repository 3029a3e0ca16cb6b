"""The parser of commands that have no configuration."""

import argparse
from typing import Any, NoReturn

from dim_lightning.cli.messages import shortened
from dim_lightning.errors import InputError


class PlainParser(argparse.ArgumentParser):
    """argparse, with errors like those of the other commands, and no abbreviations either."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        """Ends parsing.

        Raises:
            InputError: what is wrong, and where the options are listed.
        """
        command = self.prog.split()[-1]
        raise InputError(f"{command}: {shortened(message)}; see `{command} --help`")
