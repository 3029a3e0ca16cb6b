"""What there is of each run of a table, and what is missing of it.

A run belongs to a row and a seed, and counts if its settings are those that the table asks for now.
All of this stands in the folders of the runs; nothing else is kept.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from dim_lightning.errors import InputError
from dim_lightning.run.accuracies import flat_figures
from dim_lightning.run.checkpoint import JOINT_BATCH
from dim_lightning.run.child import is_at_work
from dim_lightning.run.environment import full_command, known_pictures, read_environment
from dim_lightning.run.folder import CHECKPOINTS, CONFIG
from dim_lightning.run.metrics import read_metrics
from dim_lightning.run.report import OTHER_SETTINGS, reason_to_repeat
from dim_lightning.run.result import TRANSFER, read_result, test_section, transfers
from dim_lightning.run.settings import (
    PLACES,
    WHERE,
    belongs,
    changes,
    differing,
    flat_config,
    num_devices,
)
from dim_lightning.table.cell import Cell
from dim_lightning.table.definition import ARITHMETIC
from dim_lightning.table.protocol import EVALUATION, other_test

BATCH_SIZE = "data.batch_size"  # with the processes: the joint batch is what counts
_JOINT_BATCH = f"{BATCH_SIZE} x trainer.devices x trainer.num_nodes"
_OBSERVERS = ("embeddings", "geometry", "neighbours", "probe", "reconstructions")
_PLACE = ("runs_dir", "experiment")
# on these the figures of a training do not depend, as far as there is to see
FREE = (*WHERE, *ARITHMETIC, *_OBSERVERS, *_PLACE, EVALUATION)
_OF_A_PART = "trainer.limit_test_batches"  # a test by hand, of some of the images
_EACH_EPOCH = "speed/images_per_second"

_IMPORT = re.compile(r"[^\W\d]\w*(?:\.\w+)+")  # folders may have numbers for names
_PACKAGES = ("dim_lightning", "lightning", "torch", "torchvision")

Reader = Callable[[Path], Mapping[str, Any]]


class State(NamedTuple):
    """How far a cell is.

    Attributes:
        run: the folder of the run that counts; None if there is none.
        missing: what is to be done next: 'fit', 'resume', 'test', or the section of a test on
            another data set, such as 'transfer/cifar100'; '' if nothing is.
        text: the same for the reader.
        outdated: runs that do not count, and why.
        may_count: whether one of these would if its pictures were only moved.
        is_running: whether its training is under way, by whatever command.
    """

    run: Path | None
    missing: str
    text: str
    outdated: tuple[str, ...] = ()
    may_count: bool = False
    is_running: bool = False

    @property
    def is_tested(self) -> bool:
        """Whether the run is trained and tested, if not yet on all other data sets."""
        return not self.missing or self.missing.startswith(TRANSFER)


Found = Sequence[tuple[Cell, State]]
"""Rows and seeds, and how far each is."""


def state_of(cell: Cell, read: Reader) -> State:
    """How far a cell is, by its folders.

    Args:
        cell: a row and a seed.
        read: a run's settings by their full names, with those that it was too early to know.
    """
    outdated, known, may_count = [], [], False
    for folder in sorted(cell.folder.glob(f"*/{CONFIG}"), key=lambda path: _number(path.parent)):
        run = folder.parent
        try:
            missing = next(iter(missing_of(cell, run)), "")
            reason, if_moved = _changes(cell, run, read)
            reason = reason or _no_way(cell, run, missing)
        except InputError as error:  # it is damaged, or has settings that there are no more
            missing, reason, if_moved = "", str(error), ""
        if reason:
            outdated.append(f"{run} does not count for {cell}: {reason}{if_moved}")
            may_count = may_count or bool(if_moved)
        else:
            known.append((missing, run))
    at_work = is_at_work(cell.folder)
    if not known:
        return State(None, "fit", "starting" if at_work else "not run", tuple(outdated), may_count)
    order = ("resume", "test", *map(test_section, cell.transfers), "")
    missing, run = max(known, key=lambda found: (order.index(found[0]), _number(found[1])))
    with suppress(InputError):  # on a disk without locks nothing tells
        at_work = at_work or is_at_work(run)  # by a command that was given by hand
    text, is_running = _text(cell, run, missing, at_work), at_work and missing == "resume"
    return State(run, missing, text, tuple(outdated), is_running=is_running)


def is_of(cell: Cell, run: Path, read: Reader) -> bool:
    """Whether a run, wherever it lies, has the settings that a cell asks for."""
    try:
        asked, stored = _identity(cell, cell.settings), _identity(cell, flat_config(run))
        agree = all(stored.get(key, value) == value for key, value in asked.items())
        return agree and not _changes(cell, run, read)[0]  # which takes its time
    except InputError:
        return False


def check_devices(settings: Mapping[str, Any]) -> None:
    """Looks at whether a row says how many devices train: by their joint batch its runs count.

    Raises:
        InputError: it leaves that to the machine.
    """
    devices = settings.get("trainer.devices", 1)
    if num_devices(devices) is None:
        raise InputError(
            f"trainer.devices is {devices}; expected a number of devices, such as 4, since in a "
            f"table the joint batch is part of what a row is: {_JOINT_BATCH}"
        )


def figures_of(cell: Cell, run: Path) -> dict[str, float]:
    """The figures of the tests of a run, by name, such as transfer/cifar100/probe/linear/y/top1."""
    result = read_result(run)
    others = {test_section(name): test for name, test in transfers(result).items()}
    missing = _untested(cell, run)
    current = {
        key: test
        for key, test in others.items()
        if not reason_to_repeat(result, key) and key not in missing
    }
    return flat_figures({**result.get("test", {}), **current})


def missing_of(cell: Cell, run: Path | None) -> list[str]:
    """All that is to be done, in order, as `State` has the first of it.

    Args:
        cell: a row and a seed.
        run: its run that counts; None if there is none.
    """
    if run is None:
        return ["fit", *_tests(cell)]
    if not _is_trained(read_result(run)):
        return ["resume", *_tests(cell)]
    untested = _untested(cell, run)
    # without checkpoints it keeps what it has
    return untested if "test" in untested or (run / CHECKPOINTS).is_dir() else []


def _tests(cell: Cell) -> list[str]:
    return ["test", *map(test_section, cell.transfers)]


def _untested(cell: Cell, run: Path) -> list[str]:
    """The sections of the tests asked for that there are not."""
    result = read_result(run)

    def is_there(section: str) -> bool:
        found = result.get(section, {})
        if "epochs_trained" not in found or _OF_A_PART in (found.get(OTHER_SETTINGS) or ""):
            return False
        return not (reason_to_repeat(result, section) or other_test(cell, run, section))

    return [section for section in _tests(cell) if not is_there(section)]


def _no_way(cell: Cell, run: Path, missing: str) -> str:
    """Why what is missing of a run cannot be done; nothing if it can."""
    if missing != "test" or (run / CHECKPOINTS).is_dir():
        return ""
    other = "; ".join(other_test(cell, run, missing)) or f"it is {_tested(read_result(run))}"
    return f"it has no checkpoints, and the table asks for another test: {other}"


def _is_trained(result: Mapping[str, Any]) -> bool:
    return result.get("fit", {}).get("status") == "completed"


def _changes(cell: Cell, run: Path, read: Reader) -> tuple[str, str]:
    """The settings in which a run differs from what is asked for, and how it is made to count.

    The first is nothing if it counts, the second but for runs of which only the pictures may have
    been moved.
    """
    asked = _identity(cell, cell.settings)
    joint_batch = read_environment(run).get(JOINT_BATCH)
    if _identity(cell, flat_config(run), joint_batch) == asked:
        return "", ""
    strange = _code_of_others(cell.settings, flat_config(run))
    if strange:  # which to read its settings would run
        return f"it names code that the table does not: {', '.join(strange)}", ""
    # settings that came later have their defaults then
    stored = _identity(cell, read(run), joint_batch)
    return changes(asked, stored), _if_moved(run, asked, stored)


def _code_of_others(asked: Mapping[str, Any], stored: Mapping[str, Any]) -> list[str]:
    """Import paths among the settings of a run that lead to none of the usual packages.

    Nor to what the table names itself: a run may have been somebody else's.
    """
    known = set(_texts(list(asked.values())))
    places = (*PLACES, *(key for key in WHERE if belongs(key, ("data",))))  # files, of alike names
    found = [value for key, value in stored.items() if not belongs(key, places)]
    return [
        text
        for text in dict.fromkeys(_texts(found))
        if _IMPORT.fullmatch(text) and text not in known and text.split(".")[0] not in _PACKAGES
    ]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        # YAML in a text is read like any other
        yield from _IMPORT.findall(value) if "class_path" in value else [value]
    elif isinstance(value, Mapping):
        yield from _texts([*value, *value.values()])
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)


def _if_moved(run: Path, asked: Mapping[str, Any], stored: Mapping[str, Any]) -> str:
    """How a run is made to count whose pictures lie elsewhere by now, if that is all that differs.

    A table does not look at pictures, which may be millions: resuming the run does, by their names.
    """
    found = list(differing(stored, asked))
    is_moved = all(key in PLACES and None not in values for key, *values in found)
    is_open = known_pictures(run) is not None and (run / CHECKPOINTS).is_dir()
    if not (found and is_moved and is_open):
        return ""
    words = ["fit", "--resume", str(run), *(f"--{key}={new}" for key, _, new in found)]
    return f"; if the pictures were only moved, it counts after {full_command(words)}"


def _identity(
    cell: Cell, settings: Mapping[str, Any], joint_batch: int | None = None
) -> dict[str, Any]:
    """The settings on which the figures of a training depend.

    Args:
        cell: a row and a seed.
        settings: those asked for, or those of a run.
        joint_batch: images a step on all processes of the run, where that was kept.
    """
    named = [key for key in ARITHMETIC if key in cell.row.kept]
    own = {key: value for key, value in settings.items() if not belongs(key, FREE)}
    own |= {key: settings.get(key) or ARITHMETIC[key] for key in named}
    if BATCH_SIZE in own:
        devices = num_devices(settings.get("trainer.devices")) or 1
        processes = devices * settings.get("trainer.num_nodes", 1)
        alone = own.pop(BATCH_SIZE)
        own[_JOINT_BATCH] = joint_batch or alone * processes
    return own


def _text(cell: Cell, run: Path, missing: str, at_work: bool) -> str:
    if not missing:
        others = [section.removeprefix(TRANSFER) for section in _untested(cell, run)]
        return f"done, but not tested on {', '.join(others)}: no checkpoints" if others else "done"
    if missing.startswith(TRANSFER):
        return f"{'testing' if at_work else 'not tested'} on {missing.removeprefix(TRANSFER)}"
    if missing == "test":
        return "testing" if at_work else _tested(read_result(run))
    fit = read_result(run).get("fit", {})
    epochs = 0
    with suppress(InputError):  # the file is damaged, which going on with the run says
        # result.json may be of an earlier time, or not be there yet
        epochs = len(read_metrics(run).get(_EACH_EPOCH, []))
    last = cell.settings.get("trainer.max_epochs")
    end = last if isinstance(last, int) and last > 0 else None
    of = f" of {end}" if end else ""
    if at_work:
        return f"running: epoch {epochs + 1 if end is None else min(epochs + 1, end)}{of}"
    if fit.get("status") == "failed":
        return f"failed after epoch {epochs}{of}: {fit.get('reason')}"
    return f"interrupted after epoch {epochs}{of}"


def _tested(result: Mapping[str, Any]) -> str:
    """Of what its test is, if not of what the table asks for; or that there is none."""
    reason = reason_to_repeat(result)
    return f"tested{reason.removeprefix(',')}" if reason else "trained, not tested"


def _number(run: Path) -> int:
    return int(run.name) if run.name.isdigit() else 0
