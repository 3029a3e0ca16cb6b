"""Whatever stands in a configuration or on the command line: a result, or one short error.

FUZZ_EXAMPLES=500 pytest tests/faults/test_malformed.py tries more, and others each time.
"""

import os
import shutil

import pytest
from attempt import attempt, files_in
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from malformed import TEXTS, command_lines, configurations, cut_texts
from scene import SHORT, TINY

pytestmark = pytest.mark.usefixtures("plain_figures")
ASKED = os.environ.get("FUZZ_EXAMPLES")
COMMON = {
    "database": None,
    "derandomize": ASKED is None,
    "suppress_health_check": list(HealthCheck),
}
few = settings(max_examples=int(ASKED or 4), **COMMON)
many = settings(max_examples=int(ASKED or 100), **COMMON)


def _survives(scene, words, keys=()):
    """The command ends well or with one error, and every file that was there is as it was."""
    before = files_in(scene.folder)
    outcome = attempt(words, keys)
    assert not outcome.problem, f"{outcome.problem}\n{outcome.error}"
    runs = scene.folder / "runs"
    shutil.rmtree(runs, ignore_errors=True)
    after = files_in(scene.folder)
    lost = [path for path, content in before.items() if after.get(path) != content]
    assert not lost
    return outcome


def _fit(scene, content, *, first=()):
    bad = scene.folder / "bad.yaml"
    bad.write_bytes(content)
    return ["fit", *first, "--config", str(bad), *scene.places, *SHORT]


@few
@given(data=st.data())
def test_a_changed_configuration(scene, data):
    content, keys = data.draw(configurations(scene.valid))
    _survives(scene, _fit(scene, content), [*keys, str(scene.folder / "bad.yaml")])


@few
@given(data=st.data())
def test_a_changed_command_line(scene, data):
    words = data.draw(command_lines(scene.valid, scene.folder))
    trains = words[0] in ("fit", "validate", "test", "predict")
    _survives(scene, [*words, *scene.places, *SHORT] if trains else words)


@pytest.mark.slow
@many
@given(content=cut_texts(TINY))
def test_a_file_cut_short_or_with_bytes_put_in(scene, content):
    _survives(scene, _fit(scene, content))


@pytest.mark.slow
@pytest.mark.parametrize("content", TEXTS, ids=lambda content: repr(content[:40]))
def test_a_strange_file(scene, content):
    first = ["--config", str(scene.folder / "tiny.yaml")]
    _survives(scene, _fit(scene, content, first=first))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"data: &d {source: *d}", "contains itself"),
        (b"[" * 1100, "nested too deeply"),
        (b"seed_everything: -1", "seed_everything is -1; expected 0 to"),
        (b"model: {coordinates: {init_args: {1: 2}}}", "line 1: the key 1 is no name"),
        (b"data: {batch_size: '${'}", "data.batch_size: ${ begins a reference"),
        (b"probe: {weight_decay: null}", "probe.weight_decay is null"),
        (
            b"model: {optimizer: {class_path: torch.optim.SGD, init_args: {momentum: -3.0}}}",
            "Invalid momentum value",
        ),
        (
            b"model: {optimizer: {class_path: torch.optim.SGD, init_args: {lr: 1.0e+30}}}",
            "NaN or infinite",
        ),
    ],
)
def test_what_the_error_says(scene, content, said):
    first = ["--config", str(scene.folder / "tiny.yaml")]
    outcome = _survives(scene, _fit(scene, content, first=first))
    assert outcome.code == 2
    assert said in outcome.error
