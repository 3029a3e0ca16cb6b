"""Whether the pictures are those that a run was begun with: others are dealt to other splits."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities.rank_zero import rank_zero_info

from dim_lightning.cli.words import state_words
from dim_lightning.data.splits import Shares
from dim_lightning.errors import InputError
from dim_lightning.run.environment import known_pictures, num_pictures, read_environment
from dim_lightning.run.folder import CHECKPOINTS, CONFIG
from dim_lightning.run.report import OTHER_PICTURES, OTHER_SHARES
from dim_lightning.run.result import noted, read_result
from dim_lightning.run.settings import changes, flat_config, read_yaml


def check_pictures(run_dir: Path, found: Mapping[str, Any]) -> None:
    """Looks at whether a run can go on with these pictures.

    Args:
        run_dir: the run's folder.
        found: which pictures there are now.

    Raises:
        InputError: they are others.
    """
    change = _change(run_dir, found)
    if change is not None:
        raise InputError(
            f"{run_dir} goes on with the pictures it was begun with, and {change}; they would be "
            "dealt anew, so that it tests on some that it was trained on; bring the former ones "
            f"back, or start a new run from its state: python -m dim_lightning fit "
            f"{state_words(run_dir)} --trainer.max_epochs MORE, of whose figures the same is true"
        )


def check_transfer(
    run_dir: Path, found: Mapping[str, Any], source: Mapping[str, Any], transfer: str | None
) -> None:
    """Looks, before a test, whether its pictures are those that it says they are.

    By what is asked for as `data.source`: pictures of the run's own source are no other data set
    where some were added, and a copy of them with other pixels is, though it has their names.

    Args:
        run_dir: the run's folder.
        found: which pictures there are now.
        source: the settings of `data.source`.
        transfer: the name of another data set that they are said to be; None: the run's own.

    Raises:
        InputError: another data set is said to be tested on, and it is the run's own; or one is,
            without a name, and the figures of the run's own would be lost.
    """
    if source == read_yaml(run_dir / CONFIG).get("data", {}).get("source"):
        if transfer is not None:
            raise InputError(
                f"evaluation.transfer is {transfer}, and data.source is that of {run_dir}; give "
                "another data.source, or leave the name out to test on the run's own pictures"
            )
        return
    test = read_result(run_dir).get("test", {})
    is_own = "epochs_trained" in test and not test.get(OTHER_PICTURES)
    change = _change(run_dir, found)
    if change is None and test.get("pictures") not in (None, found["sha256"]):
        change = "others by name or number"  # early runs do not know their own
    if transfer is None and is_own and change:
        raise InputError(
            f"{run_dir} was tested on its own pictures, and these are others: {change}; the new "
            "figures would take the place of those; to keep both, add --evaluation.transfer NAME, "
            "a name for these pictures"
        )


def run_of(checkpoint: Path) -> Path | None:
    """The folder of the run that a checkpoint lies in, however it is named; None if in none."""
    # as it is named first: where a run's folder of checkpoints is a link, they lie elsewhere
    named = Path(os.path.abspath(checkpoint))  # noqa: PTH100
    folders = [path.parent for path in (named, checkpoint.resolve())]
    return next((folder.parent for folder in folders if folder.name == CHECKPOINTS), None)


def say_others(
    command: str, run_dir: Path, found: Mapping[str, Any], shares: Shares
) -> dict[str, str | None]:
    """What to note beside the figures of `validate` and `test`; says it, if there is anything.

    Args:
        command: whose figures they are; `fit` for what a run notes in its environment.json that
            takes up another's state: whether the pictures are others, and whether they are dealt
            otherwise, which plays no part in a `test` of pictures that no share is taken from.
        run_dir: the run's folder; for `fit` the other one's.
        found: which pictures there are now.
        shares: how they are dealt now.
    """
    of_its_own = command == "test" and "test" in found  # pictures that no share is taken from
    begun = read_environment(run_dir)  # with notes, if it took up another run's state
    others = _joined(begun.get(OTHER_PICTURES), _change(run_dir, found))
    dealt = _joined(
        None if of_its_own else begun.get(OTHER_SHARES),
        _dealt_otherwise(run_dir, found, shares, of_its_own),
    )
    change = _joined(others, dealt)
    if change:
        effect = (
            "the probes are fitted to more or fewer pictures than it was trained on"
            if of_its_own and not others
            else "as they are dealt anew, some that are measured may have been trained on, and the "
            "figures be too good"
        )
        rank_zero_info(f"{run_dir} was trained on other pictures: {change}; {effect}")
    if command == "fit":
        notes = {OTHER_PICTURES: others, OTHER_SHARES: dealt}
        return {name: note for name, note in notes.items() if note}
    return noted(run_dir, command, OTHER_PICTURES, change)


def _change(run_dir: Path, found: Mapping[str, Any]) -> str | None:
    """What is there in place of the pictures of a run; None where they are, or are not known."""
    known = known_pictures(run_dir)
    if known is None or known == found:
        return None
    before, now = (_listed(each) for each in (known, found))
    if before == now:
        return f"there are as many, {now}, but others by name or order"
    return f"there were {before} and are {now}"


def _dealt_otherwise(
    run_dir: Path, found: Mapping[str, Any], shares: Shares, of_its_own: bool
) -> str:
    """The settings by which they would be dealt otherwise than they were; nothing if by none."""
    asked = {f"data.{name}": value for name, value in shares._asdict().items()}
    if "test" in found:  # nothing is set aside
        asked.pop("data.test_fraction")
    if of_its_own:  # which of as many pictures the probes are fitted to is all that it chooses
        asked.pop("data.split_seed")
    known = flat_config(run_dir) if (run_dir / CONFIG).is_file() else {}
    stored = {key: value for key, value in known.items() if key in asked}
    return changes({key: asked[key] for key in stored}, stored)


def _joined(*notes: str | None) -> str:
    return "; ".join(filter(None, notes))


def _listed(pictures: Mapping[str, Any]) -> str:
    counts = {name: count for name, count in pictures.items() if name != "sha256"}
    parts = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    return f"{num_pictures(pictures):,} pictures" + (f" ({parts})" if len(counts) > 1 else "")
