"""A command line, parsed and checked, and what of it makes a run."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from dim_lightning.cli.building import check_nulls, explained_building
from dim_lightning.cli.checks import check_folders, check_place, check_seed, check_trained
from dim_lightning.cli.method import method_class, method_named
from dim_lightning.cli.options import (
    GROUPS,
    TRAINER_DEFAULTS,
    add_folder_option,
    add_options,
    parser_settings,
)
from dim_lightning.cli.parser import Parser, check_files
from dim_lightning.cli.resume import allowed_changes
from dim_lightning.data import ImageDataModule
from dim_lightning.encoders.start import weights_follow
from dim_lightning.errors import InputError
from dim_lightning.run import wandb_logger  # noqa: F401  names alone mean what they mean to a run
from dim_lightning.run.folder import CONFIG, LAST_CHECKPOINT, PREVIOUS_CHECKPOINT


class ParsedCommandLine(LightningCLI):
    """LightningCLI with the settings of a run, which stay as they were parsed.

    The class of the model is that of the method asked for, so that its settings, their help and the
    messages about them are those of a command line made for it.

    Args:
        arguments: the command line after the program's name.
    """

    def __init__(self, arguments: list[str]) -> None:
        self._arguments = arguments
        self._method = method_named(arguments)
        super().__init__(
            method_class(self._method),
            ImageDataModule,
            save_config_callback=None,
            trainer_defaults=TRAINER_DEFAULTS,
            parser_class=Parser,
            parser_kwargs=parser_settings(self.subcommands()),
            auto_configure_optimizers=False,
            args=arguments,
        )

    def __deepcopy__(self, memo: Any) -> "ParsedCommandLine":
        """Itself: a copy of the model, such as an average of its weights, has the same one."""
        return self

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Lightning's; where one is asked for it alone, as the parser of each takes its time."""
        known = LightningCLI.subcommands()
        return {name: known[name] for name in self._arguments[:1] if name in known} or known

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The seed, a whole number: one that is drawn could not be linked to model and data."""
        parser.add_argument("--seed_everything", type=int, default=0, help="Seed of the run.")

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """What a run has beside trainer, model and data."""
        add_options(parser)

    def _prepare_subcommand_parser(
        self, klass: type, subcommand: str, **kwargs: Any
    ) -> LightningArgumentParser:
        """Lightning's, without what is had elsewhere: the table of figures, the codes in memory."""
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        add_folder_option(parser, subcommand)
        for name in ("verbose", "return_predictions"):
            if name in self._subcommand_method_arguments[subcommand]:
                parser.set_defaults({name: False})
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses `args` alone; Lightning's own warns if the process was started with others."""
        check_files(args, GROUPS)
        self.config = parser.parse_args(args)
        if self.config.subcommand is None:
            return
        config = self.config[self.config.subcommand]
        check_nulls(self._parser(self.config.subcommand), config)
        check_seed(config.seed_everything)
        check_place(config.runs_dir, config.experiment)
        places = ("runs_dir", "data.root", "data.cache_dir")
        check_folders({name: config[name] for name in places})
        check_trained(self.config.subcommand, config.as_dict())
        if config.method != self._method:  # given in an odd place
            raise InputError(
                "method: expected it in a --config file of the command, or as --method"
            )
        if self._folder is not None and self.config.subcommand == "fit":
            stored = parser.parse_args(["fit", "--config", str(self._folder / CONFIG)])
            before, now = (yaml.safe_load(self._dumped(c)) for c in (stored, self.config))
            for line in allowed_changes(before, now, self._folder):
                rank_zero_info(line)

    def _parse_ckpt_path(self) -> None:
        """Nothing: a checkpoint's settings would silently win over those asked for."""

    def instantiate_classes(self) -> None:
        """Builds model, data and callbacks.

        Raises:
            InputError: for settings that cannot be built.
        """
        with explained_building(), weights_follow() if self._goes_on else nullcontext():
            super().instantiate_classes()

    @property
    def _folder(self) -> Path | None:
        """The folder of the run that the command is about; None for a new run."""
        subcommand = self.config.subcommand
        folder = self.config[subcommand].get("resume" if subcommand == "fit" else "run")
        return None if folder is None else Path(folder)

    @property
    def _goes_on(self) -> bool:
        """Whether the weights are those of a checkpoint; a run may have saved none yet."""
        run = self._folder
        own = () if run is None else (run / LAST_CHECKPOINT, run / PREVIOUS_CHECKPOINT)
        return any(path.is_file() for path in own) or bool(self._option("ckpt_path"))

    def _option(self, name: str) -> Any:
        return self._get(self.config, name)

    def _dumped(self, config: Any) -> str:
        """The part of a parsed command line that makes a run, as `--config` takes it back."""
        settings = config[config.subcommand].clone()
        for name in ("run", "resume"):
            settings.pop(name, None)
        return self._parser(config.subcommand).dump(settings, skip_unset=False)
