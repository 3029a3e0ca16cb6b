"""An encoder from its description in a configuration, and from a run."""

import argparse
import copy
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser
from torch import Tensor

from dim_lightning.encoder_module import EncoderModule
from dim_lightning.encoders import Encoder
from dim_lightning.encoders.start import weights_follow
from dim_lightning.errors import InputError
from dim_lightning.export.description import described, provenance_of_run
from dim_lightning.export.picture_encoder import PictureEncoder
from dim_lightning.hyperparameters import as_plain, as_written, is_plain, part_text
from dim_lightning.run.checkpoint import (
    is_own,
    newest_checkpoint,
    no_checkpoint,
    read_checkpoint,
)
from dim_lightning.run.folder import CHECKPOINTS, CONFIG, existing_run_folder
from dim_lightning.run.own_code import changed_since, own_code, said_of_change
from dim_lightning.run.result import read_result
from dim_lightning.run.settings import read_yaml

_PREFIX = "encoder."  # of the encoder's tensors in a checkpoint
_TESTED = ("tested after", "; test it again to have them")
_MEASURED = {
    "fit": ("trained until", ""),
    "validate": ("validated after", "; validate it again to have them"),
}


def encoder_from(recipe: Any, image_size: int, where: str) -> Encoder:
    """The encoder that a configuration describes, whose weights follow; on the CPU.

    PyTorch's global generator stays as it is, though weights are drawn.

    Args:
        recipe: `class_path` and `init_args` as in config.yaml, or the import path of a class or
            of a function that returns an Encoder; nothing else is called.
        image_size: height and width of the images, the encoder's first argument.
        where: the file and key of the recipe, for messages.

    Raises:
        InputError: there is no such class, or it does not take these arguments.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--encoder", type=Callable[[int], Encoder], required=True)
    try:
        make = parser.instantiate(parser.parse_object({"encoder": recipe})).encoder
    except (argparse.ArgumentError, ValueError) as error:
        reason = str(error).split(": ", 1)[-1].strip().split(" Got value")[0]
        name = recipe.get("class_path") if isinstance(recipe, Mapping) else recipe
        raise InputError(
            f"{where}: the encoder {name} cannot be built ({reason.rstrip('.')}); expected a class "
            "that Python can import, with the arguments it was trained with; run this where its "
            "module lies, or add that folder to PYTHONPATH"
        ) from error
    with weights_follow(), torch.random.fork_rng(devices=[]):
        return make(image_size)


def load_weights(encoder: Encoder, weights: Mapping[str, Tensor], path: Path) -> None:
    """Puts `weights` into `encoder`.

    Raises:
        InputError: they are those of another encoder; names the first tensors that differ.
    """
    try:
        encoder.load_state_dict(dict(weights))
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:3]]
        raise InputError(
            f"{path} holds the weights of another encoder: {' '.join(lines)} expected those of "
            "the configuration beside it"
        ) from error


def of_run(run_dir: Path, checkpoint: Path | None = None) -> PictureEncoder:
    """The encoder of a run as one of its checkpoints has it.

    Args:
        run_dir: the run's folder.
        checkpoint: a file in it; if None the last checkpoint or, where that cannot be read, with a
            warning the one before.

    Raises:
        InputError: there is no such run, it has no checkpoint, the checkpoint is another run's, or
            they do not fit each other.
    """
    config = _config(existing_run_folder(run_dir) / CONFIG)
    is_last = checkpoint is None
    checkpoint = _last(run_dir) if checkpoint is None else checkpoint
    if not is_own(checkpoint, run_dir):
        raise InputError(
            f"the checkpoint is {checkpoint}, which does not lie in {run_dir}: its settings would "
            f"be told as that run's; expected a file in {run_dir / CHECKPOINTS}"
        )
    recipe, image_size = config["model"]["encoder"], config["data"]["image_size"]
    encoder = encoder_from(recipe, image_size, f"{run_dir / CONFIG}, model.encoder")
    for name in changed_since(run_dir, own_code({"encoder": recipe})):
        warnings.warn(said_of_change(name, run_dir), stacklevel=2)
    stored = read_checkpoint(checkpoint)
    weights = {
        name.removeprefix(_PREFIX): tensor
        for name, tensor in stored["state_dict"].items()
        if name.startswith(_PREFIX)
    }
    load_weights(encoder, weights, checkpoint)
    provenance = provenance_of_run(run_dir, config, stored)
    figures = _figures_of(run_dir, stored.get("global_step"), is_last)
    about = described(encoder.eval(), recipe, image_size, figures, provenance)
    return PictureEncoder(encoder, image_size, about)


def _last(run_dir: Path) -> Path:
    checkpoint, refused = newest_checkpoint(run_dir)
    if checkpoint is None:
        raise no_checkpoint(run_dir)
    for reason in refused:
        warnings.warn(f"{reason}; {checkpoint}, the one before, is used instead", stacklevel=3)
    return checkpoint


def _figures_of(run_dir: Path, step: int | None, is_last: bool) -> dict[str, Any]:
    """The figures of a run, without those of other weights, as far as that is known.

    Those of the training are of its last validation: they stay with the last weights, which a run
    may have trained on for a part of an epoch, or have saved before its last steps.
    """
    figures = {}
    for section, found in read_result(run_dir).items():
        at = found.get("steps" if section == "fit" else "steps_trained")
        if None in (at, step) or at == step or (section == "fit" and is_last):
            figures[section] = found
            continue
        measured, advice = _MEASURED.get(section, _TESTED)
        warnings.warn(
            f"{run_dir} was {measured} step {at}, and its weights are of step {step}: "
            f"the figures of {section} are left out{advice}",
            stacklevel=3,
        )
    return figures


def of_module(module: EncoderModule) -> PictureEncoder:
    """A copy of the encoder that a method has at present, on the CPU.

    Raises:
        InputError: it was made by what cannot be written down as text.
    """
    method = type(module).__name__
    if not {"encoder", "image_size"} <= set(module.hparams):
        raise InputError(
            f"{method} does not say by what its encoder was made; expected the arguments encoder "
            "and image_size in its constructor, and save_hyperparameters(logger=False) there"
        )
    recipe, image_size = _recipe(module.hparams["encoder"]), int(module.hparams["image_size"])
    encoder = getattr(module.encoder, "_orig_mod", module.encoder)  # as torch.compile wraps it
    encoder = copy.deepcopy(encoder).cpu().eval()
    provenance = {"method": method, "seed": as_plain(module.seed)}
    about = described(encoder, recipe, image_size, {}, provenance)
    return PictureEncoder(encoder, image_size, about)


def _recipe(make: Any) -> Any:
    """By what `encoder_from` makes an encoder as `make` does."""
    if is_plain(make):  # of the command line, which has it as text
        return make
    given = as_written(make) if isinstance(make, partial) else partial(make)
    settings, path = given.keywords, part_text(given.func)
    is_named = "<" not in path and not path.startswith("__main__.")
    takes_settings = isinstance(given.func, type) and is_plain(settings)
    if not is_named or given.args or (settings and not takes_settings):
        raise InputError(
            f"encoder is {part_text(make)}; expected a class, a functools.partial of one with "
            "numbers, texts and lists by name, or a function that returns an Encoder, and that in "
            "a module that Python can import, not in the script itself"
        )
    return {"class_path": path, "init_args": as_plain(settings)} if settings else path


def _config(path: Path) -> dict[str, Any]:
    """The configuration, if it says what the encoder is."""
    config = read_yaml(path)
    try:
        _ = config["model"]["encoder"], config["data"]["image_size"]
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{path} does not say model.encoder and data.image_size; expected the file that fit "
            "wrote into its run folder"
        ) from error
    return config
