"""What comes late in a training, tried before it."""

import pytest
import torch
from small_methods import SIZE, batch, digits, encoder
from torch import distributed

from dim_lightning.data import CropColour
from dim_lightning.encoders import StridedEncoder
from dim_lightning.errors import InputError
from dim_lightning.processes import num_processes
from dim_lightning.view_checks import OneViewError, check_views_fit, of_one_view


def first_view(batch, generator):
    return batch.more_views[0]


def two_views(batch, generator):
    _, _ = (batch.images, *batch.more_views)
    return "codes"


def never(batch, generator):
    raise IndexError("of something else")


@pytest.fixture
def data(tmp_path):
    return digits(tmp_path, augmentation=CropColour(), num_views=2)


def tried(step, data):
    return of_one_view("Own", step, batch(), torch.Generator(), data)


@pytest.mark.parametrize(
    ("step", "said"), [(first_view, "IndexError: tuple index"), (two_views, "ValueError: not en")]
)
def test_a_step_that_needs_views_is_said(data, step, said):
    with pytest.raises(
        OneViewError, match=rf"Own.code_and_terms needs batch\.more_views, .*{said}"
    ):
        tried(step, data)


def test_what_fails_with_several_views_too_is_an_error_of_its_own(data):
    with pytest.raises(IndexError, match="of something else"):
        tried(never, data)


def test_it_is_tried_again_without_the_other_processes(data, monkeypatch):
    """Theirs may have no error, and would not take part in what this one exchanges."""
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 4)
    seen = []

    def step(batch, generator):
        seen.append(num_processes())
        return batch.more_views[0]

    with pytest.raises(OneViewError):
        tried(step, data)
    assert seen == [4, 1]


def test_without_several_views_in_training_nobody_promised_any(tmp_path):
    for known in (digits(tmp_path), None):
        with pytest.raises(IndexError):
            tried(first_view, known)


def test_small_views_are_given_as_in_training(tmp_path):
    def step(batch, generator):
        assert batch.images.shape == batch.more_views[1].shape
        assert len(batch.more_views) == 3
        return batch.small_views[1]

    small = {"small_augmentation": CropColour(4), "num_small_views": 2}
    several = digits(tmp_path, augmentation=CropColour(), num_views=2, **small)
    with pytest.raises(OneViewError):
        tried(step, several)


WRONG = {
    "data.view_sizes asks for views of 4 pixels": {
        "augmentation": CropColour(),
        "view_sizes": [(0, SIZE), (3, 4)],
    },
    "data.augmentation asks for views of 16": {"augmentation": CropColour(16)},
    "data.small_augmentation asks for views of 4": {
        "augmentation": CropColour(),
        "small_augmentation": CropColour(4),
        "num_small_views": 1,
    },
}


@pytest.mark.parametrize("said", WRONG)
def test_views_that_the_encoder_cannot_take_are_said(tmp_path, said):
    network = encoder(SIZE)  # whose hidden layer is of maps of one size
    with pytest.raises(InputError, match=rf"{said}.*, which PaperEncoder cannot take"):
        check_views_fit(network, SIZE, digits(tmp_path, **WRONG[said]))
    assert network.training


def test_views_that_it_takes_leave_it_as_it_was(tmp_path):
    seen = []

    class Noting(StridedEncoder):
        def forward(self, images):
            seen.append((len(images), images.shape[2], self.training, torch.is_grad_enabled()))
            torch.rand(())  # of a global generator
            return super().forward(images)

    network = Noting(SIZE, widths=(4, 8), blocks=(1,))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.compile(backend=lambda graph, inputs: pytest.fail("compiled for them"))
    state = torch.get_rng_state()
    sizes = {"augmentation": CropColour(), "view_sizes": [(0, SIZE), (1, 6), (2, 12), (3, 6)]}
    unused = {"small_augmentation": CropColour(2), "num_small_views": 0}
    check_views_fit(network, SIZE, digits(tmp_path, **sizes, **unused))
    assert seen == [(2, 6, False, False), (2, 12, False, False)]
    assert torch.equal(torch.get_rng_state(), state)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
