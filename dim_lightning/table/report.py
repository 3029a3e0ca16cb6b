"""table.md, table.csv and table.html."""

import os
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dim_lightning.run.folder import SUMMARY
from dim_lightning.run.metrics import csv_text
from dim_lightning.run.page import rendered
from dim_lightning.run.report import duration
from dim_lightning.table.commands import as_word
from dim_lightning.table.definition import Table
from dim_lightning.table.figures import ACCURACY, IN_PERCENT, Figure, Line
from dim_lightning.table.page import TEMPLATE
from dim_lightning.writing import write_atomically

MARKDOWN, CSV, PAGE = "table.md", "table.csv", "table.html"
COLUMNS = (
    *("table", "row", "figure", "heading", "paper", "paper_from_memory", "mean", "std", "n"),
    *("difference", "values", "seeds_done", "seeds", "epochs", "seconds", "state"),
    *("settings", "data", "trained_on", "commits"),
)
_FROM_MEMORY = "[m]"
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


def write_report(output: Path, table: Table, lines: Sequence[Line], about: About) -> list[Path]:
    """Writes the three files into the folder `output`; their paths."""
    output.mkdir(parents=True, exist_ok=True)
    contents = {
        MARKDOWN: markdown(table, lines, about),
        CSV: _csv(table, lines),
        PAGE: _page(output, table, lines, about),
    }
    for name, content in contents.items():
        write_atomically(output / name, content)
    return [output / name for name in contents]


def markdown(table: Table, lines: Sequence[Line], about: About) -> str:
    """The table and how it was made."""
    compared = _compared(lines)
    header = [""]
    for heading in table.columns.values():
        header += [heading, "paper", "difference"] if heading in compared else [heading]
    header += ["seeds", "epochs", "training", "state"]
    rows = [_row(header), "|---|" + "---:|" * (len(header) - 2) + "---|"]
    for line in lines:
        cells = [line.row.name]
        for figure in line.figures:
            shown = [ours(figure, line), paper(figure, line), difference(figure)]
            cells += shown if figure.heading in compared else shown[:1]
        cells += [_seeds(line), _epochs(line), _time(line), line.state]
        rows.append(_row(cells))
    notes = [part for note in _notes(table, lines, about) for part in _paragraphs(note)]
    parts = [f"# {table.title}", "\n".join(rows), *notes, f"    {about.command}"]
    return "\n\n".join(parts) + "\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _paragraphs(note: Note) -> list[str]:
    def filled(text: str, first: str = "", rest: str = "") -> str:
        # a name such as bf16-mixed has no end of a line in it
        return textwrap.fill(
            *(text, 120),
            initial_indent=first,
            subsequent_indent=rest,
            break_on_hyphens=False,
            break_long_words=False,
        )

    items = "\n".join(filled(item, "- ", "  ") for item in note.items)
    return [filled(note.text), *([items] if items else [])]


def ours(figure: Figure, line: Line) -> str:
    """Mean ± standard deviation, and over how many runs if not all that are done have it."""
    if figure.mean is None:
        return ""
    digits = _digits(figure)
    text = digits.format(figure.mean)
    if figure.deviation is not None:
        text += f" ± {digits.format(figure.deviation)}"
    return text if len(figure.values) == line.done else f"{text} (n = {len(figure.values)})"


def _digits(figure: Figure) -> str:
    """The format of its numbers."""
    return "{:.2f}" if figure.key.endswith(IN_PERCENT) else "{:.4g}"


def paper(figure: Figure, line: Line) -> str:
    """The paper's number, marked if it was never checked."""
    if figure.paper is None:
        return ""
    return f"{figure.paper:.2f}" + f" {_FROM_MEMORY}" * (figure.heading in line.row.from_memory)


def difference(figure: Figure) -> str:
    """Ours less the paper's, with its sign."""
    if figure.difference is None:
        return ""
    return f"{round(figure.difference, 2) + 0.0:+.2f}"  # no -0.00


def _compared(lines: Sequence[Line]) -> set[str]:
    """The headings for which the paper has a number."""
    return {f.heading for line in lines for f in line.figures if f.paper is not None}


def _notes(table: Table, lines: Sequence[Line], about: About) -> list[Note]:
    """What has to be said below the table; the command comes behind the last."""
    common = _settings(table.overrides, ", ")
    own = [(line, [_settings(_own(table, line), ", ")]) for line in lines]
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
    if _compared(lines):
        parts.append("difference: ours less the paper's")
    if any(line.row.from_memory for line in lines):
        parts.append(f"{_FROM_MEMORY}: the paper's number from memory, not checked")
    return "; ".join(parts) + "."


def _other_data(table: Table) -> list[Note]:
    """On what else the runs were tested."""
    items = [f"{name}: {_settings(each, ', ')}" for name, each in table.transfers.items()]
    return [Note("Tested on other data sets, with the encoders as they are:", items)] * bool(items)


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


def _settings(settings: Mapping[str, Any], between: str) -> str:
    return between.join(f"{key} {as_word(value)}" for key, value in settings.items())


def _seeds(line: Line) -> str:
    return "" if line.row.floor else f"{line.done} of {len(line.row.seeds)}"


def _epochs(line: Line) -> str:
    return " to ".join(map(str, dict.fromkeys((line.epochs[:1] or ("",)) + line.epochs[-1:])))


def _time(line: Line) -> str:
    return "" if line.seconds is None else duration(line.seconds)


def _csv(table: Table, lines: Sequence[Line]) -> str:
    rows: list[Sequence[Any]] = [COLUMNS]
    for line in lines:
        row = line.row
        facts = [line.done, len(row.seeds), _epochs(line), _rounded(line.seconds), line.state]
        facts += [_settings(row.kept, "; "), "; ".join(line.data), "; ".join(line.machines)]
        facts += ["; ".join(line.commits)]
        for figure in line.figures:
            values = ";".join(f"{value:.6g}" for value in figure.values)
            numbers = [_rounded(v) for v in (figure.mean, figure.deviation)]
            from_memory = str(figure.heading in row.from_memory).lower()
            known = ["" if figure.paper is None else figure.paper, from_memory]
            named = [table.name, row.name, figure.key, figure.heading]
            ours_ = [*numbers, len(figure.values), _rounded(figure.difference), values]
            rows.append([*named, *known, *ours_, *facts])
    return csv_text(rows)


def _rounded(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _page(output: Path, table: Table, lines: Sequence[Line], about: About) -> str:
    compared = _compared(lines)
    done = sum(line.done for line in lines if not line.row.floor)
    *notes, last = _notes(table, lines, about)
    return rendered(
        TEMPLATE,
        title=table.title,
        done=done,
        asked=sum(len(row.seeds) for row in table.rows),
        columns=[(heading, heading in compared) for heading in table.columns.values()],
        rows=[_page_row(output, line, compared) for line in lines],
        notes=notes,
        last=last,
        command=about.command,
        definition=table.text,
    )


def _page_row(output: Path, line: Line, compared: set[str]) -> dict[str, Any]:
    figures = [
        {
            "ours": ours(figure, line),
            "paper": paper(figure, line),
            "difference": difference(figure),
            "compared": figure.heading in compared,
            "values": ", ".join(_digits(figure).format(value) for value in figure.values),
        }
        for figure in line.figures
    ]
    return {
        "name": line.row.name,
        "kind": "floor" if line.row.floor else "" if line.state == "done" else "open",
        "figures": figures,
        "seeds": _seeds(line),
        "epochs": _epochs(line),
        "time": _time(line),
        "state": line.state,
        "runs": [
            (run.name, os.path.relpath(run / SUMMARY, output))
            for run in line.runs
            if (run / SUMMARY).is_file()
        ],
    }
