"""The files that say what a run was started with: config.yaml and environment.json."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_only

from dim_lightning.cli.job import JOB, job_name
from dim_lightning.run.environment import (
    add_resumption,
    describe_environment,
    write_environment,
)
from dim_lightning.run.folder import CONFIG, write_atomically
from dim_lightning.run.own_code import OWN_CODE, changed_since, own_code, said_of_change
from dim_lightning.run.report import OTHER_CODE
from dim_lightning.run.result import read_result
from dim_lightning.writing import explained


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
    was_noted = OTHER_CODE in read_result(run_dir).get(section, {})
    return {OTHER_CODE: ", ".join(names) or None} if names or was_noted else {}


def _keep_previous(path: Path, text: str) -> None:
    """Writes `text`; a different file that was there gets a name of its own."""
    if path.is_file() and path.read_text("utf-8") == text:
        return
    number = len(list(path.parent.glob("config.*.yaml"))) + 1
    write_atomically(path, text, kept=path.with_name(f"config.{number}.yaml"))
