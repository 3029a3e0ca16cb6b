"""summary.html: one page that shows a run, complete in itself."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dim_lightning.run.accuracies import KINDS, accuracy_table, flat_figures, unsolved
from dim_lightning.run.curves import panel_svg, panels
from dim_lightning.run.environment import GPUS, read_environment, threads_text
from dim_lightning.run.folder import CONFIG, PICTURES, SUMMARY
from dim_lightning.run.glossary import meaning
from dim_lightning.run.metrics import read_metrics
from dim_lightning.run.page import TEMPLATE, rendered
from dim_lightning.run.report import caveat_of_test, duration, headlines
from dim_lightning.run.result import read_result, test_section, transfers
from dim_lightning.run.settings import estimator_of, flat_config, run_name
from dim_lightning.writing import write_atomically

_CAPTIONS = {
    "neighbours_cosine": "Validation images (left) and their nine nearest training images by "
    "cosine similarity of the code.",
    "neighbours_euclidean": "The same by Euclidean distance.",
    "prior_samples": "Training images nearest to codes drawn from the prior: if the "
    "codes follow the prior, every row is a coherent set.",
    "reconstructions": "Validation images, each beside what is decoded from its code.",
    "samples": "Images decoded from codes drawn from the prior.",
    "embedding_statistics": "Mean and standard deviation of each dimension of the code, against "
    "those of the prior if there is one.",
}


def write_summary(run_dir: Path) -> Path:
    """Draws the page of a run from the files in its folder, whatever of them there is.

    Args:
        run_dir: the run's folder.

    Returns:
        The page's path.
    """
    write_atomically(run_dir / SUMMARY, rendered(TEMPLATE, **_content(run_dir)))
    return run_dir / SUMMARY


def _content(run_dir: Path) -> dict[str, Any]:
    result, environment = read_result(run_dir), read_environment(run_dir)
    series = read_metrics(run_dir)
    fit = result.get("fit", {})
    tests = {"": result.get("test", {}), **transfers(result)}
    names = [*series, *(name for test in tests.values() for name in flat_figures(test))]
    config = run_dir / CONFIG
    settings = flat_config(run_dir) if config.is_file() else {}
    return {
        "title": run_name(run_dir).replace("/", " / "),
        "status": fit.get("status", "started"),
        "reason": fit.get("reason"),
        "about": _about(_method(settings), fit, environment),
        "machine": _machine(environment),
        "command": environment.get("command", ""),
        "headlines": headlines(run_dir),
        "tables": [_table(result, name, test) for name, test in tests.items()],
        "curves": [panel_svg(panel) for panel in panels(series, estimator_of(settings))],
        "pictures": _pictures(run_dir),
        "glossary": _glossary(names),
        "config": config.read_text("utf-8") if config.is_file() else "",
        "environment": json.dumps(environment, indent=2),
        "result": json.dumps(result, indent=2),
    }


def _table(result: Mapping[str, Any], name: str, test: Mapping[str, Any]) -> dict[str, Any]:
    """What the page says of a test: of the run's own pictures, or of the data set `name`."""
    tables = {words: accuracy_table(test, kind) for kind, words in KINDS.items()}
    return {
        "of": f" of {name}, other pictures than it was trained on" * bool(name),
        "accuracies": {words: table for words, table in tables.items() if table},
        "caveat": caveat_of_test(result, test_section(name or None)),
        "unsolved": ", ".join(unsolved(test)),
    }


def _method(settings: Mapping[str, Any]) -> str:
    """What trained the encoder; DeepInfoMax where no configuration says it."""
    name = str(settings.get("method", "DeepInfoMax")).rsplit(".", 1)[-1]
    return "Deep InfoMax" if name == "DeepInfoMax" else name


def _about(method: str, fit: Mapping[str, Any], environment: Mapping[str, Any]) -> str:
    started = environment.get("started", "").replace("T", " ")[:16]
    parts = [f"{method}, started {started} UTC" if started else method]
    if fit:
        epochs = fit.get("epochs", 0)
        parts.append(f"{epochs} epoch{'s' * (epochs != 1)} in {duration(fit.get('seconds', 0.0))}")
        if "images_seen" in fit:  # early runs do not say it
            parts.append(f"{fit['images_seen']:,} images seen")
        parts.append(f"{fit.get('images_per_second', 0):,.0f} images/s")
    return " · ".join(parts)


def _machine(environment: Mapping[str, Any]) -> str:
    if not environment:
        return ""
    packages = environment.get("packages")  # early runs have none
    commit = environment.get("commit")
    changed = " with uncommitted changes" if environment.get("uncommitted_changes") else ""
    parts = [
        environment.get("cpu", ""),
        threads_text(environment),
        *environment.get(GPUS, []),
        f"PyTorch {packages['torch']}, Lightning {packages['lightning']}" if packages else "",
        f"commit {commit[:10]}{changed}" if commit else "no commit",
    ]
    return " · ".join(part for part in parts if part)


def _pictures(run_dir: Path) -> list[dict[str, str]]:
    """The pictures in the order of `_CAPTIONS`, others after them."""
    order = list(_CAPTIONS)
    paths = sorted((run_dir / PICTURES).glob("*.png"))
    paths.sort(key=lambda path: order.index(path.stem) if path.stem in order else len(order))
    return [
        {
            "data": base64.b64encode(path.read_bytes()).decode(),
            "caption": _CAPTIONS.get(path.stem, path.stem.replace("_", " ")),
        }
        for path in paths
    ]


def _glossary(names: list[str]) -> list[dict[str, Any]]:
    """Each explanation once, with the names it is for."""
    entries: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        text = meaning(name)
        if text and len(entries.setdefault(text, [])) < 4:
            entries[text].append(name)
    return [{"text": text, "names": names} for text, names in entries.items()]
