"""The files that say what a run was started with: config.yaml and environment.json."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_only

from dim_lightning.cli.job import JOB, job_name
from dim_lightning.processor import full_precision
from dim_lightning.run.environment import (
    add_resumption,
    describe_environment,
    write_environment,
)
from dim_lightning.run.folder import CONFIG
from dim_lightning.run.own_code import OWN_CODE, changed_since, own_code, said_of_change
from dim_lightning.run.report import OTHER_CODE, OTHER_SETTINGS
from dim_lightning.run.result import noted
from dim_lightning.run.settings import changes, flat_config
from dim_lightning.writing import explained, write_atomically

_IMAGE_SIZE, _PRECISION = "data.image_size", "trainer.precision"


@rank_zero_only
def write_inputs(
    run_dir: Path,
    settings: str,
    arguments: list[str],
    known: Mapping[str, Any],
    is_resumed: bool,
) -> None:
    """Writes both; what another start of the run was given stays beside it.

    Args:
        run_dir: the run's folder.
        settings: the resolved configuration, as `--config` takes it back.
        arguments: the command line after the program's name.
        known: what else environment.json is to say: processes, images a step, GPUs, which pictures.
        is_resumed: whether the run was begun before.

    Raises:
        InputError: the folder cannot be written.
    """
    code = own_code(yaml.safe_load(settings))
    if is_resumed:
        for name in changed_since(run_dir, code):
            rank_zero_info(f"{name}: its file was changed since; its new code from here on")
    environment = {**describe_environment(arguments), OWN_CODE: code}
    with explained(run_dir):
        _keep_previous(run_dir / CONFIG, settings)
        note = add_resumption if is_resumed else write_environment
        note(run_dir, {**environment, **known, JOB: job_name()})


def say_changed_code(section: str, run_dir: Path, settings: str) -> dict[str, str | None]:
    """What to note beside the figures of a command about a run; says it, if there is anything.

    Args:
        section: of result.json, to which the command's figures go.
        run_dir: the run's folder.
        settings: the resolved configuration, as for `write_inputs`.
    """
    names = changed_since(run_dir, own_code(yaml.safe_load(settings)))
    for name in names:
        rank_zero_info(said_of_change(name, run_dir))
    return noted(run_dir, section, OTHER_CODE, ", ".join(names))


def say_other_settings(
    section: str,
    run_dir: Path,
    image_size: int,
    precision: str,
    limits: Mapping[str, int | float] | None = None,
) -> dict[str, str | None]:
    """What to note beside the figures of a command about a run; says it, if there is anything.

    Args:
        section: of result.json, to which the command's figures go.
        run_dir: the run's folder.
        image_size: of the images that are measured.
        precision: in which the encoder is used.
        limits: setting of the Trainer -> of how many batches, or of which share, its terms and its
            own accuracies are.
    """
    stored = flat_config(run_dir)
    stored[_PRECISION] = full_precision(stored.get(_PRECISION))
    now = {_IMAGE_SIZE: image_size, _PRECISION: precision}
    for key, limit in (limits or {}).items():  # as text: 1 is a batch, 1.0 all of them
        given = stored.get(key)
        now[key], stored[key] = str(limit), str(1.0 if given is None else given)
    change = changes(now, {key: stored.get(key) for key in now})
    if change:
        rank_zero_info(f"{run_dir} was trained with other settings: {change}")
    return noted(run_dir, section, OTHER_SETTINGS, change)


def _keep_previous(path: Path, text: str) -> None:
    """Writes `text`; a different file that was there gets a name of its own."""
    if path.is_file() and path.read_text("utf-8") == text:
        return
    number = len(list(path.parent.glob("config.*.yaml"))) + 1
    write_atomically(path, text, kept=path.with_name(f"config.{number}.yaml"))
