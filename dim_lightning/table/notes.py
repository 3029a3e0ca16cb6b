"""What is said below a table: how to read it, and how its runs were made."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dim_lightning.table.commands import as_word
from dim_lightning.table.definition import Table
from dim_lightning.table.figures import ACCURACY, Line

FROM_MEMORY = "[m]"
# settings that all methods have, in which rows that are compared had better not differ unsaid
_SHARED = ("data.", "model.encoder.", "model.optimizer.", "model.lr_scheduler.", "trainer.max_")


class About(NamedTuple):
    """What a reader needs to believe a table.

    Attributes:
        command: that made it.
        written: when, UTC.
        protocols: how the figures of all tests were measured, a kind each.
        notes: what else there is to know, such as runs that do not count.
    """

    command: str
    written: str
    protocols: Sequence[str]
    notes: Sequence[str]


class Note(NamedTuple):
    """A paragraph below the table, and the list that it may open."""

    text: str
    items: Sequence[str] = ()


def compared_headings(lines: Sequence[Line]) -> set[str]:
    """The headings for which the paper has a number."""
    return {f.heading for line in lines for f in line.figures if f.paper is not None}


def notes_below(table: Table, lines: Sequence[Line], about: About) -> list[Note]:
    """What has to be said below the table; the command comes behind the last."""
    common = settings_text(table.overrides, ", ")
    own = [(line, [settings_text(_own(table, line), ", ")]) for line in lines]
    return [
        Note(_reading(table, lines)),
        *([Note(table.note)] if table.note else []),
        *([Note(f"Where no row says otherwise: {common}.")] if common else []),
        *_by_rows("Settings of single rows:", own, always_named=True),
        *_by_rows("The configs of rows also have:", _of_configs(lines), always_named=True),
        *_other_data(table),
        *_by_rows("Data:", [(line, line.data) for line in lines]),
        *_by_rows("Images:", [(line, line.images) for line in lines]),
        *_by_rows("Trained on:", [(line, line.machines) for line in lines]),
        *_by_rows("Commit of the code:", [(line, line.commits) for line in lines]),
        *([Note(f"Protocol: {' '.join(about.protocols)}")] if about.protocols else []),
        *_by_rows("Protocol of single rows:", _protocols(lines, about), always_named=True),
        *_by_rows("Ended before they converged:", _unsolved(lines), always_named=True),
        *map(Note, about.notes),
        Note(f"Written {about.written}, by"),
    ]


def _reading(table: Table, lines: Sequence[Line]) -> str:
    """How to read the numbers."""
    what = "Test accuracy in percent" if all(k.endswith(ACCURACY) for k in table.columns) else ""
    parts = [what or "Accuracies in percent, on the test images"]
    parts.append("mean ± standard deviation over the seeds, which draw neither split nor probes")
    if compared_headings(lines):
        parts.append("difference: ours less the paper's")
    if any(line.row.from_memory for line in lines):
        parts.append(f"{FROM_MEMORY}: the paper's number from memory, not checked")
    return "; ".join(parts) + "."


def _other_data(table: Table) -> list[Note]:
    """On what else the runs were tested."""
    items = [f"{name}: {settings_text(each, ', ')}" for name, each in table.transfers.items()]
    head = "Tested on other data sets, with the encoders as they are:"
    return [Note(head, items)] if items else []


def _by_rows(
    head: str, found: Sequence[tuple[Line, Sequence[str]]], always_named: bool = False
) -> list[Note]:
    """What is so of which rows: a line a kind, or, unless they have to be named, a sentence."""
    rows: dict[str, list[str]] = {}
    for line, texts in found:
        for text in dict.fromkeys(filter(None, texts)):
            rows.setdefault(text, []).append(line.row.name)
    if len(rows) == 1 and not always_named:
        return [Note(f"{head} {next(iter(rows))}.")]
    items = [f"{text}: {'; '.join(names)}" for text, names in rows.items()]
    return [Note(head, items)] if items else []


def _unsolved(lines: Sequence[Line]) -> list[tuple[Line, Sequence[str]]]:
    return [(line, line.unsolved) for line in lines]


def _protocols(lines: Sequence[Line], about: About) -> list[tuple[Line, Sequence[str]]]:
    """What is not so of the tests of all rows and seeds."""
    return [
        (line, [told.removesuffix(".") for told in line.protocol if told not in about.protocols])
        for line in lines
    ]


def _own(table: Table, line: Line) -> dict[str, Any]:
    """The settings of a row that are not those common to all."""
    common = table.overrides
    return {
        key: value
        for key, value in line.row.kept.items()
        if key not in common or common[key] != value
    }


def _of_configs(lines: Sequence[Line]) -> list[tuple[Line, Sequence[str]]]:
    """What the config of a row, but not the table, says otherwise than those of most rows."""
    found: list[tuple[Line, list[str]]] = [(line, []) for line in lines]
    for key in dict.fromkeys(k for line in lines for k in line.settings if k.startswith(_SHARED)):
        known = [line for line in lines if key in line.settings]
        words = {line.row.folder: as_word(line.settings[key]) for line in known}
        usual = Counter(words.values()).most_common(1)[0][0]
        for line, texts in found:
            word = words.get(line.row.folder, usual)
            if word != usual and not any(f"{key}.".startswith(f"{k}.") for k in line.row.kept):
                texts.append(f"{key} {word} in place of {usual}")
    return [(line, [", ".join(texts)]) for line, texts in found]


def settings_text(settings: Mapping[str, Any], between: str) -> str:
    """Settings as they are given on a command line, with `between` between them."""
    return between.join(f"{key} {as_word(value)}" for key, value in settings.items())
