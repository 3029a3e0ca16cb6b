"""A command line, parsed and checked, and what of it makes a run."""

import inspect
from contextlib import nullcontext
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any, get_args

import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from dim_lightning.callbacks.checkpoints import Checkpoints
from dim_lightning.callbacks.embedding_writer import EmbeddingWriter
from dim_lightning.callbacks.geometry import Geometry
from dim_lightning.callbacks.linear_probe import LinearProbe
from dim_lightning.callbacks.matmul_precision import HELP as MATMUL_HELP
from dim_lightning.callbacks.matmul_precision import Precision
from dim_lightning.callbacks.neighbours import Neighbours
from dim_lightning.callbacks.offline_evaluation import OfflineEvaluation
from dim_lightning.callbacks.reconstructions import Reconstructions
from dim_lightning.cli import compiling
from dim_lightning.cli.building import check_nulls, explained_building
from dim_lightning.cli.checks import check_folders, check_place, check_seed, check_trained
from dim_lightning.cli.method import DEFAULT, HELP, method_class, method_named
from dim_lightning.cli.overview import PROGRAM
from dim_lightning.cli.parser import MODE, Parser, check_files
from dim_lightning.cli.resume import allowed_changes
from dim_lightning.data import ImageDataModule
from dim_lightning.encoders.start import weights_follow
from dim_lightning.errors import InputError
from dim_lightning.run import wandb_logger  # noqa: F401  a bare WandbLogger means its class
from dim_lightning.run.folder import CONFIG, LAST_CHECKPOINT, PREVIOUS_CHECKPOINT

CALLBACKS = {  # key -> the class whose settings lie below it
    "checkpoint": Checkpoints,
    "probe": LinearProbe,
    "neighbours": Neighbours,
    "geometry": Geometry,
    "reconstructions": Reconstructions,
    "evaluation": OfflineEvaluation,
    "embeddings": EmbeddingWriter,
}
_GROUPS = ("trainer", "model", "data", *CALLBACKS)
_RESUME = ("--resume", "The folder of a run to go on with.")
_RUN = ("--run", "The folder of a run, whose settings and weights are taken.")
_TRAINER_DEFAULTS: dict[str, Any] = {
    "devices": 1,  # Lightning would take every GPU there is, each with a batch of its own
    "enable_model_summary": False,  # the opening line has the size
    "log_every_n_steps": 10,
    "num_sanity_val_steps": 0,  # the data is checked before the run folder is made
}


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
        _read_whole_numbers_first()
        shared = {**MODE, "method": self._method}
        of_commands = {command: dict(shared) for command in self.subcommands()}
        super().__init__(
            method_class(self._method),
            ImageDataModule,
            save_config_callback=None,
            trainer_defaults=_TRAINER_DEFAULTS,
            parser_class=Parser,
            parser_kwargs={**shared, "prog": PROGRAM, **of_commands},
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
        """What a run has beside trainer, model, data and the seed, and what follows from others."""
        parser.add_argument("--experiment", type=str, default="unnamed", help="The run's name.")
        parser.add_argument("--runs_dir", type=str, default="runs", help="Where runs lie.")
        parser.add_argument("--method", type=str, default=DEFAULT, help=HELP)
        parser.add_argument("--compile", type=compiling.Compile, default=None, help=compiling.HELP)
        parser.add_argument(
            "--matmul_precision", type=Precision, default="highest", help=MATMUL_HELP
        )
        for key, callback in CALLBACKS.items():
            parser.add_lightning_class_args(callback, key)
        parser.link_arguments("seed_everything", "model.seed")
        parser.link_arguments("seed_everything", "data.seed")
        parser.link_arguments("seed_everything", "probe.seed")
        parser.link_arguments("data.image_size", "model.image_size")

    def _prepare_subcommand_parser(
        self, klass: type, subcommand: str, **kwargs: Any
    ) -> LightningArgumentParser:
        """Lightning's, with the folder of a run.

        It prints no table of figures and keeps no predictions in memory, as callbacks write both.
        """
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        option, about = _RESUME if subcommand == "fit" else _RUN
        parser.add_argument(option, type=str | None, help=about)
        for name in ("verbose", "return_predictions"):
            if name in self._subcommand_method_arguments[subcommand]:
                parser.set_defaults({name: False})
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses `args` alone; Lightning's own warns if the process was started with others."""
        check_files(args, _GROUPS)
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
            before, now = map(self._settings_of, (stored, self.config))
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

    def _settings_of(self, config: Any) -> dict[str, Any]:
        """The same as they are read back."""
        settings: dict[str, Any] = yaml.safe_load(self._dumped(config))
        return settings


def _read_whole_numbers_first() -> None:
    """Lets 1 be read as 1, a batch, and not as 1.0, all of them, where both may be given.

    Optional[Union[int, float]] is what the first of all modules asked for, and be it
    Optional[Union[float, int]]: typing takes the two for equal and keeps the first one. So how
    Lightning's options are read would hang on what else was imported, and on versions.
    """
    annotations = inspect.unwrap(Trainer.__init__).__annotations__
    for name, kind in annotations.items():
        parts = get_args(kind)
        if int in parts and float in parts:
            annotations[name] = reduce(or_, (part for part in parts if part is not int), int)
