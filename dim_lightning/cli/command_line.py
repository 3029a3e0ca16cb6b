"""LightningCLI with run folders: what is parsed, checked and built, in this order."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lightning as L
import yaml
from lightning.pytorch.callbacks import Checkpoint, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.exceptions import SIGTERMException
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_only

from dim_lightning.callbacks.checkpoints import Checkpoints
from dim_lightning.callbacks.embedding_writer import EmbeddingWriter
from dim_lightning.callbacks.geometry import Geometry
from dim_lightning.callbacks.linear_probe import LinearProbe
from dim_lightning.callbacks.neighbours import Neighbours
from dim_lightning.callbacks.offline_evaluation import OfflineEvaluation
from dim_lightning.callbacks.reconstructions import Reconstructions
from dim_lightning.cli.building import check_nulls, explained_building
from dim_lightning.cli.checks import (
    check_checkpoint,
    check_data,
    check_seed,
    check_trainer,
    check_weights_only,
)
from dim_lightning.cli.ending import INTERRUPTED, TERMINATED, StoppedError
from dim_lightning.cli.fixed import fixed_callbacks
from dim_lightning.cli.job import JOB, begun_run, job_name
from dim_lightning.cli.messages import shortened
from dim_lightning.cli.method import DEFAULT, HELP, method_class, method_named
from dim_lightning.cli.parser import MODE, Parser, check_files
from dim_lightning.cli.place import is_first_process, work_folder
from dim_lightning.cli.resources import explained_resources
from dim_lightning.cli.resume import (
    Start,
    allowed_changes,
    check_epochs,
    check_joint_batch,
    cut_back,
    start_from,
    usable_checkpoint,
)
from dim_lightning.data import ImageDataModule
from dim_lightning.errors import InputError
from dim_lightning.run.checkpoint import AtomicCheckpointIO
from dim_lightning.run.environment import (
    add_resumption,
    describe_environment,
    write_environment,
)
from dim_lightning.run.folder import (
    CONFIG,
    alone_in,
    explained,
    remove_unused_folder,
    write_atomically,
)
from dim_lightning.run.metrics import MetricsFile
from dim_lightning.run.report import closing_message, opening_message
from dim_lightning.run.result import update_result
from dim_lightning.run.signals import Terminated
from dim_lightning.run.summary import write_summary
from dim_lightning.run.wandb_logger import WandbLogger

COMMANDS = ("fit", "validate", "test", "predict")
DESCRIPTION = (
    "Deep InfoMax: learns an image encoder without labels. `fit --config FILE` trains, "
    "`fit --resume FOLDER` goes on with a run that was stopped, "
    "`validate|test|predict --run FOLDER` work on a run, `compare FOLDER FOLDER` draws several, "
    "`sweep FILE` searches settings, `export FOLDER` hands the encoder on, `shard OUTPUT` writes "
    "pictures beyond memory, `doctor` looks at the machine."
)
GROUPS = (
    *("trainer", "model", "data", "checkpoint"),
    *("probe", "neighbours", "geometry", "reconstructions", "evaluation", "embeddings"),
)
TRAINER_DEFAULTS: dict[str, Any] = {
    "enable_model_summary": False,  # the opening line has the size
    "log_every_n_steps": 10,
    "num_sanity_val_steps": 0,  # the data is checked before the run folder is made
}


class CommandLine(LightningCLI):
    """Parses, seeds, builds model and data, checks them, makes the run folder, runs the command.

    The class of the model is that of the method asked for, so that its settings, their help and the
    messages about them are those of a command line made for it. The configuration is never changed
    after it is parsed: the run folder, metrics.csv and the callbacks that every run has are given
    to the Trainer by this class, not through the config.

    Args:
        arguments: the command line after the program's name.
    """

    def __init__(self, arguments: list[str]) -> None:
        self._arguments = arguments
        self._method = method_named(arguments)
        self._open = ExitStack()  # what is held while a run trains
        self._start = Start()
        self.run_dir: Path
        self._begun: Path | None = None  # the run that an earlier start of this job has begun
        super().__init__(
            method_class(self._method),
            ImageDataModule,
            save_config_callback=None,
            trainer_defaults=TRAINER_DEFAULTS,
            parser_class=Parser,
            parser_kwargs={
                **MODE,
                "prog": "python -m dim_lightning",
                "description": DESCRIPTION,
                **{command: dict(MODE) for command in COMMANDS},
            },
            auto_configure_optimizers=False,
            args=arguments,
        )

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The seed, a whole number: one that is drawn could not be linked to model and data."""
        parser.add_argument("--seed_everything", type=int, default=0, help="Seed of the run.")

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """What a run has beside trainer, model and data."""
        parser.add_argument("--experiment", type=str, default="unnamed", help="The run's name.")
        parser.add_argument("--runs_dir", type=str, default="runs", help="Where runs lie.")
        parser.add_argument("--method", type=str, default=DEFAULT, help=HELP)
        parser.add_lightning_class_args(Checkpoints, "checkpoint")
        parser.add_lightning_class_args(LinearProbe, "probe")
        parser.add_lightning_class_args(Neighbours, "neighbours")
        parser.add_lightning_class_args(Geometry, "geometry")
        parser.add_lightning_class_args(Reconstructions, "reconstructions")
        parser.add_lightning_class_args(OfflineEvaluation, "evaluation")
        parser.add_lightning_class_args(EmbeddingWriter, "embeddings")
        parser.link_arguments("seed_everything", "model.seed")
        parser.link_arguments("seed_everything", "data.seed")
        parser.link_arguments("seed_everything", "probe.seed")
        parser.link_arguments("data.image_size", "model.image_size")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses `args` alone; Lightning's own warns if the process was started with others."""
        check_files(args, GROUPS)
        self.config = parser.parse_args(args)
        if self.config.subcommand is None:
            return
        config = self.config[self.config.subcommand]
        check_nulls(self._parser(self.config.subcommand), config)
        check_seed(config.seed_everything)
        if config.method != self._method:  # given in an odd place
            raise InputError(
                "method: expected it in a --config file of the command, or as --method"
            )
        if self._folder is not None and self.config.subcommand == "fit":
            run_dir = Path(self._folder)
            stored = parser.parse_args(["fit", "--config", str(run_dir / CONFIG)])
            before, now = (yaml.safe_load(self._dumped(c)) for c in (stored, self.config))
            for line in allowed_changes(before, now, run_dir):
                rank_zero_info(line)

    def _parse_ckpt_path(self) -> None:
        """Nothing: a checkpoint's settings would silently win over those asked for."""

    def _prepare_subcommand_parser(
        self, klass: type, subcommand: str, **kwargs: Any
    ) -> LightningArgumentParser:
        """Lightning's, with its table of figures off: the closing message has them."""
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        option = "--resume" if subcommand == "fit" else "--run"
        parser.add_argument(option, type=str | None, help="The folder of a run to go on with.")
        if "verbose" in self._subcommand_method_arguments[subcommand]:
            parser.set_defaults({"verbose": False})
        return parser

    def instantiate_classes(self) -> None:
        """Builds model, data and callbacks.

        Raises:
            InputError: for settings that cannot be built.
        """
        with explained_building():
            super().instantiate_classes()

    def instantiate_trainer(self, **_: Any) -> L.Trainer:
        """Checks what the run needs, makes its folder, and builds the Trainer in it."""
        config = dict(self._get(self.config_init, "trainer"))
        check_trainer(config)
        check_weights_only(self._option("weights_only"))
        place = Path(self._option("runs_dir")), self._option("experiment")
        if self._command == "fit" and self._folder is None:
            self._begun = begun_run(*place, self._arguments)
        self._start = self._where_to_start(config["max_epochs"])
        check_data(self.datamodule, self._command)
        is_new = self._folder is None
        self.run_dir = work_folder(*place, self._folder)
        try:
            if self._command == "fit" and is_first_process():
                self._open.enter_context(alone_in(self.run_dir))
            trainer = self._trainer(config, self.run_dir)
            if self._command == "fit":
                num_images = trainer.world_size * self.datamodule.batch_size
                self.model.check_data(self.datamodule, num_images)
            if self._is_resumed:
                check_joint_batch(self._start, trainer.world_size, self.datamodule.batch_size)
            self._write_inputs()
            return trainer
        except BaseException:
            self._open.close()
            if is_new and is_first_process():
                remove_unused_folder(self.run_dir)
            raise

    def _where_to_start(self, max_epochs: int | None) -> Start:
        """The checkpoint to start from, looked at."""
        path = self._option("ckpt_path") and Path(self._option("ckpt_path"))
        if self._is_resumed:
            run_dir = Path(str(self._folder))
            own = usable_checkpoint(run_dir)
            if own is not None:
                start = start_from(own, check_checkpoint(own, self.model))
                check_epochs(start, max_epochs, run_dir)
                return start
        if path:
            check_checkpoint(path, self.model)
        return Start(path or None)

    def _run_subcommand(self, subcommand: str) -> None:
        """Runs the command; a run on Weights & Biases is closed however it ends.

        Raises:
            StoppedError: after Ctrl-C or a request to terminate, which Lightning makes exits of.
        """
        failed = True
        try:
            data = self.datamodule
            sizes = (data.batch_size, data.eval_batch_size)
            with explained_resources(subcommand, *sizes), explained_building():
                super()._run_subcommand(subcommand)
            failed = False
        except SIGTERMException as error:
            raise StoppedError(self.run_dir, TERMINATED, subcommand) from error
        except SystemExit as error:
            stopped = error.__context__
            if isinstance(stopped, KeyboardInterrupt):
                code = TERMINATED if isinstance(stopped, Terminated) else INTERRUPTED
                raise StoppedError(self.run_dir, code, subcommand) from error
            raise
        finally:
            for logger in self.trainer.loggers:
                if isinstance(logger, WandbLogger):
                    logger.finish(failed)
            self._open.close()

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        """Lightning's, with the checkpoint that was found."""
        path = self._start.path
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        return {**kwargs, "ckpt_path": None if path is None else str(path)}

    def before_fit(self) -> None:
        """Says what starts and where."""
        if self._begun is not None:
            self.trainer.print(f"{job_name()} was started again and goes on where it was saved")
        size = sum(parameter.numel() for parameter in self.model.parameters())
        splits = {"training": "train", "validation": "val"}
        counts = {name: len(self.datamodule.split(split)) for name, split in splits.items()}
        self.trainer.print(opening_message(self.run_dir, size, counts))
        if self._is_resumed:
            cut_back(self.run_dir, self._start.metrics_rows)
            self.trainer.print(str(self._start))

    def after_fit(self) -> None:
        """Says what was reached, where it lies and what to try next."""
        if self._is_resumed and self.trainer.global_step == self._start.steps:
            self.trainer.print("nothing was left to train; a larger --trainer.max_epochs goes on")
        self._close("fit")

    def after_validate(self) -> None:
        """The same after `validate`."""
        self._close("validate")

    def after_test(self) -> None:
        """The same after `test`."""
        self._close("test")

    def after_predict(self) -> None:
        """The same after `predict`."""
        self._close("predict")

    def _close(self, command: str) -> None:
        figures = {name: float(value) for name, value in self.trainer.callback_metrics.items()}
        if self.trainer.is_global_zero:
            if command != "fit":
                update_result(self.run_dir, command, figures)
                write_summary(self.run_dir)
            print(closing_message(self.run_dir, command))  # noqa: T201

    @property
    def _command(self) -> str:
        return str(self.subcommand)

    @property
    def _folder(self) -> str | None:
        """The folder of the run that the command is about; None for a new run."""
        if self._begun is not None:
            return str(self._begun)
        subcommand = self.config.subcommand
        return self.config[subcommand].get("resume" if subcommand == "fit" else "run")

    @property
    def _is_resumed(self) -> bool:
        return self._command == "fit" and self._folder is not None

    def _option(self, name: str) -> Any:
        return self._get(self.config, name)

    def _trainer(self, config: dict[str, Any], run_dir: Path) -> L.Trainer:
        """The Trainer of `config` that works in `run_dir`."""
        keyed = [self._get(self.config_init, key) for key in self._callback_keys()]
        if self._command != "fit" or config["enable_checkpointing"] is False:
            keyed = [callback for callback in keyed if not isinstance(callback, Checkpoints)]
        fixed = fixed_callbacks(run_dir, self._command, config)
        callbacks = [*_as_list(config["callbacks"]), *keyed, *fixed]
        bar = any(isinstance(callback, ProgressBar) for callback in callbacks)
        config |= {
            "default_root_dir": str(run_dir),
            "callbacks": callbacks,
            "enable_progress_bar": bar,
            "enable_checkpointing": any(isinstance(c, Checkpoint) for c in callbacks),
            "logger": self._loggers(config["logger"], run_dir),
            "plugins": [*_as_list(config["plugins"]), AtomicCheckpointIO()],
        }
        try:
            return L.Trainer(**config)
        except InputError:
            raise
        except Exception as error:  # of nearly any kind: the Trainer trusts its arguments
            raise InputError(f"trainer: {shortened(str(error) or repr(error))}") from error

    def _callback_keys(self) -> list[str]:
        return self._parser(self.subcommand).callback_keys

    def _loggers(self, asked: Any, run_dir: Path) -> list[Logger]:
        """metrics.csv, and the loggers asked for; none at all for `logger: false`."""
        if asked is False:
            return []
        others = [logger for logger in _as_list(asked) if isinstance(logger, Logger)]
        for logger in others:
            if isinstance(logger, WandbLogger):
                logger.place_in(run_dir, yaml.safe_load(self._config_text()))
        # what later commands find stands in result.json; rows of theirs would bend the curves
        return [MetricsFile(run_dir), *others] if self.subcommand == "fit" else others

    def _config_text(self) -> str:
        """The resolved configuration, as `--config` takes it back."""
        return self._dumped(self.config)

    def _dumped(self, config: Any) -> str:
        """The part of a parsed command line that makes a run."""
        settings = config[config.subcommand].clone()
        for name in ("run", "resume"):
            settings.pop(name, None)
        return self._parser(config.subcommand).dump(settings, skip_unset=False)

    @rank_zero_only
    def _write_inputs(self) -> None:
        """config.yaml and environment.json of a run that trains, or that is new."""
        if self._command != "fit" and self._folder is not None:
            return
        environment = describe_environment(self._arguments)
        with explained(self.run_dir):
            _keep_previous(self.run_dir / CONFIG, self._config_text())
            note = add_resumption if self._is_resumed else write_environment
            note(self.run_dir, {**environment, JOB: job_name()})


def _keep_previous(path: Path, text: str) -> None:
    """Writes `text`; a different file that was there gets a name of its own."""
    if path.is_file() and path.read_text() == text:
        return
    number = len(list(path.parent.glob("config.*.yaml"))) + 1
    write_atomically(path, text, kept=path.with_name(f"config.{number}.yaml"))


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
