"""table.md, table.csv and table.html."""

import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dim_lightning.run.folder import SUMMARY
from dim_lightning.run.metrics import csv_text
from dim_lightning.run.page import rendered
from dim_lightning.run.report import duration
from dim_lightning.table.definition import Table
from dim_lightning.table.figures import IN_PERCENT, Figure, Line
from dim_lightning.table.notes import (
    FROM_MEMORY,
    About,
    Note,
    compared_headings,
    notes_below,
    settings_text,
)
from dim_lightning.table.page import TEMPLATE
from dim_lightning.writing import write_atomically

MARKDOWN, CSV, PAGE = "table.md", "table.csv", "table.html"
COLUMNS = (
    *("table", "row", "figure", "heading", "paper", "paper_from_memory", "mean", "std", "n"),
    *("difference", "values", "seeds_done", "seeds", "epochs", "seconds", "state"),
    *("settings", "data", "trained_on", "commits"),
)


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
    compared = compared_headings(lines)
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
    notes = [part for note in notes_below(table, lines, about) for part in _paragraphs(note)]
    parts = [f"# {table.title}", "\n".join(rows), *notes, f"    {about.command}"]
    return "\n\n".join(parts) + "\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _paragraphs(note: Note) -> list[str]:
    def filled(text: str, first: str = "", rest: str = "") -> str:
        # a name such as bf16-mixed has no end of a line in it
        return textwrap.fill(
            text,
            width=120,
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
    return f"{figure.paper:.2f}" + f" {FROM_MEMORY}" * (figure.heading in line.row.from_memory)


def difference(figure: Figure) -> str:
    """Ours less the paper's, with its sign."""
    if figure.difference is None:
        return ""
    return f"{round(figure.difference, 2) + 0.0:+.2f}"  # no -0.00


def _seeds(line: Line) -> str:
    return "" if line.row.floor else f"{line.done} of {len(line.row.seeds)}"


def _epochs(line: Line) -> str:
    return " to ".join(map(str, dict.fromkeys(line.epochs[:1] + line.epochs[-1:])))


def _time(line: Line) -> str:
    return "" if line.seconds is None else duration(line.seconds)


def _csv(table: Table, lines: Sequence[Line]) -> str:
    rows: list[Sequence[Any]] = [COLUMNS]
    for line in lines:
        row = line.row
        facts = [line.done, len(row.seeds), _epochs(line), _rounded(line.seconds), line.state]
        facts += [settings_text(row.kept, "; "), "; ".join(line.data), "; ".join(line.machines)]
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
    compared = compared_headings(lines)
    done = sum(line.done for line in lines if not line.row.floor)
    *notes, last = notes_below(table, lines, about)
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
