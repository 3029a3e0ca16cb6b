import numpy as np
import pytest
import torch
from PIL import Image
from small_methods import build, digits, trainer

from dim_lightning.baselines import VAE, Autoencoder, Supervised
from dim_lightning.callbacks import Reconstructions

EXPECTED = {
    VAE: {"reconstructions", "samples"},
    Autoencoder: {"reconstructions"},
    Supervised: set(),
}


@pytest.mark.parametrize("method", EXPECTED)
def test_pictures_of_what_the_method_has(method, tmp_path, digits_root):
    callback = Reconstructions(num_rows=2)
    module = build(method)
    one = trainer(tmp_path, max_epochs=1, callbacks=[callback], limit_train_batches=1)
    one.fit(module, digits(digits_root))
    found = {path.stem for path in tmp_path.rglob("*.png")}
    assert found == EXPECTED[method]


def test_codes_of_every_prior_are_decoded(tmp_path, digits_root):
    module = build(Autoencoder)
    module.code_prior = "uniform"
    module.decoder = OneColour()
    one = trainer(tmp_path, max_epochs=1, callbacks=[Reconstructions(num_rows=2)])
    one.validate(module, digits(digits_root), verbose=False)
    draws = module.decoder.codes[-1]
    assert (draws.abs() > 5).any()  # logistic, which N(0, 1) is not so far out
    assert {path.stem for path in tmp_path.rglob("*.png")} == {"reconstructions", "samples"}


def test_images_stand_beside_what_is_decoded_from_their_codes(tmp_path, digits_root):
    data = digits(digits_root)
    module = build(Autoencoder)
    module.decoder = OneColour()
    callback = Reconstructions(num_rows=2)
    one = trainer(tmp_path, max_epochs=1, callbacks=[callback])
    one.validate(module, data, verbose=False)
    with Image.open(tmp_path / "pictures" / "reconstructions.png") as picture:
        page = np.asarray(picture)
    shades = np.unique(page[150:-30, 40:-40].reshape(-1, 3), axis=0)
    assert [200, 100, 50] in shades.tolist()


class OneColour(torch.nn.Module):
    """Decodes every code to one colour."""

    def __init__(self):
        super().__init__()
        self.codes = []
        self.colour = torch.nn.Parameter(torch.tensor([200.0, 100.0, 50.0]) / 255)

    def forward(self, code):
        assert not self.training
        self.codes.append(code)
        return self.colour.reshape(1, 3, 1, 1).expand(len(code), 3, 8, 8)


def test_the_trained_weights_do_not_notice(tmp_path, digits_root):
    states = []
    for callbacks in ([], [Reconstructions(every_n_epochs=1, num_rows=1)]):
        module = build(VAE)
        trainer(tmp_path, max_epochs=2, callbacks=callbacks).fit(module, digits(digits_root))
        states.append(module.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
