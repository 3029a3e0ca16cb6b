"""What can be set beside trainer, model and data, and which settings follow from others."""

from collections.abc import Iterable
from typing import Any

from lightning.pytorch.cli import LightningArgumentParser

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
from dim_lightning.cli.method import DEFAULT, HELP
from dim_lightning.cli.overview import DESCRIPTION, PROGRAM
from dim_lightning.cli.parser import MODE

CALLBACKS = {  # key -> the class whose settings lie below it
    "checkpoint": Checkpoints,
    "probe": LinearProbe,
    "neighbours": Neighbours,
    "geometry": Geometry,
    "reconstructions": Reconstructions,
    "evaluation": OfflineEvaluation,
    "embeddings": EmbeddingWriter,
}
GROUPS = ("trainer", "model", "data", *CALLBACKS)
TRAINER_DEFAULTS: dict[str, Any] = {
    "devices": 1,  # Lightning would take every GPU there is, each with a batch of its own
    "enable_model_summary": False,  # the opening line has the size
    "log_every_n_steps": 10,
    "num_sanity_val_steps": 0,  # the data is checked before the run folder is made
}


def parser_settings(commands: Iterable[str]) -> dict[str, Any]:
    """What the parsers are made with, of the program and of each command; made anew each time."""
    own = {command: dict(MODE) for command in commands}
    return {**MODE, "prog": PROGRAM, "description": DESCRIPTION, **own}


def add_options(parser: LightningArgumentParser) -> None:
    """What a run has beside trainer, model, data and the seed."""
    parser.add_argument("--experiment", type=str, default="unnamed", help="The run's name.")
    parser.add_argument("--runs_dir", type=str, default="runs", help="Where runs lie.")
    parser.add_argument("--method", type=str, default=DEFAULT, help=HELP)
    parser.add_argument("--compile", type=compiling.Compile, default=None, help=compiling.HELP)
    parser.add_argument("--matmul_precision", type=Precision, default="highest", help=MATMUL_HELP)
    for key, callback in CALLBACKS.items():
        parser.add_lightning_class_args(callback, key)
    parser.link_arguments("seed_everything", "model.seed")
    parser.link_arguments("seed_everything", "data.seed")
    parser.link_arguments("seed_everything", "probe.seed")
    parser.link_arguments("data.image_size", "model.image_size")


def add_folder_option(parser: LightningArgumentParser, command: str) -> None:
    """How a command is given the run that it is about."""
    option = "--resume" if command == "fit" else "--run"
    parser.add_argument(option, type=str | None, help="The folder of a run to go on with.")
