"""What the README says is there, and the command line takes the commands of all documents.

They are parsed and not run: an option that has another name now fails here.
"""

import re
import shlex
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from dim_lightning import load
from dim_lightning.cli.entry import _quiet
from dim_lightning.cli.overview import OWN_COMMANDS
from dim_lightning.cli.resolved import Resolved
from dim_lightning.cli.shard import _with_pictures_alone
from dim_lightning.infomax.scores import Scores

PROJECT = Path(__file__).parent.parent
README = (PROJECT / "README.md").read_text()
BLOCKS = re.findall(r"```\n(.*?)```", README, re.DOTALL)
SCRIPTS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMAND = re.compile(r"^(?:# +)?python -m dim_lightning (.+)$", re.MULTILINE)
COMMAND_IN_TEXT = re.compile(r"`python -m dim_lightning ([^`]+)`")


def _commands():
    """The commands of README, experiments and the comments of configs, each once."""
    experiments = PROJECT / "experiments"
    files = [PROJECT / "README.md", *experiments.rglob("*.md"), *experiments.rglob("*.yaml")]
    texts = [file.read_text() for file in files if experiments / "records" not in file.parents]
    found = [command for text in texts for command in COMMAND.findall(text)]
    unwrapped = [re.sub(r"\n(# )?", " ", text) for text in texts]
    found += [command for text in unwrapped for command in COMMAND_IN_TEXT.findall(text)]
    found = [re.sub(r"--run \S+", "--run RUN", command) for command in found]
    # test_experiments runs these
    return sorted({c for c in found if not re.fullmatch(r"fit --config \S+\.yaml", c)})


def _parser(command):
    home = "doctor.command" if command == "doctor" else command
    return import_module(f"dim_lightning.cli.{home}")._parser()


def _parse(words):
    if words[0] not in OWN_COMMANDS:
        with _quiet():
            return Resolved(words).settings
    rest = _with_pictures_alone(words[1:]) if words[0] == "shard" else words[1:]
    return _parser(words[0]).parse_args(rest)


def _script(words):
    """The one with these words in it."""
    (script,) = (script for script in SCRIPTS if words in script)
    return script


@pytest.mark.filterwarnings("ignore")  # Lightning's, of a Trainer with nothing but defaults
def test_the_script_trains(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = {}
    script = _script("L.Trainer")
    for words, quicker in {
        "max_epochs=5": "max_epochs=1",
        "mlp_epochs=0": "mlp_epochs=0, floors=False",
        "batch_size=64": "batch_size=64, image_size=16",
        "DeepInfoMax(": "DeepInfoMax(image_size=16, ",
    }.items():
        assert script.count(words) == 1
        script = script.replace(words, quicker)
    exec(script, place)
    assert place["features"].mean.shape == (len(place["images"]), 256)
    assert place["top1"] > 0.5
    assert place["evaluation"].figures["knn/cosine/k20_t0.07/embedding/top1"] > 0.5
    kept = _script("save_checkpoint").replace('"encoder")  ', '"encoder", ["safetensors"])  ')
    exec(kept, place)
    pixels = (place["images"] * 255).to(torch.uint8)
    mean = place["features"].mean.detach()
    torch.testing.assert_close(load("encoder")(pixels), mean, atol=1e-5, rtol=1e-5)
    again = place["model"].encoder.eval()(place["images"])
    torch.testing.assert_close(again.mean, mean, atol=1e-5, rtol=1e-5)


def test_the_bound_of_ones_own_is_a_hinge():
    place = {}
    exec(_script("def hinge"), place)
    scores = Scores(torch.tensor([[2.0, 0.5]]), torch.tensor([[[-3.0, 0.0]]]))
    assert place["hinge"](scores) == pytest.approx(-0.25 - 0.5)


def test_the_script_finds_duplicates_and_guesses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    vectors = [[1.0, 0.0], [-1.0, 0.2], [1.0, 0.01], [-1.0, 0.5], [3.0, -1.0]]
    paths = ["a", "b", "a2", "b2", "tested"]
    labels = [None, None, "cat", "dog", "cow"]
    parts = ["train", "val", "train", "val", "test"]
    run = tmp_path / "runs" / "pictures" / "1"
    run.mkdir(parents=True)
    table = pd.DataFrame({"path": paths, "vector": vectors, "label": labels, "part": parts})
    table.to_parquet(run / "embeddings.parquet")
    place = {}
    exec(_script("closest_first").replace("n_neighbors=5", "n_neighbors=2"), place)
    assert set(place["closest_first"][:2]) == {"a", "a2"}
    assert place["nearest"][:, 0].tolist()[:4] == [2, 3, 0, 1]
    assert place["table"]["guess"].tolist() == ["cat", "dog", "cat", "dog", "cat"]
    assert place["top1"] == 0  # nothing was learned from it
    monkeypatch.setattr("dim_lightning.load", lambda _: lambda _: torch.tensor([[1.0, 0.004]]))
    exec(_script("most_like_it"), place)
    assert place["most_like_it"].tolist() == ["a", "a2"]
    lengths = np.linalg.norm(vectors, axis=1)
    cosines = np.array(vectors) @ np.transpose(vectors) / lengths / lengths[:, None]
    found = place["neighbours"].kneighbors(n_neighbors=4)[1]
    others = np.argsort(-(cosines - 3 * np.eye(5)), axis=1)[:, :4]
    assert found.tolist() == others.tolist()


def test_there_are_commands():
    assert len(_commands()) >= 25


@pytest.mark.parametrize("command", _commands())
def test_commands_are_parsed(command, tmp_path, monkeypatch):
    (tmp_path / "experiments").symlink_to(PROJECT / "experiments")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # as `python -m` does
    (tmp_path / "bounds.py").write_text(_script("def hinge"))
    words = shlex.split(command)
    if "--resume" in words:  # the run's own settings are looked at
        run = tmp_path / words[words.index("--resume") + 1]
        run.mkdir(parents=True)
        (run / "config.yaml").write_text("experiment: unnamed\n")
    if words[-1] == "--help":
        with pytest.raises(SystemExit, match="0"):
            _parse(words)
    else:
        _parse(words)


def test_options_named_in_the_text_exist():
    named = re.findall(r"`--([\w.]+)[^`]*`", README)
    settings = _parse(["fit"])
    groups = [key for key, value in settings.items() if isinstance(value, dict)]
    known = {*settings, *(f"{group}.{key}" for group in groups for key in settings[group])}
    for command in set(OWN_COMMANDS) - {"shard"}:
        known |= {option.removeprefix("--") for option in _parser(command)._option_string_actions}
    known |= {"config", "resume", "run", "shard_mb"}
    # below these two levels, it depends on the class that is chosen
    unknown = [name for name in named if ".".join(name.split(".")[:2]) not in known]
    assert len(named) >= 20
    assert unknown == []


@pytest.mark.parametrize("target", re.findall(r"^make (\S+)", "\n".join(BLOCKS), re.MULTILINE))
def test_make_targets_exist(target):
    assert re.search(rf"^{target}:", (PROJECT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", re.findall(r"\]\(([^)#]+)(?:#\w+)?\)", README))
def test_links_lead_somewhere(path):
    assert path.startswith("https://") or (PROJECT / path).exists()


@pytest.mark.parametrize("anchor", re.findall(r"\]\(#([^)]+)\)", README))
def test_links_within_lead_to_a_heading(anchor):
    headings = re.findall(r"^##+ (.+)", README, re.MULTILINE)
    anchors = [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]
    assert anchors.count(anchor) == 1


LINES = re.findall(r"\[`(\w+)`\]\(([^)#]+)#L(\d+)\)", README)


def test_there_are_links_to_lines():
    assert len(LINES) >= 5


@pytest.mark.parametrize(("name", "path", "line"), LINES)
def test_links_to_lines_lead_to_the_definition(name, path, line):
    text = (PROJECT / path).read_text().splitlines()[int(line) - 1]
    assert re.match(rf"(def|class) {name}\b", text), f"{path}:{line} is {text!r}"
