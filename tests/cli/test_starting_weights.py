"""Weights to start from are for a training; what is loaded has others."""

import shutil

import pytest

import dim_lightning
from dim_lightning.cli import main
from dim_lightning.cli.resolved import Resolved
from dim_lightning.encoders import BlogEncoder
from dim_lightning.encoders.start import do_weights_follow

MADE = []


class Begun(BlogEncoder):
    """Notes whether it was made to start with weights of its own."""

    def __init__(self, image_size: int):
        super().__init__(image_size, widths=(4,), embedding_dim=6)
        MADE.append(not do_weights_follow())


def test_they_are_asked_for_where_a_training_begins(workshop, capsys):
    asked = ["--experiment", "begun", "--model.encoder", f"{__name__}.Begun"]
    assert workshop.fit(*asked) == 0
    assert MADE == [True]
    run = workshop.runs / "begun" / "1"
    assert main(["validate", "--run", str(run)]) == 0
    more = ["fit", "--resume", str(run), "--trainer.max_epochs", "2"]
    assert main(more) == 0
    with pytest.warns(UserWarning, match=r"validated after step \d+, and its weights are of step"):
        dim_lightning.load(run)
    Resolved(["fit", "--config", str(run / "config.yaml")]).parts()
    assert MADE == [True, False, False, False, False]
    shutil.rmtree(run / "checkpoints")  # it has saved none: the training begins
    assert main(more) == 0
    assert MADE[5:] == [True]
