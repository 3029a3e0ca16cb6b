"""Names in the place of parts are refused; layers that draw from global generators are seen."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from small_methods import build, decoder, discriminator, encoder
from torch import nn
from torch.torch_version import TorchVersion
from torchvision.ops import StochasticDepth

from dim_lightning.baselines import VAE, AdversarialAutoencoder, Autoencoder, BiGAN, Supervised
from dim_lightning.errors import InputError
from dim_lightning.infomax.deep_infomax import DeepInfoMax
from dim_lightning.infomax.estimators import info_nce, smile
from dim_lightning.infomax.occlusion import Occlusion
from dim_lightning.parts import check_gradients, has_dropout


class DropPath(nn.Module):
    """As timm has it."""

    def __init__(self, drop_prob):
        super().__init__()
        self.drop_prob = drop_prob


DRAWING = {
    "dropout": (nn.Dropout(0.1), nn.Dropout(0.0)),
    "dropout of maps": (nn.Dropout2d(0.1), nn.Dropout2d(0.0)),
    "attention": (nn.MultiheadAttention(4, 2, dropout=0.1), nn.MultiheadAttention(4, 2)),
    "recurrence": (nn.LSTM(3, 4, num_layers=2, dropout=0.1), nn.LSTM(3, 4, num_layers=2)),
    "random slopes": (nn.RReLU(), nn.RReLU(0.2, 0.2)),
    "fractional pooling": (
        nn.FractionalMaxPool2d(2, output_size=2),
        nn.FractionalMaxPool2d(2, output_size=2, _random_samples=torch.rand(1, 4, 2)),
    ),
    "stochastic depth": (StochasticDepth(0.1, "row"), StochasticDepth(0.0, "row")),
    "drop path": (DropPath(0.1), DropPath(None)),
}


@pytest.mark.parametrize("kind", DRAWING)
def test_layers_that_draw_are_seen_and_those_turned_off_are_not(kind):
    for layer, draws in zip(DRAWING[kind], (True, False), strict=True):
        assert has_dropout(nn.Sequential(nn.Linear(4, 4), nn.Sequential(layer))) == draws


def with_dropout(make):
    def made(*sizes):
        part = make(*sizes)
        part.dropped = nn.Dropout(0.1)
        return part

    return made


@pytest.mark.parametrize(
    ("method", "part", "make", "named"),
    [
        (Supervised, "encoder", encoder, "PaperEncoder"),
        (Autoencoder, "decoder", decoder, "Decoder"),
        (VAE, "decoder", decoder, "Decoder"),
        (AdversarialAutoencoder, "decoder", decoder, "Decoder"),
        (BiGAN, "decoder", decoder, "Decoder"),
        (BiGAN, "discriminator", discriminator, "JointDiscriminator"),
    ],
)
def test_each_part_with_dropout_is_named_once(method, part, make, named):
    with pytest.warns(UserWarning, match=f"^{named} has dropout or other layers") as said:
        build(method, **{part: with_dropout(make)})
    assert len(said) == 1


MAKERS = {
    DeepInfoMax: (
        *("encoder", "optimizer", "lr_scheduler", "local_critic", "global_critic"),
        *("global_aspect", "patch_critic", "prior", "coordinates"),
    ),
    AdversarialAutoencoder: ("decoder",),
    Autoencoder: ("encoder", "decoder"),
    BiGAN: ("decoder", "discriminator"),
    VAE: ("decoder",),
}


@pytest.mark.usefixtures("as_in_a_script")
@pytest.mark.parametrize(
    ("method", "name"), [(method, name) for method, names in MAKERS.items() for name in names]
)
def test_a_name_makes_no_part(method, name):
    said = rf"^{name} is 'My'; expected what makes one: the class .* functools\.partial\(My, set"
    with pytest.raises(InputError, match=said):
        build(method, **{name: "My"})


@pytest.mark.usefixtures("as_in_a_script")
def test_nothing_makes_no_part():
    with pytest.raises(InputError, match=r"^prior is None; .* functools\.partial\(Class, setting"):
        build(DeepInfoMax, prior=None)


FUNCTIONS = {
    r"estimator is 'info_nce'; expected the function itself": {"estimator": "info_nce"},
    r"estimator is the class .*Occlusion; expected a function": {"estimator": Occlusion},
    r"report\[1\] is 'smile'; expected the function": {"report": [info_nce, "smile"]},
    r"report is 'smile'; expected a list of functions": {"report": "smile"},
    r"report is dim_lightning\..*smile; expected a list of functions": {"report": smile},
    r"num_negatives is 'ALL'; expected a whole number of at": {"num_negatives": "ALL"},
    r"num_negatives is 1\.5; expected a whole number of at": {"num_negatives": 1.5},
    r"occlusion is the class .*Occlusion; .* such as Occlusion\(\)": {"occlusion": Occlusion},
    r"occlusion is 'Occlusion'; expected the function": {"occlusion": "Occlusion"},
}


@pytest.mark.usefixtures("as_in_a_script")
@pytest.mark.parametrize("said", FUNCTIONS)
def test_a_name_or_a_class_is_no_function(said):
    with pytest.raises(InputError, match=f"^{said}"):
        build(DeepInfoMax, **FUNCTIONS[said])


@pytest.mark.usefixtures("as_in_a_script")
def test_numbers_of_numpy_will_do():
    build(DeepInfoMax, num_negatives=np.int64(3))


@pytest.mark.parametrize(("version", "refused"), [("2.13.1", True), ("2.14.0", False)])
def test_wrong_gradients_are_not_trained_by(monkeypatch, version, refused):
    """A script's Trainer takes a Mac's GPU by itself."""
    monkeypatch.setattr(torch, "__version__", TorchVersion(version))
    check_gradients(torch.device("cpu"))
    wrong = pytest.raises(InputError, match=r"Apple's GPU, but PyTorch 2\.13\.1 computes wrong")
    with wrong if refused else nullcontext():
        check_gradients(torch.device("mps"))
