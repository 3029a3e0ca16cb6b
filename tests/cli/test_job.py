"""Which run a job goes on with when it is started again."""

import json

import pytest

from dim_lightning.cli.job import begun_run, job_name
from dim_lightning.run.environment import full_command

WORDS = ["fit", "--seed_everything", "1"]
TORCHRUN = {"TORCHELASTIC_RUN_ID": "blog-1"}
REQUEUED = {"SLURM_JOB_ID": "77", "SLURM_RESTART_COUNT": "1"}


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({}, None),
        ({"TORCHELASTIC_RUN_ID": "none"}, None),
        (TORCHRUN, "torchrun blog-1"),
        ({"SLURM_JOB_ID": "77"}, "slurm 77"),
        ({"SLURM_JOB_ID": "77", **TORCHRUN}, "torchrun blog-1"),
    ],
)
def test_a_job_is_called_what_lasts(environment, name):
    assert job_name(environment) == name


@pytest.fixture
def runs(tmp_path):
    """Makes run 1, 2 and so on of the experiment, each with a checkpoint unless told."""

    def make(job, words=WORDS, saved=True):
        folder = tmp_path / "digits" / str(len(list((tmp_path / "digits").glob("*"))) + 1)
        (folder / "checkpoints").mkdir(parents=True)
        facts = {"job": job, "command": full_command(words)}
        (folder / "environment.json").write_text(json.dumps(facts))
        if saved:
            (folder / "checkpoints" / "last.ckpt").touch()
        return folder

    make.dir = tmp_path
    return make


def test_a_first_start_has_nothing_to_go_on_with(runs):
    assert begun_run(runs.dir, "digits", WORDS, TORCHRUN) is None


def test_the_newest_run_of_the_job_that_was_saved_is_gone_on_with(runs):
    runs("torchrun blog-1")
    mine = runs("torchrun blog-1")
    runs("torchrun blog-1", saved=False)
    runs("torchrun blog-1", ["fit", "--seed_everything", "2"])
    runs("torchrun blog-2")
    runs(None)
    assert begun_run(runs.dir, "digits", WORDS, TORCHRUN) == mine
    assert begun_run(runs.dir, "digits", WORDS, {}) is None
    assert begun_run(runs.dir, "other", WORDS, TORCHRUN) is None


def test_runs_are_numbers_and_not_words(runs):
    folders = [runs("torchrun blog-1") for _ in range(10)]
    assert begun_run(runs.dir, "digits", WORDS, TORCHRUN) == folders[-1]


def test_slurm_goes_on_where_it_requeued_and_not_in_a_second_run_of_an_allocation(runs):
    mine = runs("slurm 77")
    assert begun_run(runs.dir, "digits", WORDS, {"SLURM_JOB_ID": "77"}) is None
    assert begun_run(runs.dir, "digits", WORDS, REQUEUED) == mine
    assert begun_run(runs.dir, "digits", WORDS, {**REQUEUED, "SLURM_JOB_ID": "78"}) is None
