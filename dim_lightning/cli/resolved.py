"""What a command line means, without running it."""

from typing import Any, NamedTuple

import torch

from dim_lightning.cli.parsing import ParsedCommandLine
from dim_lightning.data import ImageDataModule
from dim_lightning.encoder_module import EncoderModule
from dim_lightning.encoders.start import weights_follow


class Parts(NamedTuple):
    """What was built.

    Attributes:
        layers: names of those of the encoder.
        data: not looked for yet.
    """

    layers: list[str]
    data: ImageDataModule


class Resolved(ParsedCommandLine):
    """Parses and checks a command line, which may take half a second, and does nothing else.

    Args:
        arguments: the command line after the program's name.

    Attributes:
        settings: all of them, defaults included, as config.yaml has them.

    Raises:
        InputError: it does not parse; names the key.
    """

    def __init__(self, arguments: list[str]) -> None:
        super().__init__(arguments)
        self.settings = self._settings_of(self.config)

    def parts(self) -> Parts:
        """Builds model, data and callbacks, but no Trainer, and so no run.

        Raises:
            InputError: they cannot be built or do not fit each other.
        """
        self.config[self.config.subcommand].trainer.logger = None  # which may be a service
        with weights_follow():  # what is only looked at needs none
            super().instantiate_classes()
        model: EncoderModule = self.model
        size = self.datamodule.image_size
        with torch.no_grad():
            layers = list(model.encoder.eval()(torch.zeros(2, 3, size, size)).layers)
        del self.model, self.config_init  # a table has many rows, and memory for one or two
        return Parts(layers, self.datamodule)

    def _set_seed(self) -> None:
        """Nothing: what is only looked at draws nothing."""

    def instantiate_classes(self) -> None:
        """Nothing."""

    def instantiate_trainer(self, **_: Any) -> Any:
        """Nothing."""

    def _run_subcommand(self, subcommand: str) -> None:
        """Nothing."""
