"""What the README says is there, and its commands are taken by the command line."""

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
README = (PROJECT / "README.md").read_text()
BLOCKS = re.findall(r"```\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line
    for block in BLOCKS
    for line in block.splitlines()
    if line.startswith("python -m dim_lightning")
]


def test_there_are_commands():
    assert len(COMMANDS) >= 8


@pytest.mark.parametrize("target", re.findall(r"^make (\S+)", "\n".join(BLOCKS), re.MULTILINE))
def test_make_targets_exist(target):
    assert re.search(rf"^{target}:", (PROJECT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", re.findall(r"\]\(([^)#]+)(?:#\w+)?\)", README))
def test_links_lead_somewhere(path):
    assert path.startswith("https://") or (PROJECT / path).exists()


LINES = re.findall(r"\[`(\w+)`\]\(([^)#]+)#L(\d+)\)", README)


def test_there_are_links_to_lines():
    assert len(LINES) >= 5


@pytest.mark.parametrize(("name", "path", "line"), LINES)
def test_links_to_lines_lead_to_the_definition(name, path, line):
    text = (PROJECT / path).read_text().splitlines()[int(line) - 1]
    assert re.match(rf"(def|class) {name}\b", text), f"{path}:{line} is {text!r}"


@pytest.mark.parametrize("command", COMMANDS)
def test_configs_named_in_commands_exist(command):
    words = shlex.split(command)
    for option, value in pairwise(words):
        if option == "--config":
            assert (PROJECT / value).is_file()
