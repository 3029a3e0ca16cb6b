"""Adds finished runs to experiments/results.csv and renews the tables of experiments/README.md.

    python experiments/record.py runs/digits_blog/1 runs/digits_blog/2 ...
    python experiments/record.py --data "CIFAR-10 (JPEG copy)" runs/cifar10_blog/1

A row of results.csv is one figure of one run, so the file only grows; a run that is recorded again
(after `test`, say) replaces its own rows. What its data is called stays in its environment.json. Of
a run that went on with another commit, processor or number of threads, the columns list all, with
`; ` between. A table a data set gives mean ± standard deviation over the seeds of the same
settings, which the column of that name tells apart (a hash; early rows have none); of several
trainings with one seed the newest counts. Where seeds of it were tested in different ways, which
the column `protocol` tells apart likewise, the line below the table says so. Without arguments only
the tables are renewed.

Of a run that belongs to a table, records/ keeps what the command `table` reads of it: its settings,
its environment and its figures, without the folders of the machine; and what was logged once an
epoch, for `compare`. Copied into a folder of runs, the row counts as done there.
"""

import argparse
import csv
import hashlib
import json
import re
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml

from dim_lightning.callbacks.offline_table import lines_about
from dim_lightning.data.disk import locked
from dim_lightning.errors import InputError
from dim_lightning.run.environment import (
    DATA,
    commit_text,
    processors_text,
    read_environment,
    starts_of,
    threads_text,
    write_environment,
)
from dim_lightning.run.folder import CONFIG, ENVIRONMENT, METRICS, RESULT, existing_run_folder
from dim_lightning.run.metrics import table_text
from dim_lightning.run.report import OTHER_CODE, OTHER_PICTURES, OTHER_SHARES, caveat_of_test
from dim_lightning.run.result import read_result
from dim_lightning.run.settings import belongs, flat_config, precision_text, read_yaml
from dim_lightning.table.runs import FREE
from dim_lightning.writing import write_atomically

HERE = Path(__file__).parent
RUN_COLUMNS = [
    *("data", "experiment", "seed", "started", "commit", "epochs", "minutes"),
    *("images_per_second", "precision", "machine", "threads", "settings"),
]
BETWEEN = "; "  # what a run began with and what it went on with
COLUMNS = [*RUN_COLUMNS, "split", "metric", "value", "protocol"]
BEGIN, END = "<!-- tables: begin, written by record.py -->", "<!-- tables: end -->"
TABLE_METRICS = {
    "linear": "probe/linear/{layer}/top1",
    "MLP-200": "probe/mlp200/{layer}/top1",
    "kNN 20, cosine": "knn/cosine/k20_t0.07/{layer}/top1",
    "kNN 200, cosine": "knn/cosine/k200_t0.1/{layer}/top1",
}
PIXELS = "| raw pixels |"
OF_A_TABLE = r"(.+)/seed\d+"  # the experiment of a run that `table` started
Rows = list[dict[str, str]]


def rows_of(run_dir: Path) -> Rows:
    """One row a figure: accuracies and geometry of the last validation, and all of the test."""
    config = read_yaml(run_dir / CONFIG)
    environment, result = read_environment(run_dir), read_result(run_dir)
    fit, starts = result["fit"], starts_of(environment)
    machines = dict.fromkeys((processors_text(s), s["threads"]) for s in starts)
    run = {
        "data": environment.get(DATA) or config["data"]["source"]["class_path"].rsplit(".", 1)[-1],
        "experiment": _experiment(run_dir, config["experiment"]),
        "seed": config["seed_everything"],
        "started": environment["started"],
        "commit": BETWEEN.join(dict.fromkeys(map(commit_text, starts))),
        "epochs": fit["epochs"],
        "minutes": round(fit["seconds"] / 60, 1),
        "images_per_second": round(fit["images_per_second"]),
        "precision": precision_text(flat_config(run_dir)),
        "machine": BETWEEN.join(machine for machine, _ in machines),
        "threads": BETWEEN.join(str(threads) for _, threads in machines),
        "settings": settings_hash(run_dir),
    }
    test = result.get("test", {})
    figures = [("val", name, value) for name, value in fit["last"].items()]
    figures += [("test", name, value) for name, value in test.items()]
    return [
        {key: str(value) for key, value in run.items()}
        | {"split": split, "metric": name, "value": f"{value:.6g}"}
        | {"protocol": protocol_hash(name, test) if split == "test" else ""}
        for split, name, value in figures
        if isinstance(value, int | float) and "/" in name and not name.startswith("train/")
    ]


def settings_hash(run_dir: Path) -> str:
    """Of what seeds have to share for a mean over them.

    What is off or empty is left out: so is, in earlier runs, all that came later.
    """
    settings = flat_config(run_dir)
    known = {k: v for k, v in settings.items() if v and not belongs(k, (*FREE, "seed_everything"))}
    return _hash(json.dumps(known, sort_keys=True))


def protocol_hash(name: str, test: dict[str, Any]) -> str:
    """Of what a test says about how the figure `name` was measured; nothing where it is silent."""
    lines = lines_about([name], test.get("protocol", ""))
    return _hash("\n".join(lines)) if lines else ""


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def check_finished(run_dir: Path) -> None:
    """Looks at whether a run has come to its end, and whether its test is of that.

    Raises:
        InputError: it has not, it went on after its test, or that is by other code or of other
            pictures, those of the run whose state it took up included.
    """
    result = read_result(existing_run_folder(run_dir))
    fit = result.get("fit", {})
    if fit.get("status") != "completed":
        raise InputError(
            f"{run_dir} is {fit.get('status', 'not trained')}; expected a run that has come to its "
            f"end: python -m dim_lightning fit --resume {run_dir}"
        )
    caveat, environment = caveat_of_test(result), read_environment(run_dir)
    if caveat:
        back = "bring its former code back and " * bool(result.get("test", {}).get(OTHER_CODE))
        begun = (environment.get(name) for name in (OTHER_PICTURES, OTHER_SHARES))
        remedy = (
            "which stays so, as it began from the state of a run that had them; expected one that "
            "was trained on its own pictures alone"
            if any(note and note in caveat for note in begun)
            else f"{back}test it again: python -m dim_lightning test --run {run_dir}"
        )
        raise InputError(f"{run_dir} was tested{caveat.lstrip(',')}; {remedy}")


def _experiment(run_dir: Path, name: str) -> str:
    """Its name; of a run of a table, whose seeds lie in folders of their own, that of the row."""
    if not re.fullmatch(OF_A_TABLE, name):
        return name
    *_, table, row, _, _ = run_dir.resolve().parts  # the row may have another name by now
    return f"{table}/{row}"


def keep(run_dir: Path, records: Path) -> Path | None:
    """Copies what there is to know of a run to where it would lie if `records` were its `runs_dir`.

    Returns:
        the folder of the copy; None of a run that belongs to no table.
    """
    *_, table, row, seed, number = run_dir.resolve().parts
    config = read_yaml(run_dir / CONFIG)
    if not re.fullmatch(OF_A_TABLE, config["experiment"]):
        return None
    config["experiment"] = f"{row}/{seed}"
    config["runs_dir"] = f"runs/{table}"
    config["data"] |= {"root": "data", "cache_dir": None}
    environment = read_environment(run_dir)
    for begun in (environment, *environment.get("resumed", [])):
        begun.pop("command", None)
    copy = _place(records / table / row / seed, number, environment.get("started"))
    copy.mkdir(parents=True, exist_ok=True)
    write_atomically(copy / CONFIG, yaml.safe_dump(config, sort_keys=False))
    write_atomically(copy / ENVIRONMENT, json.dumps(environment, indent=2) + "\n")
    write_atomically(copy / RESULT, (run_dir / RESULT).read_text("utf-8"))
    if (run_dir / METRICS).is_file():  # early records have none
        write_atomically(copy / METRICS, _each_epoch(run_dir / METRICS))
    return copy


def _each_epoch(metrics: Path) -> str:
    """The rows that are not of a training step, without columns that are empty then."""
    with metrics.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if not row.get("train/loss")]
    names = [name for name in rows[0] if any(row[name] for row in rows)] if rows else []
    return table_text(names, rows)


def _place(folder: Path, number: str, started: str | None) -> Path:
    """Where the copy of a run lies already; else its own number, or the next if that is taken.

    Machines that share the records number their runs without knowing of each other.
    """
    copies = [path.parent for path in folder.glob(f"*/{ENVIRONMENT}")]
    for copy in copies:
        if read_environment(copy).get("started") == started:
            return copy
    taken = [int(copy.name) for copy in copies]
    return folder / (number if int(number) not in taken else str(max(taken) + 1))


def add(rows: Rows, table: Path) -> Rows:
    """All rows of the file at `table` after `rows` were put in."""
    stored: Rows = []
    if table.is_file():
        with table.open(encoding="utf-8", newline="") as file:
            stored = list(csv.DictReader(file))
    renewed = {_run(row) for row in rows}
    rows = [*(row for row in stored if _run(row) not in renewed), *rows]
    write_atomically(table, table_text(COLUMNS, rows))
    return rows


def twice(rows: Rows) -> list[tuple[str, str]]:
    """The names of trainings that stand there under two, such as those of rows renamed since."""
    figures: dict[tuple[str, ...], set[tuple[str, str]]] = defaultdict(set)
    for row in rows:
        if row["split"] == "val":
            figures[_run(row)].add((row["metric"], row["value"]))
    names: dict[Any, list[str]] = defaultdict(list)
    for (name, *start), values in figures.items():
        names[(*start, frozenset(values))].append(name)
    return list(dict.fromkeys((found[0], found[-1]) for found in names.values() if len(found) > 1))


def _run(row: dict[str, str]) -> tuple[str, ...]:
    return row["experiment"], row["seed"], row["started"]


def tables(rows: Rows) -> str:
    """A Markdown table a data set, test accuracies in percent."""
    grouped: dict[str, dict[tuple[str, ...], Rows]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row["split"] == "test":
            key = (row["experiment"], row["epochs"], row["precision"], row["settings"])
            grouped[row["data"]][key].append(row)
    newest = {data: {k: _newest(g) for k, g in found.items()} for data, found in grouped.items()}
    sections = []
    for data, experiments in sorted(newest.items()):
        lines = [f"### {data}", "", "| experiment | layer | " + " | ".join(TABLE_METRICS) + " |"]
        lines.append("|---" * (len(TABLE_METRICS) + 2) + "|")
        named = [key[:3] for key in experiments]
        for (name, epochs, precision, settings), group in experiments.items():
            is_alone = named.count((name, epochs, precision)) == 1 or not settings
            which = "" if is_alone else f", settings {settings}"
            found = _lines(f"{name}, {epochs} epochs, {precision}{which}", group)
            lines += [line for line in found if line.startswith(PIXELS) or line not in lines]
        lines = _with_one_floor_of_pixels(lines)
        lines += ["", *_footnotes(experiments.values())]
        sections.append("\n".join(lines))
    return "\n\n".join(sections)


def _newest(group: Rows) -> Rows:
    """Of each seed the last training: another one of the same seed is no draw of its own."""
    last: dict[str, str] = {}
    for row in group:
        last[row["seed"]] = max(row["started"], last.get(row["seed"], ""))
    return [row for row in group if row["started"] == last[row["seed"]]]


def _lines(title: str, group: Rows) -> list[str]:
    """A row a layer, the floors last."""
    values: dict[str, list[float]] = defaultdict(list)
    num_runs = len(set(map(_run, group)))
    for row in group:
        values[row["metric"]].append(float(row["value"]))
    layers = dict.fromkeys(
        metric.removesuffix("/top1").removeprefix("random/").rsplit("/", 1)[-1]
        for metric in values
        if metric.endswith("/top1")
    )
    lines = []
    for prefix, what in (("", title), ("random/", "random encoder")):
        for layer in layers:
            names = [prefix + metric.format(layer=layer) for metric in TABLE_METRICS.values()]
            found = [values.get(name) for name in names]
            name = "raw pixels" if layer == "pixels" else what
            is_drawn = name == title  # floors are by evaluation.seed, for all runs the same
            cells = [_mean_and_spread(each, num_runs, is_drawn) if each else "" for each in found]
            if any(cells):
                lines.append(f"| {name} | {layer} | {' | '.join(cells)} |")
    return lines


def _with_one_floor_of_pixels(lines: list[str]) -> list[str]:
    """Of the pixels, which all runs of a data set share, the first row that has most figures."""
    floors = [line for line in lines if line.startswith(PIXELS)]
    if not floors:
        return lines
    fullest = max(floors, key=lambda line: sum(cell.strip() != "" for cell in line.split("|")))
    first = lines.index(floors[0])
    others = [line for line in lines[first:] if not line.startswith(PIXELS)]
    return [*lines[:first], fullest, *others]


def _mean_and_spread(values: list[float], num_runs: int, is_drawn: bool) -> str:
    """Mean ± standard deviation, and over how many runs if not all have it.

    Args:
        values: of the runs that have it.
        num_runs: how many there are.
        is_drawn: whether each run has drawn its own; else equal ones are a single draw.
    """
    text = f"{100 * statistics.mean(values):.2f}"
    if len(values) > 1 and (is_drawn or len(set(values)) > 1):
        text += f" ± {100 * statistics.stdev(values):.2f}"
    return text if len(values) == num_runs else f"{text} (n = {len(values)})"


def _footnotes(groups: Any) -> list[str]:
    """Where the numbers come from: seeds, commit, time, machine of each experiment."""
    notes = []
    for group in groups:
        runs = {tuple(row[name] for name in RUN_COLUMNS): row for row in group}.values()
        seeds = ", ".join(sorted({row["seed"] for row in runs}, key=int))
        commits = dict.fromkeys(c for row in runs for c in row["commit"].split(BETWEEN))
        minutes = statistics.mean(float(row["minutes"]) for row in runs)
        speed = statistics.mean(float(row["images_per_second"]) for row in runs)
        notes.append(
            f"- {group[0]['experiment']}: seeds {seeds}; commit {', '.join(commits)}; "
            f"{minutes:.1f} minutes a run, {speed:,.0f} images/s in training; "
            f"{'; '.join(dict.fromkeys(map(_machine, runs)))}{_other_protocols(group)}"
        )
    return notes


def _other_protocols(group: Rows) -> str:
    """Which seeds of a mean were tested in which way, if not all in the same; else nothing."""
    said = ""
    for heading, metric in TABLE_METRICS.items():
        before, after = metric.split("{layer}")
        seeds: dict[str, set[int]] = defaultdict(set)
        for row in group:
            is_known = row["protocol"]  # early tests do not say it
            if is_known and row["metric"].startswith(before) and row["metric"].endswith(after):
                seeds[row["protocol"]].add(int(row["seed"]))
        if len(seeds) > 1:
            ways = " and ".join(", ".join(map(str, sorted(each))) for each in seeds.values())
            said += f"; {heading} measured in different ways: seeds {ways}"
    return said


def _machine(run: dict[str, str]) -> str:
    """Processors and threads, several where it went on elsewhere."""
    found = zip(run["machine"].split(BETWEEN), run["threads"].split(BETWEEN), strict=True)
    texts = (f"{machine}, {threads_text({'threads': int(threads)})}" for machine, threads in found)
    return ", then ".join(texts)


def renew(page: Path, content: str) -> None:
    """Puts `content` between the marks of `page`."""
    before, _, rest = page.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    write_atomically(page, f"{before}{BEGIN}\n\n{content}\n\n{END}{after}")


def main(arguments: list[str] | None = None) -> None:
    """Records the runs and renews the page."""
    parser = argparse.ArgumentParser(description="Records finished runs.")
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="run folders")
    parser.add_argument("--data", help="what to call the data of these runs")
    options = parser.parse_args(arguments)
    for run in options.runs:
        check_finished(run)
        if options.data:
            write_environment(run, {DATA: options.data})
    with locked(HERE / ".lock", "the project's folder"):  # of two at once the second waits
        for run in options.runs:
            keep(run, HERE / "records")
        rows = add([row for run in options.runs for row in rows_of(run)], HERE / "results.csv")
        renew(HERE / "README.md", tables(rows))
    for old, new in twice(rows):
        print(f"{old} and {new} are the same training; if it was renamed, delete the rows of {old}")


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
