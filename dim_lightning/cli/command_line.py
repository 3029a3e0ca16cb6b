"""What a command line asks for, built, checked and run in the folder of a run."""

from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from dim_lightning.callbacks.matmul_precision import PlainValidation, multiplying
from dim_lightning.callbacks.observation import state_of
from dim_lightning.callbacks.offline_evaluation import OfflineEvaluation
from dim_lightning.cli.building import explained_building
from dim_lightning.cli.callbacks import check_callbacks
from dim_lightning.cli.checks import (
    check_clock,
    check_no_transfer,
    check_optimizer,
    check_trainer,
    check_weights_only,
    check_writable,
)
from dim_lightning.cli.compiling import check_compile, compile_parts
from dim_lightning.cli.device import (
    accelerator_taken,
    check_gpus,
    check_precision,
    check_processes,
    gpu_names,
    say_slow_precision,
)
from dim_lightning.cli.ending import explained_stops
from dim_lightning.cli.inputs import say_changed_code, say_other_settings, write_inputs
from dim_lightning.cli.job import begun_run, job_name
from dim_lightning.cli.one_view import check_validation
from dim_lightning.cli.parsing import CALLBACKS, ParsedCommandLine
from dim_lightning.cli.pictures import check_pictures, check_transfer, run_of, say_others
from dim_lightning.cli.place import is_first_process, work_folder
from dim_lightning.cli.resources import explained_resources
from dim_lightning.cli.resume import (
    Start,
    check_joint_batch,
    check_order,
    cut_back,
    nothing_left,
    where_to_start,
)
from dim_lightning.cli.trainer import end_others, finish_loggers, open_loggers, trainer_in
from dim_lightning.cli.words import as_path
from dim_lightning.data import ImageDataModule
from dim_lightning.data.shards import Stream
from dim_lightning.run.checkpoint import JOINT_BATCH, PROCESSES
from dim_lightning.run.environment import GPUS, KNOWN_PICTURES, device_name
from dim_lightning.run.folder import alone_in, remove_unused_folder
from dim_lightning.run.report import closing_message, opening_message, trained_on
from dim_lightning.run.result import SOURCE, change_result, test_section, update_result
from dim_lightning.run.summary import write_summary


class CommandLine(ParsedCommandLine):
    """Builds model and data, checks them, makes the run folder, runs the command.

    The run folder, metrics.csv and the callbacks that every run has are given to the Trainer by
    this class, not through the configuration.

    Args:
        arguments: the command line after the program's name.
    """

    def __init__(self, arguments: list[str]) -> None:
        self._open = ExitStack()  # what is held while a run trains
        self._start = Start()
        self._noted: dict[str, str | None] = {}
        self.run_dir: Path
        self._begun: Path | None = None  # the run that an earlier start of this job has begun
        super().__init__(arguments)

    def instantiate_trainer(self, **_: Any) -> L.Trainer:
        """Checks what the run needs, makes its folder, and builds the Trainer in it."""
        config = dict(self._get(self.config_init, "trainer"))
        check_trainer(config)
        check_gpus()
        config["accelerator"] = accelerator_taken(self._command, config["accelerator"])
        check_weights_only(self._option("weights_only"))
        place = as_path(self._option("runs_dir")), self._option("experiment")
        if self._command == "fit":
            check_optimizer(self.model)
            check_no_transfer(self._transfer)
        if self._command == "fit" and self._folder is None:
            looks = self._option("neighbours.every_n_epochs")
            check_callbacks(config["callbacks"], looks, config["check_val_every_n_epoch"])
            self._begun = begun_run(*place, self._arguments)
        run, limits = (self._folder, config) if self._command == "fit" else (None, {})
        self._start = where_to_start(run, self._option("ckpt_path"), self.model, limits)
        self.datamodule.prepare_data()
        self.datamodule.setup(self._command)
        pictures = self.datamodule.contents.to_json()
        self._noted = self._check_pictures(pictures)
        is_new = self._folder is None
        self.run_dir = work_folder(*place, self._folder)
        try:
            if self._command == "fit" and is_first_process():
                self._open.enter_context(alone_in(self.run_dir))
            if not is_new and self._command != "fit" and is_first_process():
                check_writable(self.run_dir)
            settings = self._dumped(self.config)
            trainer = trainer_in(self.run_dir, self._command, config, self._callbacks())
            check_precision(self._command, config["precision"], trainer)
            check_processes(trainer, config["sync_batchnorm"])
            together = _together(trainer.world_size, self.datamodule)
            self._check_together(trainer, config["val_check_interval"], together[JOINT_BATCH])
            if self._command == "fit" or is_new:
                known = {**together, GPUS: gpu_names(trainer), KNOWN_PICTURES: pictures}
                known |= self._noted
                write_inputs(self.run_dir, settings, self._arguments, known, self._is_resumed)
            else:
                self._noted |= self._changes(trainer, settings)
            open_loggers(trainer, self.run_dir, is_new)
            return trainer
        except BaseException:
            self._open.close()
            if is_new and is_first_process():
                with suppress(OSError):  # as on NFS where a logger has a file open; what failed is
                    remove_unused_folder(self.run_dir)  # the error to see
            raise

    def _callbacks(self) -> list[Callback]:
        """Those that have settings of their own, and what the start and the validation need."""
        found = [self._get(self.config_init, key) for key in CALLBACKS]
        found += self._start.callbacks
        if self._command == "fit":
            compiled = self._option("compile") is not None
            found.append(PlainValidation(self._option("matmul_precision"), compiled))
        return found

    def _check_together(self, trainer: L.Trainer, interval: Any, joint_batch: int) -> None:
        """Looks at what depends on the device, or on how many processes there are."""
        if self._command == "fit":
            check_clock(interval, trainer.world_size)
            self.model.check_data(self.datamodule, joint_batch)
            check_validation(self.model, self.datamodule)
            device = trainer.strategy.root_device
            counts = trainer.accumulate_grad_batches, trainer.world_size
            check_compile(self._option("compile"), device, *counts)
            say_slow_precision(trainer, self._option("matmul_precision"))
        if self._is_resumed or self._start.batches:
            check_joint_batch(self._start, trainer.world_size, self.datamodule.batch_size)
            is_stream = isinstance(self.datamodule.source, Stream)
            check_order(self._start, trainer.world_size, is_stream)

    def _check_pictures(self, pictures: dict[str, Any]) -> dict[str, Any]:
        """Compares them with those of the run that the command is about; what to note of that."""
        run = self._folder
        if self._command == "fit" and run is None and self._start.path is not None:
            run = run_of(self._start.path)  # another one, whose state this one takes up
        if run is None or self._command == "predict":
            return {}
        if self._is_resumed:
            check_pictures(run, pictures)
            return {}
        if self._command == "test":
            source = self._settings_of(self.config)["data"]["source"]
            check_transfer(run, pictures, source, self._transfer)
            if self._transfer is not None:
                return {SOURCE: source}
        return say_others(self._command, run, pictures, self.datamodule.shares)

    def _changes(self, trainer: L.Trainer, settings: str) -> dict[str, str | None]:
        """What to note of code and settings that are not those of the training."""
        where = self._section, self.run_dir
        limits = {"test": {"trainer.limit_test_batches": trainer.limit_test_batches}}
        # with overfit_batches the training validated on as few
        if not trainer.overfit_batches:  # type: ignore[attr-defined]
            limits["validate"] = {"trainer.limit_val_batches": trainer.limit_val_batches}
        size, precision = self.datamodule.image_size, str(trainer.precision)
        noted = say_changed_code(*where, settings)
        return noted | say_other_settings(*where, size, precision, limits.get(self._command))

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
            if self._command == "validate":
                of = state_of(self.trainer, self.model)
                change_result(self.run_dir, self._section, lambda _: figures | of | self._noted)
            elif self._command != "fit":  # what a test has measured stands there already
                update_result(self.run_dir, self._section, figures | self._noted)
            if self._command != "fit":
                write_summary(self.run_dir)
            print(closing_message(self.run_dir, self._command))  # noqa: T201

    @property
    def _transfer(self) -> str | None:
        """The name of the other data set that a test is of."""
        evaluation: OfflineEvaluation = self._get(self.config_init, "evaluation")
        return evaluation.transfer

    @property
    def _section(self) -> str:
        """Where the figures stand in result.json."""
        return test_section(self._transfer) if self._command == "test" else self._command

    @property
    def _command(self) -> str:
        return str(self.subcommand)

    @property
    def _folder(self) -> Path | None:
        return self._begun or super()._folder

    @property
    def _is_resumed(self) -> bool:
        return self._command == "fit" and self._folder is not None


def _together(processes: int, data: ImageDataModule) -> dict[str, int]:
    """How many processes train together, and on how many images a step."""
    return {PROCESSES: processes, JOINT_BATCH: processes * data.batch_size}
