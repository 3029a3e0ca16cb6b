import pytest
import torch
from torch import nn

from dim_lightning import encoders
from dim_lightning.data import to_float
from dim_lightning.encoders import (
    BlogEncoder,
    Encoder,
    Features,
    FeatureShape,
    check_encoder,
    statistics_held,
)
from dim_lightning.errors import InputError


def features(mean, log_variance):
    return Features(torch.zeros(len(mean), 1, 1, 1), {}, mean, log_variance)


class OneChannel(Encoder):
    """Gray images only."""

    def __init__(self):
        super().__init__()
        self.filters = nn.Conv2d(1, 4, 3)
        self.feature_shape, self.embedding_dim = FeatureShape(4, 6, 6), 2

    def forward(self, images):
        return self.filters(images)


def test_an_encoder_of_other_channels_is_said():
    with pytest.raises(InputError, match=r"OneChannel cannot take images of \[2, 3, 8"):
        check_encoder(OneChannel(), 8)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_images_that_are_no_floats_are_refused(dtype):
    encoder = BlogEncoder(8, widths=(4,), embedding_dim=2)
    images = torch.ones(2, 3, 8, 8, dtype=dtype)
    with pytest.raises(InputError, match=rf"{str(dtype)[6:]}; expected floats in .*to_float\("):
        encoder(images)
    assert torch.equal(encoder(to_float(images.byte())).mean, encoder(images / 255).mean)


@pytest.mark.parametrize("name", [name for name in encoders.__all__ if "Encoder" in name[1:]])
def test_settings_beside_the_image_size_are_named(name):
    """Their orders differ: a third number is a code's size in one encoder, a layer's in another."""
    with pytest.raises(TypeError, match="positional"):
        getattr(encoders, name)(32, (64, 128))


@pytest.mark.parametrize("is_training", [True, False])
def test_parts_that_are_frozen_stay_so(is_training):
    encoder = BlogEncoder(8, widths=(4,), embedding_dim=2).train(is_training)
    frozen = next(encoder.children()).eval()
    check_encoder(encoder, 8)
    assert encoder.training == is_training
    assert not any(part.training for part in frozen.modules())


def test_sample_has_the_stated_mean_and_variance():
    mean = torch.tensor([[1.0, -2.0]]).expand(200_000, 2)
    log_variance = torch.log(torch.tensor([[0.25, 4.0]])).expand(200_000, 2)
    code = features(mean, log_variance).sample(torch.Generator().manual_seed(0))
    torch.testing.assert_close(code.mean(0), mean[0], atol=0.02, rtol=0)
    torch.testing.assert_close(code.var(0), log_variance[0].exp(), atol=0, rtol=0.02)


def test_sample_is_differentiable_in_mean_and_variance():
    mean = torch.zeros(3, 2, requires_grad=True)
    log_variance = torch.zeros(3, 2, requires_grad=True)
    code = features(mean, log_variance).sample(torch.Generator().manual_seed(0))
    code.sum().backward()
    torch.testing.assert_close(mean.grad, torch.ones(3, 2))
    torch.testing.assert_close(log_variance.grad, 0.5 * code.detach())  # d/ds exp(s/2) eps, s = 0


def test_sample_of_a_deterministic_encoder_is_the_mean():
    mean = torch.randn(3, 2)
    assert features(mean, None).sample(torch.Generator().manual_seed(0)) is mean


def test_equal_generators_give_equal_codes():
    draws = [
        features(torch.zeros(4, 2), torch.zeros(4, 2)).sample(torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


class Own(Encoder):
    """An encoder of one's own, of which one thing can be changed."""

    def __init__(self, is_gaussian=False, **changed):
        super().__init__()
        self.feature_shape, self.embedding_dim = FeatureShape(3, 8, 8), 4
        self.is_gaussian = is_gaussian
        self.changed = changed
        self.head = nn.Sequential(nn.Linear(192, 4), nn.BatchNorm1d(4), nn.Dropout())

    def forward(self, images):
        mean = self.head(images.flatten(1))
        log_variance = torch.zeros_like(mean) if self.is_gaussian else None
        features = Features(images, {"embedding": mean}, mean, log_variance)
        return features._replace(**{k: f(features) for k, f in self.changed.items()})


WRONG = {
    "gives feature_map of shape": {"feature_map": lambda f: f.feature_map[:, :2]},
    "gives mean of shape": {"mean": lambda f: f.mean[:, :3]},
    "gives log_variance of shape": {"is_gaussian": True, "log_variance": lambda f: f.mean[:1]},
    "gives no log_variance": {"is_gaussian": True, "log_variance": lambda f: None},
    "gives a log_variance": {"log_variance": lambda f: f.mean},
    "gives 1 scales; expected 0": {"scales": lambda f: (f.feature_map,)},
    "the layer 'map' of shape": {"layers": lambda f: {"map": f.feature_map, **f.layers}},
    "names a layer 'a/b'": {"layers": lambda f: {"a/b": f.mean}},
    "expected the code": {"layers": lambda f: {}},
    "as the last one": {"layers": lambda f: {**f.layers, "fc": 2 * f.mean}},
}


@pytest.mark.parametrize("said", WRONG)
def test_an_encoder_that_gives_something_else_is_refused(said):
    with pytest.raises(InputError, match=said):
        check_encoder(Own(**WRONG[said]), 8)


@pytest.mark.parametrize("is_gaussian", [False, True])
def test_a_look_changes_nothing(is_gaussian):
    encoder = Own(is_gaussian)
    weights = {name: value.clone() for name, value in encoder.state_dict().items()}
    torch.manual_seed(0)
    check_encoder(encoder, 8)
    assert encoder.training
    assert all(torch.equal(value, weights[name]) for name, value in encoder.state_dict().items())
    after = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(after, torch.rand(1))


@pytest.mark.parametrize("name", ["feature_shape", "embedding_dim"])
def test_a_missing_attribute_is_named(name):
    encoder = Own()
    delattr(encoder, name)
    with pytest.raises(InputError, match=f"has no {name}; set self.{name}"):
        check_encoder(encoder, 8)


def test_what_gives_no_features_is_refused():
    class Plain(Own):
        def forward(self, images):
            return super().forward(images).mean

    with pytest.raises(InputError, match=r"Plain\.forward gives Tensor; expected .*Features"):
        check_encoder(Plain(), 8)
    with pytest.raises(InputError, match="the encoder is a Linear; expected a subclass"):
        check_encoder(nn.Linear(2, 2), 8)


class _Norms(nn.Module):
    """A batch norm of each kind: as usual, with a plain mean of all batches, and frozen."""

    def __init__(self):
        super().__init__()
        self.usual, self.mean_of_all, self.frozen = (
            nn.BatchNorm1d(2),
            nn.BatchNorm1d(2, momentum=None),
            nn.BatchNorm1d(2),
        )
        self.frozen.running_mean += 5

    def forward(self, codes):
        return torch.stack([norm(codes) for norm in (self.usual, self.mean_of_all, self.frozen)])


def test_held_statistics_are_those_before_though_small_views_overflow():
    norms = _Norms()
    norms.frozen.eval()
    codes = torch.tensor([[1.0, 2.0], [3.0, 6.0], [8.0, 4.0]])
    before = {name: part.clone() for name, part in norms.state_dict().items()}
    with statistics_held(norms):
        usual, mean_of_all, frozen = norms(codes)
        norms(codes * torch.inf)
    standardised = (codes - codes.mean(0)) / (codes.var(0, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(usual, standardised)
    torch.testing.assert_close(mean_of_all, standardised)
    torch.testing.assert_close(frozen, (codes - 5) / (1 + 1e-5) ** 0.5)
    for name, part in norms.state_dict().items():
        assert torch.equal(part, before[name]), name
    norms(codes)
    torch.testing.assert_close(norms.mean_of_all.running_mean, codes.mean(0))
    torch.testing.assert_close(norms.usual.running_mean, 0.1 * codes.mean(0))
