"""LightningCLI with run folders: what is parsed, checked and built, in this order."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lightning as L
import yaml
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from dim_lightning.callbacks.matmul_precision import PlainValidation, multiplying
from dim_lightning.cli.building import check_nulls, explained_building
from dim_lightning.cli.checks import (
    check_clock,
    check_optimizer,
    check_place,
    check_seed,
    check_trained,
    check_trainer,
    check_weights_only,
)
from dim_lightning.cli.compiling import check_compile, compile_parts
from dim_lightning.cli.device import check_gpus, check_precision, gpu_names, say_slow_precision
from dim_lightning.cli.ending import explained_stops
from dim_lightning.cli.inputs import say_changed_code, write_inputs
from dim_lightning.cli.job import begun_run, job_name
from dim_lightning.cli.method import method_class, method_named
from dim_lightning.cli.options import (
    CALLBACKS,
    GROUPS,
    TRAINER_DEFAULTS,
    add_folder_option,
    add_options,
    parser_settings,
)
from dim_lightning.cli.parser import Parser, check_files
from dim_lightning.cli.pictures import check_pictures, run_of, say_others
from dim_lightning.cli.place import is_first_process, work_folder
from dim_lightning.cli.resources import explained_resources
from dim_lightning.cli.resume import (
    Start,
    allowed_changes,
    check_joint_batch,
    check_order,
    cut_back,
    nothing_left,
    where_to_start,
)
from dim_lightning.cli.trainer import end_others, finish_loggers, open_loggers, trainer_in
from dim_lightning.data import ImageDataModule
from dim_lightning.data.shards import Stream
from dim_lightning.errors import InputError
from dim_lightning.run.checkpoint import JOINT_BATCH, PROCESSES
from dim_lightning.run.environment import GPUS, KNOWN_PICTURES, device_name
from dim_lightning.run.folder import CONFIG, alone_in, remove_unused_folder
from dim_lightning.run.report import closing_message, opening_message, trained_on
from dim_lightning.run.result import update_result
from dim_lightning.run.summary import write_summary


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
        self._noted: dict[str, str | None] = {}
        self.run_dir: Path
        self._begun: Path | None = None  # the run that an earlier start of this job has begun
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

    def __deepcopy__(self, memo: Any) -> "CommandLine":
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
        check_trained(self.config.subcommand, config.as_dict())
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
        """Lightning's, without what is had elsewhere: the table of figures, the codes in memory."""
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        add_folder_option(parser, subcommand)
        for name in ("verbose", "return_predictions"):
            if name in self._subcommand_method_arguments[subcommand]:
                parser.set_defaults({name: False})
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
        check_gpus()
        check_weights_only(self._option("weights_only"))
        place = Path(self._option("runs_dir")), self._option("experiment")
        if self._command == "fit":
            check_optimizer(self.model)
        if self._command == "fit" and self._folder is None:
            self._begun = begun_run(*place, self._arguments)
        run, limits = (self._folder, config) if self._command == "fit" else (None, {})
        self._start = where_to_start(run, self._option("ckpt_path"), self.model, limits)
        self.datamodule.prepare_data()
        self.datamodule.setup(self._command)
        pictures = self._compared_pictures()
        is_new = self._folder is None
        self.run_dir = work_folder(*place, self._folder)
        try:
            if self._command == "fit" and is_first_process():
                self._open.enter_context(alone_in(self.run_dir))
            settings = self._dumped(self.config)
            keyed = (*(self._get(self.config_init, k) for k in CALLBACKS), *self._start.callbacks)
            if self._command == "fit":
                compiled = self._option("compile") is not None
                keyed += (PlainValidation(self._option("matmul_precision"), compiled),)
            trainer = trainer_in(self.run_dir, self._command, config, keyed)
            check_precision(self._command, config["precision"], trainer)
            together = _together(trainer.world_size, self.datamodule)
            self._check_together(trainer, config["val_check_interval"], together[JOINT_BATCH])
            if self._command == "fit" or is_new:
                known = {**together, GPUS: gpu_names(trainer), KNOWN_PICTURES: pictures}
                known |= self._noted
                write_inputs(self.run_dir, settings, self._arguments, known, self._is_resumed)
            else:
                self._noted |= say_changed_code(self._command, self.run_dir, settings)
            open_loggers(trainer, self.run_dir, settings)
            return trainer
        except BaseException:
            self._open.close()
            if is_new and is_first_process():
                remove_unused_folder(self.run_dir)
            raise

    def _check_together(self, trainer: L.Trainer, interval: Any, joint_batch: int) -> None:
        """Looks at what depends on the device, or on how many processes there are."""
        if self._command == "fit":
            check_clock(interval, trainer.world_size)
            self.model.check_data(self.datamodule, joint_batch)
            on_cpu = trainer.strategy.root_device.type == "cpu"
            check_compile(self._option("compile"), on_cpu, trainer.accumulate_grad_batches)
            say_slow_precision(trainer, self._option("matmul_precision"))
        if self._is_resumed or self._start.batches:
            check_joint_batch(self._start, trainer.world_size, self.datamodule.batch_size)
            is_stream = isinstance(self.datamodule.source, Stream)
            check_order(self._start, trainer.world_size, is_stream)

    def _compared_pictures(self) -> dict[str, Any]:
        """Which pictures there are, compared with those of the run that the command is about."""
        data = self.datamodule
        pictures = data.contents.to_json()
        run = None if self._folder is None else Path(self._folder)
        if self._command == "fit" and run is None and self._start.path is not None:
            run = run_of(self._start.path)  # another one, whose state this one takes up
        if self._is_resumed:
            check_pictures(Path(str(run)), pictures)
        elif run is not None and self._command != "predict":
            self._noted = say_others(self._command, run, pictures, data.shares)
        return pictures

    def _run_subcommand(self, subcommand: str) -> None:
        """Runs the command; however it ends, a run on Weights & Biases and processes end with it.

        Raises:
            StoppedError: after Ctrl-C or a request to terminate, which Lightning makes exits of.
        """
        failed = True
        try:
            sizes = (self.datamodule.batch_size, self.datamodule.eval_batch_size)
            with (
                explained_stops(self.run_dir, subcommand),
                explained_resources(subcommand, *sizes),
                explained_building(),
            ):
                super()._run_subcommand(subcommand)
            failed = False
        finally:
            if failed:
                end_others(self.trainer)
            finish_loggers(self.trainer, failed)
            self._open.close()

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        """Lightning's, with the checkpoint that was found."""
        path = self._start.path
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        return {**kwargs, "ckpt_path": None if path is None else str(path)}

    def before_fit(self) -> None:
        """Compiles what is asked for; says what starts and where."""
        compile_parts(self.model, self._option("compile"))
        self._open.enter_context(multiplying(self._option("matmul_precision")))
        if self._begun is not None:
            self.trainer.print(f"{job_name()} was started again and goes on where it was saved")
        size = sum(parameter.numel() for parameter in self.model.parameters())
        data, splits = self.datamodule, {"training": "train", "validation": "val"}
        counts = {name: len(data.split(split)) for name, split in splits.items()}
        device = device_name(self.trainer.strategy.root_device)
        place = trained_on(device, **_together(self.trainer.world_size, data))
        self.trainer.print(opening_message(self.run_dir, size, counts, data.num_classes, place))
        if self._is_resumed:
            cut_back(self.run_dir, self._start.metrics_rows)
            self.trainer.print(str(self._start))

    def after_fit(self) -> None:
        """Says what was reached, where it lies and what to try next."""
        if self.trainer.global_step == self._start.steps:
            self.trainer.print(nothing_left(self._start, self._option("trainer").as_dict()))
        self._close()

    def after_validate(self) -> None:
        """Says what was found and where it lies; the same after `test` and `predict`."""
        self._close()

    after_test = after_predict = after_validate

    def _close(self) -> None:
        figures = {name: float(value) for name, value in self.trainer.callback_metrics.items()}
        if self.trainer.is_global_zero:
            if self._command != "fit":
                update_result(self.run_dir, self._command, figures | self._noted)
                write_summary(self.run_dir)
            print(closing_message(self.run_dir, self._command))  # noqa: T201

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

    def _dumped(self, config: Any) -> str:
        """The part of a parsed command line that makes a run, as `--config` takes it back."""
        settings = config[config.subcommand].clone()
        for name in ("run", "resume"):
            settings.pop(name, None)
        return self._parser(config.subcommand).dump(settings, skip_unset=False)


def _together(processes: int, data: ImageDataModule) -> dict[str, int]:
    """How many processes train together, and on how many images a step."""
    return {PROCESSES: processes, JOINT_BATCH: processes * data.batch_size}
