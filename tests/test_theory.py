"""experiments/THEORY.md names tests and shows figures that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "experiments" / "THEORY.md").read_text()
DEFINED = {
    name
    for path in (ROOT / "tests").rglob("*.py")
    for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
}


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\btest_\w+(?!\w|\.py)", TEXT))))
def test_every_test_that_is_named_exists(name):
    assert name in DEFINED


@pytest.mark.parametrize("path", re.findall(r"\]\(([^)#:]+)\)", TEXT))
def test_every_link_leads_somewhere(path):
    assert (ROOT / "experiments" / path).exists()
