"""What every method owes to callbacks, data and checkpoints."""

from functools import partial
from itertools import product

import pytest
import torch
from small_methods import BASELINES, DIM, SETTINGS, SIZE, batch, build, digits, trainer

from dim_lightning.baselines import NAT, VAE, AdversarialAutoencoder, Autoencoder, BiGAN, Supervised
from dim_lightning.data import CropAndFlip, CropColour
from dim_lightning.encoders import BlogEncoder
from dim_lightning.errors import InputError
from dim_lightning.infomax.deep_infomax import DeepInfoMax

# a step outside a Trainer has nowhere to log to
pytestmark = pytest.mark.filterwarnings("ignore:You are trying to `self.log")


@pytest.mark.parametrize("method", SETTINGS)
def test_a_step_returns_what_callbacks_read_detached(method):
    module = build(method)
    output = module.training_step(batch(), 0)
    assert output["loss"].requires_grad
    assert output["terms"]["loss"] == output["loss"]
    assert not any(term.requires_grad for term in output["terms"].values())
    assert all(term.isfinite() for term in output["terms"].values())
    assert not output["embedding"].requires_grad
    assert output["embedding"].dtype == torch.float32
    assert output["embedding"].shape == (8, DIM)
    assert torch.equal(output["labels"], batch().labels)


@pytest.mark.parametrize("method", SETTINGS)
def test_evaluation_uses_the_mean_of_the_code(method):
    module = build(method).eval()
    expected = module.encoder(batch().images).mean
    torch.testing.assert_close(module.predict_step(batch(), 0)["embedding"], expected)
    torch.testing.assert_close(module.validation_step(batch(), 0)["embedding"], expected)
    torch.testing.assert_close(module(batch().images), expected)


@pytest.mark.parametrize("method", SETTINGS)
def test_labels_reach_the_supervised_one_only(method):
    """To the others another order of the labels, or none at all, is the same."""
    module, one = build(method), batch()
    terms = module.training_step(one, 0)["terms"]
    for labels in (one.labels.flip(0), torch.full_like(one.labels, -1)):
        others = module.training_step(one._replace(labels=labels), 0)["terms"]
        assert (terms == others) == (method is not Supervised)


DRAWING = (VAE, AdversarialAutoencoder, BiGAN, DeepInfoMax)


@pytest.mark.parametrize("method", SETTINGS)
def test_draws_depend_on_seed_epoch_and_step_alone(method):
    module = build(method)
    first = module.training_step(batch(), 3)["terms"]
    torch.rand(100)  # what anybody else draws
    assert module.training_step(batch(), 3)["terms"] == first
    assert (module.training_step(batch(), 4)["terms"] != first) == (method in DRAWING)
    module.seed = 1
    assert (module.training_step(batch(), 3)["terms"] != first) == (method in DRAWING)


@pytest.mark.parametrize("method", SETTINGS)
def test_every_parameter_learns(method):
    module = build(method)
    module.training_step(batch(), 0)["loss"].backward()
    without = [name for name, weight in module.named_parameters() if weight.grad is None]
    assert without == []


@pytest.mark.parametrize("method", BASELINES)
def test_several_views_are_refused(method, data_root):
    data = digits(data_root, augmentation=CropAndFlip(), num_views=2)
    with pytest.raises(InputError, match=r"2 views .* data\.num_views"):
        build(method).check_data(data, 8)


DECODING = (Autoencoder, VAE, AdversarialAutoencoder, BiGAN)
OTHER_SIZES = {
    r"data\.view_sizes asks for views of 4": (CropColour(), [(0, SIZE), (50, 4)]),
    r"data\.augmentation\.size asks for views of 16": (CropColour(16), []),
}
SAME_SIZES = [
    (CropColour(), []),
    (CropColour(SIZE), [(0, SIZE)]),
    (CropColour(16), [(0, SIZE)]),  # those of view_sizes take the place of 16
]


@pytest.mark.parametrize("method", DECODING)
@pytest.mark.parametrize("said", OTHER_SIZES)
def test_a_decoder_needs_views_of_the_size_of_its_images(method, said, data_root):
    augmentation, sizes = OTHER_SIZES[said]
    data = digits(data_root, augmentation=augmentation, view_sizes=sizes)
    decoder = f"the decoder of {method.__name__} makes images of 8; set data"
    with pytest.raises(InputError, match=f"{said} pixels, and {decoder}"):
        build(method).check_data(data, 8)


@pytest.mark.parametrize(
    ("method", "views"),
    [*product(DECODING, SAME_SIZES), *product((NAT, DeepInfoMax), OTHER_SIZES.values())],
)
def test_views_of_that_size_will_do_and_others_without_a_decoder(method, views, data_root):
    augmentation, sizes = views
    data = digits(data_root, augmentation=augmentation, view_sizes=sizes)
    of_any_size = partial(BlogEncoder, widths=(4, 8), embedding_dim=5)
    settings = {} if method in DECODING else {"encoder": of_any_size}
    build(method, **settings).check_data(data, 8)


@pytest.mark.parametrize("method", SETTINGS)
def test_resuming_at_an_epoch_gives_the_same_weights_and_plain_checkpoints(
    method, tmp_path, data_root
):
    straight = build(method)
    trainer(tmp_path, max_epochs=3).fit(straight, digits(data_root))
    first = trainer(tmp_path, max_epochs=1)
    first.fit(build(method), digits(data_root))
    first.save_checkpoint(tmp_path / "one.ckpt")
    stored = torch.load(tmp_path / "one.ckpt", weights_only=True)["hyper_parameters"]
    assert stored["image_size"] == 8
    assert "encoder" not in stored
    resumed = build(method)
    torch.rand(7)
    trainer(tmp_path, max_epochs=3).fit(
        resumed, digits(data_root), ckpt_path=tmp_path / "one.ckpt", weights_only=True
    )
    for name, tensor in straight.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    if method is NAT:
        assert torch.equal(straight.assignment, resumed.assignment)
        assert not torch.equal(straight.assignment, torch.arange(len(straight.assignment)))
