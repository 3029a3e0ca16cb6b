"""The command of a trial is the one that wandb's agent would start."""

import json
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from dim_lightning.sweep.command import filled_command

NAMES = st.sampled_from(["model.local_weight", "data.batch_size", "model.encoder", "probe.x"])
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
    st.fixed_dictionaries({"class_path": st.text(), "init_args": st.just({"widths": [1, 2]})}),
)
ARGUMENTS = ["args", "args_no_hyphens", "args_no_equals", "args_no_boolean_flags", "args_json"]


@pytest.mark.parametrize("macro", ARGUMENTS)
@settings(max_examples=30)
@given(parameters=st.dictionaries(NAMES, VALUES))
def test_arguments_are_those_of_wandb(macro, parameters):
    theirs = create_sweep_command_args({"args": {n: {"value": v} for n, v in parameters.items()}})
    ours = filled_command([f"${{{macro}}}"], "p", parameters, Path("file.json"))
    assert ours == theirs[macro]


def test_the_other_macros(monkeypatch):
    monkeypatch.setenv("DIGITS", "/data")
    command = ["${env}", "${interpreter}", "-m", "${program}", "--root=${envvar:DIGITS}/x", "$x"]
    filled = filled_command([*command, "${args_json_file}"], "dim_lightning", {}, Path("a.json"))
    expected = ["-m", "dim_lightning", "--root=/data/x", "$x", "a.json"]
    assert filled == ["/usr/bin/env", sys.executable, *expected]
    assert create_sweep_command(command)[4] == filled[4]


def test_small_numbers_survive_the_file():
    (text,) = filled_command(["${args_json}"], "p", {"lr": 1e-5, "x": None}, Path("a.json"))
    assert json.loads(text) == {"lr": 1e-5, "x": None}
