"""What a command line means, without running it."""

from typing import Any, NamedTuple

import torch
import yaml

from dim_lightning.cli.parsing import ParsedCommandLine
from dim_lightning.data import ImageDataModule
from dim_lightning.encoder_module import EncoderModule
from dim_lightning.encoders.start import weights_follow


class _Parsed(ParsedCommandLine):
    """Parses and checks a command line, and does nothing else."""

    def _set_seed(self) -> None:
        """Nothing: what is only looked at draws nothing."""

    def instantiate_classes(self) -> None:
        """Nothing."""

    def _run_subcommand(self, subcommand: str) -> None:
        """Nothing."""


class _Built(_Parsed):
    """Builds model, data and callbacks, too; no Trainer, and so no run."""

    def instantiate_classes(self) -> None:
        """Builds them without the loggers, which may be services."""
        self.config[self.config.subcommand].trainer.logger = None
        with weights_follow():  # what is only looked at needs none
            ParsedCommandLine.instantiate_classes(self)

    def instantiate_trainer(self, **_: Any) -> Any:
        """Nothing."""


class Parts(NamedTuple):
    """What was built.

    Attributes:
        layers: names of those of the encoder.
        data: not looked for yet.
    """

    layers: list[str]
    data: ImageDataModule


def resolved_settings(arguments: list[str]) -> dict[str, Any]:
    """All settings of a command line, defaults included, as config.yaml has them.

    Raises:
        InputError: it does not parse; names the key.
    """
    parsed = _Parsed(arguments)
    return yaml.safe_load(parsed._dumped(parsed.config))


def parts_of(arguments: list[str]) -> Parts:
    """Encoder's layers and data of a command line, once all it asks for is built.

    Raises:
        InputError: it does not parse, or its parts cannot be built or do not fit each other.
    """
    built = _Built(arguments)
    model: EncoderModule = built.model
    size = built.datamodule.image_size
    with torch.no_grad():
        layers = list(model.encoder.eval()(torch.zeros(2, 3, size, size)).layers)
    return Parts(layers, built.datamodule)
