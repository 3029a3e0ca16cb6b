"""The parser of commands that have no configuration."""

import argparse
from typing import NoReturn

from dim_lightning.cli.messages import shortened
from dim_lightning.errors import InputError


class PlainParser(argparse.ArgumentParser):
    """argparse, with errors like those of the other commands."""

    def error(self, message: str) -> NoReturn:
        """Ends parsing.

        Raises:
            InputError: what is wrong, and where the options are listed.
        """
        command = self.prog.split()[-1]
        raise InputError(f"{command}: {shortened(message)}; see `{command} --help`")
