"""The step of the first validation, taken before a run has a folder."""

import pytest
import torch
from small_methods import SIZE, digits, encoder
from torch import nn

import dim_lightning
from dim_lightning.cli import main
from dim_lightning.cli.one_view import check_validation
from dim_lightning.data import CropAndFlip
from dim_lightning.encoder_module import EncoderModule
from dim_lightning.view_checks import OneViewError


class Pairs(EncoderModule):
    """Needs two views, and moves all that it could move."""

    least_views = 2

    def __init__(self, width: int = 6, image_size: int = SIZE, seed: int = 0):
        super().__init__(encoder, torch.optim.Adam, None, image_size, seed)
        self.save_hyperparameters(logger=False)
        self.norm = nn.BatchNorm1d(width)
        self.register_buffer("queue", torch.zeros(width))
        self.steps = 0

    def code_and_terms(self, batch, generator):
        code = self.norm.train()(self.encoder(batch.images).mean)
        self.queue += 1 + torch.rand(())
        self.steps += 1
        return code, self.terms(batch, code)

    def terms(self, batch, code):
        other = self.encoder(batch.more_views[0]).mean
        return {"loss": (code - other).square().mean()}


class Whole(Pairs):
    """Does without in validation."""

    def terms(self, batch, code):
        return super().terms(batch, code) if batch.more_views else {}


class Late(Whole):
    """Needs what a Trainer has, of which nothing is said before there is one."""

    def terms(self, batch, code):
        return {"loss": code.mean() * self.trainer.max_epochs}


@pytest.fixture
def data(tmp_path):
    found = digits(tmp_path, augmentation=CropAndFlip(), num_views=2)
    found.prepare_data()
    found.setup("fit")
    return found


@pytest.mark.parametrize("method", [Pairs, Whole, Late])
def test_nothing_is_moved_by_it(data, method):
    module = method()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.get_rng_state()
    try:
        check_validation(module, data)
    except OneViewError:
        assert method is Pairs
    else:
        assert method is not Pairs
    assert module.steps == 0
    assert all(part.training for part in module.modules())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_with_one_view_nothing_is_tried(tmp_path):
    check_validation(Pairs(), digits(tmp_path))


VIEWS = ["--data.augmentation", "CropAndFlip", "--data.num_views", "2"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (VIEWS, "Pairs.code_and_terms needs batch.more_views, and fails where it is empty"),
        ([], "the data gives 1 view of each image, and Pairs needs at least 2"),
    ],
)
def test_the_command_line_says_it_before_there_is_a_run(workshop, monkeypatch, capsys, words, said):
    monkeypatch.setattr(dim_lightning, "Pairs", Pairs, raising=False)
    config = {"method": "dim_lightning.Pairs", "experiment": "pairs", "data": {"image_size": SIZE}}
    path = workshop.write("pairs.yaml", config)
    places = ["--data.root", str(workshop.folder / "data"), "--runs_dir", str(workshop.runs)]
    assert main(["fit", "--config", path, *places, *words]) == 2
    assert said in capsys.readouterr().err
    assert not list(workshop.runs.glob("pairs/*"))
